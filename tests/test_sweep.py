"""Sweeps: every integer is the report's, whatever is swept, and nothing overflows unseen."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mkdocs_dsocr import sweep
from mkdocs_dsocr.cli import main
from mkdocs_dsocr.cost import program
from mkdocs_dsocr.cost.passes import COUNTS
from mkdocs_dsocr.cost.program import Program
from mkdocs_dsocr.inputs import (
    Hardware,
    InputError,
    ModelConfig,
    Workload,
    load_hardware,
    load_workload,
    shipped,
)
from mkdocs_dsocr.inputs.workload import VIEW, Dtype
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.models import load_model_config, model_of, plan
from mkdocs_dsocr.quantities import Symbol, ceil_div, exact_div, less, maximum, select
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.sweep import api, columns
from mkdocs_dsocr.sweep.spec import load_spec
from tests.conftest import ROOT, TINY_UNLIMITED
from tests.drawn import consistent

SIZES = (64, 128, 192, 448, 512, 640, 1024, 1280)
CHOICES: dict[str, tuple[Any, ...]] = {
    "base_size": SIZES,
    "image_size": SIZES,
    "crop_mode": (True, False),
    "tiles_w": (1, 2, 3, 5),
    "tiles_h": (1, 2, 4),
    "text_tokens": (0, 1, 40, 253),
    "max_new_tokens": (1, 2, 3, 17, 700),
    "batch_size": (1, 2, 4, 9),
    "num_pages": (1, 2, 7, 20),
    "pages_per_prompt": (1, 3),
    "logits_positions": ("all", "last"),
    "host_mode": ("eager", "cuda_graph"),
    "vision_batching": ("per_page", "batched"),
    "precision_mode": ("module", "autocast"),
    "traffic": ("fused", "eager"),
    "weight_dtype": tuple(FORMATS),
    "activation_dtype": ("bf16", "fp16", "fp32", "fp8", "int8"),
    "kv_dtype": ("bf16", "fp32", "fp8", "int8", "int4", "mxfp4"),
    "hardware": ("rtx-5090", "h100-sxm"),
}

OWN_VIEWS = {"deepseek-ocr-2": "dsocr2-a4", "got-ocr-2": "got-a4"}
"""Workloads with local views of the side that a model's rule speaks for."""

BOOK = """profile_id: book
image_size: 512
crop_mode: false
text_tokens: 10
max_new_tokens: 2
pages_per_prompt: 100
batch_size: 1
"""


def analysed(config: ModelConfig, row: dict[str, Any]) -> Analysis:
    """Return the scalar analysis of a scenario."""
    fields = {k: v for k, v in row.items() if k not in ("tiles_w", "tiles_h", "hardware")}
    if row["crop_mode"]:
        fields["crop_grid"] = (row["tiles_w"], row["tiles_h"])
    workload = Workload.model_validate(consistent({"profile_id": "drawn", **fields}))
    return Analysis(config, workload, load_hardware(row["hardware"]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("model", shipped("models"))
def test_every_figure_is_the_reports(model: str, seed: int) -> None:
    """Scenarios that differ from each other in every dimension at once."""
    draw, config = random.Random(seed), load_model_config(model)
    drawn = [{name: draw.choice(values) for name, values in CHOICES.items()} for _ in range(4)]
    for row in drawn:
        if not model_of(config).has_autocast:
            row["precision_mode"] = "module"
        if row["precision_mode"] == "autocast":
            row["activation_dtype"] = "bf16"
        if not model_of(config).reads_many_pages:
            row["pages_per_prompt"] = 1
        row["num_pages"] *= row["pages_per_prompt"]
        if model_of(config).sides(config) != VIEW:
            row["base_size"] = row["image_size"] = config.trained_image_size
    columns: dict[str, Any] = {name: numpy.array([row[name] for row in drawn]) for name in CHOICES}
    found = sweep.rows(model, OWN_VIEWS.get(model, "dsocr-standard-v1"), **columns)
    for index, row in enumerate(drawn):
        check(found, index, analysed(config, row))


def check(found: sweep.Sweep, index: int, analysis: Analysis) -> None:
    report_memory = analysis.stage_memory
    for stage, nodes in stages(analysis).items():
        for name, value in nodes.items():
            assert found[f"{stage}_{name}"][index] == value, (stage, name)
    total = analysis.root.total
    assert found["matmul_flops"][index] == total.matmul_flops
    assert found["weight_bytes"][index] == total.weight_bytes
    assert found["footprint_bytes"][index] == max(m.total for m in report_memory.values())
    assert found["activation_bytes"][index] == max(m.activations for m in report_memory.values())
    for stage, times in analysis.stage_times.items():
        assert found[f"{stage}_device_time_ms"][index] == pytest.approx(times.device_ms, rel=1e-9)
        assert found[f"{stage}_host_time_ms"][index] == pytest.approx(times.host_ms, rel=1e-9)
        assert found[f"{stage}_time_ms"][index] == pytest.approx(times.time_ms, rel=1e-9)
        assert found[f"{stage}_floor_time_ms"][index] == pytest.approx(times.floor_ms, rel=1e-9)


def stages(analysis: Analysis) -> dict[str, dict[str, int]]:
    totals = {stage: total.figures() for stage, total in analysis.stage_totals.items()}
    return {stage: {name: found[name] for name in COUNTS} for stage, found in totals.items()}


def test_figures_of_stages_are_the_reports(analyse: Callable[..., Analysis]) -> None:
    analysis = analyse("dsocr-tiny")
    for stage, metrics in analysis.report.stages.items():
        assert stages(analysis)[stage] == {name: getattr(metrics, name) for name in COUNTS}


def test_a_grid_is_its_rows() -> None:
    dims: Any = {
        "batch_size": [1, 3],
        "weight_dtype": ["bf16", "int4"],
        "bandwidth_gb_s": [500.0, 900.0],
    }
    grid = sweep.grid(hardware=["a100-40gb-sxm", "h100-sxm"], **dims)
    assert grid.rows == 16
    columns: dict[str, Any] = {k: grid[k] for k in ("hardware", *dims)}
    rows = sweep.rows(**columns)
    for name in rows:
        assert numpy.array_equal(grid[name], rows[name]), name
    pieces = list(sweep.grid_chunks(hardware=["a100-40gb-sxm", "h100-sxm"], **dims))
    assert sum(p.rows for p in pieces) == 16
    assert numpy.array_equal(numpy.concatenate([p["time_ms"] for p in pieces]), grid["time_ms"])


@pytest.mark.parametrize(("cells", "widest"), [(5, 1), (7, 3), (1 << 18, 64)])
def test_a_grid_in_pieces_of_any_size_is_its_rows(
    monkeypatch: pytest.MonkeyPatch, cells: int, widest: int
) -> None:
    """Rows with the same numbers run once, and GPUs together: no figure shows it."""
    monkeypatch.setattr(api, "CELLS", cells)
    monkeypatch.setattr(api, "WIDEST", widest)
    dims: dict[str, Any] = {
        "hardware": ["rtx-5090", "t4", "h100-sxm", "mi300x"],
        "bandwidth_gb_s": [500.0, 2000.0],
        "batch_size": [1, 3, 8],
        "kv_dtype": ["bf16", "fp8"],
        "max_new_tokens": [1, 2, 70],
        "vision_batching": ["per_page", "batched"],
    }
    grid = sweep.grid(**dims)
    columns: dict[str, Any] = {name: grid[name] for name in dims}
    rows = sweep.rows(**columns)
    assert grid.rows == rows.rows == 4 * 2 * 3 * 2 * 3 * 2
    for name in rows:
        assert numpy.array_equal(grid[name], rows[name], equal_nan=grid[name].dtype.kind == "f")
    pieces = list(sweep.grid_chunks(**dims))
    assert sum(piece.rows for piece in pieces) == grid.rows
    times = numpy.concatenate([piece["time_ms"] for piece in pieces])
    assert numpy.array_equal(numpy.sort(times), numpy.sort(grid["time_ms"]), equal_nan=True)


def test_integers_are_the_same_as_floats_and_as_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    dims: dict[str, Any] = {
        "hardware": ["rtx-5090", "h100-sxm"],
        "batch_size": [1, 3, 64],
        "weight_dtype": ["bf16", "int4"],
        "max_new_tokens": [2, 700],
    }
    floats = sweep.grid(**dims)
    monkeypatch.setattr(program, "LARGEST_FLOAT", -1)
    integers = sweep.grid(**dims)
    for name in floats:
        if floats[name].dtype.kind == "f":
            assert numpy.allclose(floats[name], integers[name], rtol=1e-12, atol=0), name
        else:
            assert numpy.array_equal(floats[name], integers[name]), name


def test_the_last_batch_may_be_smaller_and_swept_batches_are_full() -> None:
    found = sweep.rows(batch_size=[4, 4], num_pages=[10, 8])
    assert found["decode_matmul_flops"][0] == found["decode_matmul_flops"][1] * 10 // 8
    one, eight = sweep.grid(batch_size=[1, 8])["matmul_flops"].tolist()
    assert eight == 8 * one


def test_a_sweep_takes_the_pages_of_every_batch_that_a_file_may_state(tmp_path: Path) -> None:
    """A file without ``num_pages`` has those of its batch, here over a million."""
    file = tmp_path / "book.yaml"
    file.write_text(BOOK.replace("batch_size: 1\n", "batch_size: 11000\n"))
    found = sweep.rows("unlimited-ocr", str(file), "h100-sxm", text_tokens=[10])
    analysis = Analysis(
        load_model_config("unlimited-ocr"), load_workload(str(file)), load_hardware("h100-sxm")
    )
    assert analysis.workload.pages == 1_100_000
    check(found, 0, analysis)


def test_a_format_that_a_gpu_lacks_has_no_time() -> None:
    found = sweep.grid(hardware=["t4", "h100-sxm"], activation_dtype=["fp8"])
    assert numpy.isnan(found["time_ms"]).tolist() == [True, False]
    assert len(set(found["matmul_flops"].tolist())) == 1


def test_a_peak_of_ones_own_scales_every_format() -> None:
    slow, fast = sweep.grid(hardware="h100-sxm", tensor_tflops=[100.0, 200.0])[
        "vision_floor_time_ms"
    ]
    assert slow == pytest.approx(2 * fast)


def faster(gpu: Hardware, name: str, factor: float) -> Hardware:
    """Return a profile with one of the rates of a sweep multiplied."""
    if name in ("bandwidth_gb_s", "memory_gb"):
        name = name.replace("memory_gb", "memory_bytes")
        return gpu.model_copy(update={name: type(getattr(gpu, name))(factor * getattr(gpu, name))})
    if name in ("dispatch_us", "synchronise_us"):
        assert gpu.host is not None
        host = gpu.host.model_copy(update={name: factor * getattr(gpu.host, name)})
        return gpu.model_copy(update={"host": host})
    kind = name.removesuffix("tflops")
    peaks = {key: peak for key, peak in gpu if key.startswith(kind) and peak is not None}
    return gpu.model_copy(
        update={k: p.model_copy(update={"tflops": factor * p.tflops}) for k, p in peaks.items()}
    )


RATES: dict[str, Callable[[Hardware], float]] = {
    "tensor_tflops": lambda gpu: gpu.tensor_peak.tflops,
    "cuda_tflops": lambda gpu: gpu.cuda_fp32.tflops,
    "bandwidth_gb_s": lambda gpu: gpu.bandwidth_gb_s,
    "memory_gb": lambda gpu: gpu.memory_bytes / 1e9,
    "dispatch_us": lambda gpu: gpu.dispatch_us,
    "synchronise_us": lambda gpu: gpu.synchronise_us,
}


@pytest.mark.parametrize("dtype", get_args(Dtype))
def test_a_swept_rate_is_that_of_another_gpu(config: ModelConfig, dtype: str) -> None:
    """A product in fp32 runs on CUDA cores, in every other format on tensor cores."""
    assert {*RATES} == {*columns.RATES}
    formats = dict.fromkeys(("weight_dtype", "activation_dtype", "kv_dtype"), dtype)
    fields = {**load_workload("dsocr-base").model_dump(), **formats, "batch_size": 3}
    workload = Workload.model_validate({**fields, "num_pages": 3})
    ids = ("h100-sxm", "a100-80gb-sxm", "t4", "b200-sxm")
    for gpu in map(load_hardware, ids):
        if gpu.peak(dtype) is None or (gpu.peak("bf16") is None and dtype in ("int8", "int4")):
            continue  # some products of 8 or 4 bits are in bf16
        for name, of in RATES.items():
            swept: Any = {name: [2 * of(gpu)]}
            found = api.rows_of(config, plan(config, workload), [gpu], **swept)
            analysis = Analysis(config, workload, faster(gpu, name, 2))
            check(found, 0, analysis)
            assert found["fits"][0] == (analysis.footprint_bytes <= analysis.hardware.room_bytes)


@given(st.integers(0, 10**8), st.integers(1, 10**6), st.integers(0, 10**9))
def test_a_program_computes_what_python_computes(a: int, b: int, c: int) -> None:
    x, y, z = Symbol("x"), Symbol("y"), Symbol("z")
    formulas: dict[str, Callable[[Any, Any, Any], Any]] = {
        "sum": lambda x, y, z: x + y * z - 3 * x**2,
        "quotients": lambda x, y, z: ceil_div(x, y) + exact_div(6 * z, 3),
        "largest": lambda x, y, z: maximum(maximum(x, y), z) + maximum(x, x + 2 * y),
        "multiples": lambda x, y, z: 3 * x * y + (z - x) * 2 + x * (y * 5) + 2 * x,
        "products of sums": lambda x, y, z: exact_div((2 * x + 4 * y) * (z + x), 2),
        "whole quotient": lambda x, y, z: ceil_div(8 * x + 16 * z, 8),
        "chosen": lambda x, y, z: select(less(x, y), z, 0) + select(z, x, 0),
        "at least 0": lambda x, y, z: maximum(z * (x - y), 0) + maximum(x * 0 - 5, 0),
        "negative or 0": lambda x, y, z: maximum(select(less(x, y), x - y, 0), 0),
    }
    program = Program({name: f(x, y, z) for name, f in formulas.items()})
    for number in (b, numpy.array([b, b])):
        columns = {"x": numpy.array([a, 1]), "y": number, "z": numpy.array([c, 2])}
        found = program.run(columns, 2)
        for name, f in formulas.items():
            assert found[name].tolist() == [f(a, b, c), f(1, b, 2)]


def test_integers_that_floats_do_not_have_stay_whole() -> None:
    x, y = Symbol("x"), Symbol("y")
    program = Program({"back": x + y - y, "compared": select(less(2**53, 2**53 + 1), x, 0)})
    found = program.run({"x": numpy.array([2**53 + 1]), "y": 1}, 1)
    assert found == {"back": [2**53 + 1], "compared": [2**53 + 1]}


@pytest.mark.parametrize("name", ["v0", "c12"])
def test_a_symbol_with_the_name_of_a_result_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: a name of results; rename the symbol"):
        Program({"sum": Symbol(name) + 1})


def test_what_needs_more_than_64_bits_is_refused() -> None:
    x = Symbol("x")
    program = Program({"large": exact_div(x * x, x)})
    assert program.run({"x": numpy.array([2**29])}, 1)["large"] == 2**29
    with pytest.raises(OverflowError, match="64 bits"):
        program.run({"x": numpy.array([1, 2**32])}, 2)
    with pytest.raises(OverflowError, match="64 bits"):
        sweep.rows(max_new_tokens=10**6, batch_size=10**6)


@pytest.mark.parametrize(
    ("dimensions", "message"),
    [
        ({"batchsize": [1]}, "an unknown dimension"),
        ({"batch_size": [0, 1]}, "found 0; allowed: a whole number from 1 to 1,000,000"),
        ({"batch_size": [1.5]}, r"\[1.5\]; allowed: a whole number"),
        ({"image_size": [650]}, "found 650; allowed: a multiple of 64 from 64 to 8,192"),
        ({"kv_dtype": ["fp4"]}, "'fp4'"),
        ({"memory_gb": [-1.0]}, "above 0"),
        ({"memory_gb": [float("nan")]}, "above 0"),
        ({"bandwidth_gb_s": [1e-300]}, "found 1e-300; allowed: a number above 0.000001, at most"),
        ({"dispatch_us": [2e9]}, "at most 1,000,000,000"),
        ({"batch_size": [1, 2], "text_tokens": [1, 2, 3]}, "2 values"),
        (
            {"precision_mode": "autocast", "activation_dtype": ["bf16", "fp8"]},
            "activation_dtype: found fp8; allowed: bf16 with precision_mode: autocast",
        ),
        ({"text_only": [True], "text_tokens": [0]}, "text_tokens: found 0; allowed: at least 1"),
        (
            {"model": "unlimited-ocr", "text_only": [True], "pages_per_prompt": [3]},
            "pages_per_prompt: found 3; allowed: 1 with text_only: true",
        ),
    ],
)
def test_bad_dimensions_are_named(dimensions: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sweep.rows(**dimensions)


def test_a_row_is_refused_for_what_it_is_evaluated_with_alone(tmp_path: Path) -> None:
    """What has no effect in a row is allowed there, also in a grid with rows where it has."""
    found = sweep.grid(text_only=[True, False], text_tokens=[1, 9], precision_mode=["module"])
    assert numpy.isfinite(found["time_ms"]).all()
    formats: Any = {"precision_mode": ["module", "autocast"], "activation_dtype": ["fp8", "bf16"]}
    assert sweep.rows(hardware="h100-sxm", **formats).rows == 2
    text = tmp_path / "text.yaml"
    text.write_text("profile_id: t\ntext_only: true\ntext_tokens: 5\nmax_new_tokens: 5\n")
    given: Any = {"model": "got-ocr-2", "workload": str(text), "image_size": [512]}
    assert sweep.rows(**given).rows == 1
    with pytest.raises(InputError, match=r"image_size: found 512; allowed: 1,024 only"):
        sweep.rows(**given, text_only=[False])


def test_the_command_writes_a_row_for_each_scenario(tmp_path: Path) -> None:
    spec, out = tmp_path / "spec.yaml", tmp_path / "out.csv"
    spec.write_text(
        "workload: dsocr-a4-gundam\nsweep:\n  hardware: [t4, h100-sxm]\n"
        "  batch_size: {start: 2, stop: 6, step: 2}\n  kv_dtype: [bf16, fp8]\n"
    )
    ran = CliRunner().invoke(main, ["sweep", str(spec), "--output", str(out)])
    assert ran.exit_code == 0, ran.output
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {r["batch_size"] for r in rows} == {"2", "4", "6"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "spec.yaml"]


def test_a_workload_needs_the_formats_of_the_swept_gpus_only(tmp_path: Path) -> None:
    """The default GPU, which has no int4, is not swept: its formats do not matter."""
    formats = "".join(f"{name}_dtype: int4\n" for name in ("weight", "activation", "kv"))
    (tmp_path / "four.yaml").write_text(BOOK.replace("pages_per_prompt: 100\n", formats))
    spec, out = tmp_path / "spec.yaml", tmp_path / "out.csv"
    spec.write_text(f"workload: {tmp_path}/four.yaml\nsweep: {{hardware: [a100-80gb-sxm, a10]}}\n")
    ran = CliRunner().invoke(main, ["sweep", str(spec), "--output", str(out)])
    assert ran.exit_code == 0, ran.output
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["time_ms"]) > 0 for row in rows)


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of ``mkdocs.yml`` are, wherever the command runs."""
    folder, elsewhere = tmp_path / "inputs", tmp_path / "elsewhere"
    (folder / "tiny").mkdir(parents=True)
    elsewhere.mkdir()
    (folder / "tiny/config.json").write_text(TINY_UNLIMITED)
    (folder / "book.csv").write_text(BOOK)
    gpu = (ROOT / "data/hardware/t4.yaml").read_text(encoding="utf-8")
    (folder / "gpu.yaml").write_text(gpu)
    text = "model: tiny/\nworkload: ./book.csv\n"
    text += "sweep: {hardware: [./gpu.yaml, t4], batch_size: [1]}"
    (folder / "spec.yaml").write_text(text)
    monkeypatch.chdir(elsewhere)
    ran = CliRunner().invoke(main, ["sweep", "../inputs/spec.yaml", "--output", "out.csv"])
    assert ran.exit_code == 0, ran.output
    with Path("out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row.pop("hardware") for row in rows] == ["./gpu.yaml", "t4"]
    assert rows[0] == rows[1]
    onto_an_input = ["sweep", "../inputs/spec.yaml", "--output", "../inputs/book.csv"]
    assert CliRunner().invoke(main, onto_an_input).exit_code == 2
    assert (folder / "book.csv").read_text() == BOOK


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sweep: {batch_size: []}\n", "found 0 values; allowed: 1 to 1,000,000"),
        ("sweep: {batch_size: {start: 3, stop: 1}}\n", "start"),
        ("sweep: {nothing: [1]}\n", "an unknown dimension"),
        ("sweep: {batch_size: {start: 1, stop: 1000000}, text_tokens: {start: 0, stop: 100000}}\n",
         "at most 1,000,000,000"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_message(tmp_path: Path, text: str, message: str) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(text)
    ran = CliRunner().invoke(main, ["sweep", str(spec), "--output", str(tmp_path / "o.csv")])
    assert ran.exit_code == 2
    assert message in ran.output.replace("\n", " ")
    assert not (tmp_path / "o.csv").exists()


LONG = "9" * 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_size: {start: 1, stop: 1000000000}", "1,000,000,000 values; allowed: 1 to"),
        (f"batch_size: {{start: 1, stop: {10**19}}}", "at most 1,000,000,000"),
        (f"batch_size: {{start: 1, stop: {LONG}}}", "found more scenarios"),
        (f"batch_size: [{LONG}]", "a whole number from 1"),
        ("batch_size: {start: 5, stop: 9, step: 0}", "sweep.batch_size.step: found 0"),
        ("image_size: {start: 64, stop: 640}", "found 65; allowed: a multiple of 64"),
        ("bandwidth_gb_s: {start: 1, stop: 900000000}", "900,000,000 values"),
        ("batch_size: [1, a, 1.5, null, [1]]", "a whole number from 1"),
        ("batch_size: 5", "a list of values, or a mapping of start, stop and step"),
        ("bandwidth_gb_s: [a]", "a number above 0.000001, at most"),
        ("kv_dtype: [5, bf16, null]", "bf16, fp16"),
        ("hardware: [5]", "sweep.hardware: found 5; allowed: ids or paths"),
        ("hardware: [a10, a10]", "'a10' twice; allowed: each once"),
        (f"hardware: [{'a10, ' * 2000}]", "2,000 values; allowed: 1 to 1,000"),
        ("hardware: [gone.yaml]", "spec.yaml: sweep.hardware: found 'gone.yaml'; allowed: an id"),
        ('hardware: ["gone\\0.yaml"]', "sweep.hardware: found 'gone\\x00.yaml'; allowed: an id"),
        ("hardware: [h100]", "spec.yaml: sweep.hardware: found 'h100'"),
        (f"hardware: [{'x' * 5000}]", "spec.yaml: sweep.hardware: found 'xxx"),
        ("weight_dtype: [bf16, [fp8, fp8]]", "weight_dtype: found ['bf16', ['fp8', 'fp8']]"),
        ("weight_dtype: [[bf16, fp8]]", "weight_dtype: found [['bf16', 'fp8']]"),
        ("batch_size: [1, [2, 3]]", "batch_size: found [1, [2, 3]]"),
    ],
)
def test_what_is_too_large_or_wrong_is_refused_before_it_is_listed(
    tmp_path: Path, text: str, message: str
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"sweep: {{{text}}}\n")
    with pytest.raises(InputError) as caught:
        load_spec(spec)
    assert message in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("key", ["model", "workload"])
def test_a_file_that_is_not_there_is_named_by_its_key(tmp_path: Path, key: str) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"{key}: ./gone\nsweep: {{batch_size: [1]}}\n")
    with pytest.raises(InputError, match=rf"spec\.yaml: {key}: found './gone'; allowed: an id, or"):
        load_spec(spec)


@pytest.mark.parametrize("evaluate", [sweep.rows, sweep.grid])
def test_profiles_are_named_by_id_or_path(evaluate: Callable[..., sweep.Sweep]) -> None:
    gpu = load_hardware("h100-sxm")
    for hardware in (gpu, [gpu], ["a10", gpu], [Path("a.yaml")], [5]):
        with pytest.raises(
            InputError, match=r"hardware: found a value of the type .*; allowed: id"
        ):
            evaluate(hardware=hardware)


def test_many_gpus_of_one_workload_are_evaluated_together() -> None:
    """Extreme rates are no warning, and each row is the same as on its own."""
    rates = [2e-6, *(float(n) for n in range(1, 3000)), 1e9]
    found = sweep.grid(bandwidth_gb_s=rates, dispatch_us=[2e-6, 4.0])
    assert found.rows == 2 * len(rates)
    one = sweep.grid(bandwidth_gb_s=[2e-6, 700.0, 1e9], dispatch_us=[2e-6, 4.0])
    chosen = [0, 1, 1400, 1401, -2, -1]
    for name, column in one.items():
        assert numpy.array_equal(found[name][chosen], column, equal_nan=column.dtype.kind == "f")


def test_columns_come_back_from_pandas_and_parquet(tmp_path: Path) -> None:
    import pandas

    found = sweep.grid(batch_size=[1, 2], weight_dtype=["bf16", "int4"])
    frame = found.to_pandas()
    found.to_parquet(tmp_path / "direct.parquet")
    spec = tmp_path / "spec.yaml"
    spec.write_text("sweep:\n  batch_size: [1, 2]\n  weight_dtype: [bf16, int4]\n")
    out = tmp_path / "out.parquet"
    ran = CliRunner().invoke(main, ["sweep", str(spec), "--output", str(out)])
    assert ran.exit_code == 0, ran.output
    for read in (pandas.read_parquet(tmp_path / "direct.parquet"), pandas.read_parquet(out)):
        assert list(read.columns) == list(frame.columns) == list(found)
        for name, column in found.items():
            assert read[name].tolist() == frame[name].tolist() == column.tolist()
