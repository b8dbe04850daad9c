"""Measured beside predicted: a real run on the CPU, its page, and files that do not belong."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from benchmarks.gpu import main as measure_everything
from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.cli import main
from mkdocs_dsocr.cost.rates import ms_per
from mkdocs_dsocr.inputs import InputError, Workload
from mkdocs_dsocr.inputs.measurement import Measurement, fingerprint, load_measurements
from mkdocs_dsocr.layers.memory import peak
from mkdocs_dsocr.layers.metrics import kvcache_bytes
from mkdocs_dsocr.layers.tree import resident
from mkdocs_dsocr.models import pass_layer
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.measurement_plan import tasks
from tests.conftest import ROOT, TINY_CONFIG, BuildSite

WORKLOAD = """profile_id: w
base_size: 64
image_size: 64
crop_mode: true
crop_grid: [2, 1]
text_tokens: 5
max_new_tokens: 30
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, measured on this machine's CPU, and a profile that claims to be it."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "tiny").mkdir()
    (folder / "tiny/config.json").write_text(TINY_CONFIG)
    (folder / "w.yaml").write_text(WORKLOAD)
    done = CliRunner().invoke(
        main,
        [
            *("measure", "--device", "cpu", "--repeats", "2"),
            *("--model", f"{folder}/tiny/", "--workload", str(folder / "w.yaml")),
            *("--output", str(folder / "m.json")),
        ],
    )
    assert done.exit_code == 0, done.output
    device = json.loads((folder / "m.json").read_text())["device"]
    profile = yaml.safe_load((ROOT / "data/hardware/rtx-4090.yaml").read_text())
    profile |= {"hardware_id": "cpu", "device_names": [device]}
    (folder / "cpu.yaml").write_text(yaml.safe_dump(profile))
    return folder


def settings(folder: Path, **changes: object) -> pipeline.Settings:
    values: dict[str, object] = {
        "model": "tiny/",
        "workloads": ("w.yaml",),
        "hardware": ("cpu.yaml",),
    }
    values |= {"measurements": ("m.json",), "base": folder}
    return pipeline.Settings(**{**values, **changes})  # type: ignore[arg-type]


def test_every_pass_and_module_is_timed(folder: Path) -> None:
    text = (folder / "m.json").read_text()
    measurement = Measurement.model_validate_json(text)
    analysis = pipeline.analyse(settings(folder))[0][0]
    expected = tasks(analysis.plan, analysis.nodes)
    assert [p.pass_shape for p in measurement.passes] == [t.shape for t in expected]
    decode = [p for p in measurement.passes if p.shape["pass_id"] == "decode"]
    assert [p.shape["kv_len"] for p in decode] == [12, 26, 40]
    assert [bool(p.modules) for p in decode] == [False, True, False]
    # What nothing calls is not timed: lists of modules, and parts that the pass itself stands for.
    timed = {m.module_id for p in measurement.passes for m in p.modules}
    missing = {i for t in expected for i, _ in t.modules} - timed
    uncalled = {"ModuleList", "DeepseekOCRModel", "Conv2d"}
    assert {analysis.nodes[i].class_name for i in missing} <= uncalled
    for p in decode:
        assert p.timing.p10_ms <= p.timing.median_ms <= p.timing.p90_ms
        assert p.dispatches > 100
    experts = next(m for p in decode for m in p.modules if m.module_id.endswith("experts.[0-7]"))
    assert experts.calls == 2 * 2
    assert str(folder) not in text
    assert set(measurement.versions) == {"mkdocs-dsocr", "python", "torch"}


def test_the_report_and_the_page_show_it(folder: Path, build_site: BuildSite) -> None:
    files = {n: (folder / n).read_text() for n in ("w.yaml", "cpu.yaml")}
    files["runs/m.json"] = (folder / "m.json").read_text()
    built = build_site(
        "site_name: s\ntheme: mkdocs\nplugins:\n  - dsocr: {model: tiny/, workloads: [w.yaml], "
        "hardware: [cpu.yaml], measurements: [runs], device: meta}\n",
        files,
    )
    assert built.returncode == 0, built.output
    report = json.loads(built.read("dsocr/artifacts/w/report.json"))
    run = json.loads((folder / "m.json").read_text())
    assert report["profile_run_id"] == run["run_id"]
    assert report["predicted_vs_measured_ratio"] == pytest.approx(
        report["predicted_total_time_ms"] / report["measured_total_time_ms"]
    )
    page = built.read("dsocr/measured/index.html")
    for words in (run["device"], run["run_id"], "vision", "projector", "prefill", "decode"):
        assert words in page
    assert page.count("<td><code>decode</code></td>") == 3
    assert "Not recorded: memory is recorded on GPUs only" in page
    assert json.loads(built.read("dsocr/artifacts/w/measurement.json")) == run


@pytest.mark.slow
def test_without_a_measurement_the_page_says_so(build_site: BuildSite) -> None:
    meta = "dsocr: {device: meta, model: tiny/, workloads: [dsocr-tiny]}"
    built = build_site(f"site_name: s\ntheme: mkdocs\nplugins:\n  - {meta}\n")
    assert not (built.site / "dsocr/measured").exists()
    assert "%, not measured" in built.read("dsocr/evidence/index.html")
    assert "%, not measured" in built.read("dsocr/layers/Linear/index.html")


def _edited(folder: Path, **changes: object) -> str:
    data = json.loads((folder / "m.json").read_text()) | changes
    (folder / "edited.json").write_text(json.dumps(data))
    return "edited.json"


def test_a_file_of_an_earlier_version_is_read() -> None:
    """A run on an H100, whose waits had another name then: one for each layer with experts."""
    path = ROOT / "data/measurements/h100-sxm/run-1/dsocr-standard-v1.json"
    assert '"synchronisations": 11' in path.read_text(encoding="utf-8")
    measurement = load_measurements((str(path),))[path]
    assert measurement.schema_version == "1.1"
    assert {m.host_syncs for m in measurement.passes if m.pass_shape.pass_id == "decode"} == {11}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_fingerprint": "0"}, "model_fingerprint: found tiny with sizes 0; allowed: tiny"),
        ({"profile_id": "other"}, "profile_id: found 'other'; allowed: w"),
        ({"mode": "cuda_graph"}, "mode: found cuda_graph; allowed: eager, the host_mode of w"),
        (
            {"device": "Another GPU"},
            "device: found 'Another GPU'; allowed: one of the device_names",
        ),
        ({"extra": 1}, "extra: found an unknown key"),
        ({"passes": []}, "passes: found []"),
        ({"schema_version": "1.0"}, "schema_version: found '1.0'"),
    ],
)
def test_what_does_not_belong_is_refused_by_name(
    folder: Path, changes: dict[str, object], words: str
) -> None:
    value = _edited(folder, **changes)
    with pytest.raises(InputError) as error:
        pipeline.analyse(settings(folder, measurements=(value,)))
    assert words in str(error.value)
    assert "edited.json" in str(error.value)


def test_a_workload_that_has_changed_since_is_refused(folder: Path) -> None:
    (folder / "longer.yaml").write_text(WORKLOAD.replace("text_tokens: 5", "text_tokens: 6"))
    with pytest.raises(InputError, match="prefill was not measured at the workload's sizes"):
        pipeline.analyse(settings(folder, workloads=("longer.yaml",)))


def test_a_second_measurement_and_an_empty_folder_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="a second one of w on cpu"):
        pipeline.analyse(settings(folder, measurements=("m.json", _edited(folder))))
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=r"a folder without \.json files"):
        pipeline.analyse(settings(folder, measurements=("empty",)))


@pytest.mark.parametrize("flag", ["--cuda-graph", "--largest-batch"])
def test_what_needs_cuda_says_so(flag: str, tmp_path: Path) -> None:
    flags = ["measure", "--device", "cpu", flag, "--output", str(tmp_path / "m.json")]
    done = CliRunner().invoke(main, flags)
    assert done.exit_code == 2
    assert f"{flag}: found the device cpu; allowed: --device cuda" in done.output
    assert not (tmp_path / "m.json").exists()


def test_formats_that_nothing_runs_in_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "fp8.yaml").write_text(WORKLOAD + "weight_dtype: fp8\n")
    flags = ["measure", "--device", "cpu", "--model", f"{folder}/tiny/"]
    flags += ["--workload", str(folder / "fp8.yaml"), "--output", str(tmp_path / "m.json")]
    done = CliRunner().invoke(main, flags)
    assert done.exit_code == 2
    assert "fp8.yaml: weight_dtype: found fp8; allowed: bf16: the measured model" in done.output
    with pytest.raises(InputError, match=r"m\.json: w: weight_dtype: found fp8"):
        pipeline.analyse(settings(folder, workloads=("fp8.yaml",)))


@pytest.mark.slow
def test_several_workloads_are_files_in_a_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "auto.yaml").write_text(
        WORKLOAD.replace("profile_id: w", "profile_id: auto") + "precision_mode: autocast\n"
    )
    flags = ["measure", "--device", "cpu", "--repeats", "1", "--model", f"{folder}/tiny/"]
    for name in ("w.yaml", "auto.yaml"):
        flags += ["--workload", str(folder / name)]
    done = CliRunner().invoke(main, [*flags, "--output", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in tmp_path.rglob("*.json")) == ["auto.json", "w.json"]
    under_autocast = json.loads((tmp_path / "runs/auto.json").read_text())
    assert all(p["shape"]["autocast"] for p in under_autocast["passes"])
    # Its casts are operators of their own.
    plain = json.loads((tmp_path / "runs/w.json").read_text())
    counts = [sum(p["dispatches"] for p in m["passes"]) for m in (under_autocast, plain)]
    assert counts[0] > counts[1]


@pytest.mark.slow
def test_all_that_ships_is_measured_by_one_command(folder: Path, tmp_path: Path) -> None:
    """As on a GPU, but for what only a GPU has; a site can show the result."""
    names = ["dsocr-tiny", "dsocr-small"]
    assert measure_everything(tmp_path / "runs", names, f"{folder}/tiny/", "cpu", 1) == []
    ids = [f"{name}{batch}" for name in names for batch in ("", "-batch-8")]
    assert sorted(p.stem for p in (tmp_path / "runs").glob("*.json")) == sorted(ids)
    shown = settings(
        folder,
        workloads=tuple(f"{tmp_path}/runs/workloads/{name}.yaml" for name in ids),
        measurements=(f"{tmp_path}/runs",),
    )
    for row in pipeline.analyse(shown):
        assert row[0].comparison is not None
        assert len(row[0].comparison.stages) == 4


def _measured(
    analysis: Analysis, factor: float, *, device_share: float | None = None, **achieved: float
) -> Analysis:
    """Return the analysis with a measurement of `factor` times what was predicted."""
    passes = []
    for task in tasks(analysis.plan, analysis.nodes):
        ms = factor * analysis.cost.pass_cost(task.shape).on(ms_per(analysis.hardware)).device_ms
        work = device_share and {"kernels": 1, "time_ms": device_share * ms}
        time = {"median_ms": ms, "p10_ms": ms, "p90_ms": ms, "repeats": 1}
        passes.append(
            {
                "shape": dataclasses.asdict(task.shape),
                "timing": time,
                "dispatches": 1000,
                "host_syncs": 0,
                "peak_memory_bytes": None,
                "device_work": work,
            }
        )
    gpu = analysis.hardware
    reached = {
        "matmul_tflops": gpu.peak_tflops("bf16"),
        "copy_gb_s": gpu.bandwidth_gb_s,
        "dispatch_us": 0.001,
        "synchronise_us": 0.001,
    }
    measurement = {
        "schema_version": "1.2",
        "run_id": "r",
        "measured_at": "now",
        "model_variant": analysis.config.variant,
        "model_fingerprint": fingerprint(analysis.config),
        "profile_id": analysis.workload.profile_id,
        "device": "d",
        "versions": {},
        "mode": "eager",
        "achieved": reached | achieved,
        "weight_bytes": 0,
        "capacity": None,
        "passes": passes,
    }
    parsed = Measurement.model_validate_json(json.dumps(measurement))
    return dataclasses.replace(analysis, measurement=parsed)


def test_ratios_and_explanations(analyse: Callable[..., Analysis]) -> None:
    """Made-up times whose ratio and cause are known."""
    analysis = analyse("dsocr-standard-v1", num_pages=3, traffic="eager")
    alone = analysis.hardware.model_copy(update={"host": None})
    analysis = dataclasses.replace(analysis, hardware=alone)
    equal = _measured(analysis, 1.0)
    # Decode is measured at three steps and summed by trapezoids.
    assert equal.report.predicted_vs_measured_ratio == pytest.approx(1.0, rel=1e-3)
    assert equal.comparison is not None
    assert [s.stage for s in equal.comparison.stages] == [
        *("vision", "projector", "prefill", "decode")
    ]
    for stage in equal.comparison.stages:
        assert stage.explanation == f"Bound by {stage.ceiling} at their achieved rate."
        assert stage.expected_ms == pytest.approx(stage.measured_ms)
    slow = _measured(analysis, 2.0)
    assert slow.report.predicted_vs_measured_ratio == pytest.approx(0.5, rel=1e-3)
    assert slow.comparison is not None
    assert all("does not explain" in s.explanation for s in slow.comparison.stages)
    fast = _measured(analysis, 0.7)
    assert fast.comparison is not None
    assert fast.comparison.stages[0].explanation.partition(" but ")[2].endswith("kernels overlap.")
    impossible = _measured(analysis, 0.01)
    assert impossible.comparison is not None
    assert all(s.explanation.startswith("Faster than the") for s in impossible.comparison.stages)
    host = _measured(analysis, 1.0, dispatch_us=1000.0)
    assert host.comparison is not None
    assert all("the CPU, which launches" in s.explanation for s in host.comparison.stages)
    assert host.comparison.device_ratio is None
    both = _measured(analysis, 4.0, device_share=0.5)
    assert both.comparison is not None
    assert both.comparison.launch_us == both.comparison.stages[-1].launch_us
    assert equal.comparison.launch_us is None
    assert both.comparison.ratio == pytest.approx(0.25, rel=1e-3)
    assert both.comparison.device_ratio == pytest.approx(0.5, rel=1e-3)
    for stage in both.comparison.stages:
        words = "50 % of the time; its kernels take 2.00 times the predicted time."
        assert stage.explanation.endswith(words)
        assert stage.launch_us is not None
        each = 1e3 * stage.measured_ms / stage.dispatches
        assert stage.launch_us == pytest.approx(each)
        assert f"takes {each:.3g} µs per operator" in stage.explanation


def test_a_prompt_without_images_has_no_vision(analyse: Callable[..., Analysis]) -> None:
    workload = Workload(profile_id="text", text_only=True, text_tokens=40, max_new_tokens=8)
    analysis = _measured(analyse(workload), 1.0)
    assert [t.shape.part for t in tasks(analysis.plan, analysis.nodes)] == ["language"] * 4
    assert analysis.comparison is not None
    assert [s.stage for s in analysis.comparison.stages] == ["prefill", "decode"]
    assert analysis.comparison.modules == ()


def test_what_is_expected_is_what_is_launched(analyse: Callable[..., Analysis]) -> None:
    """A site that shows fused kernels explains a measurement by the eager ones."""
    fused = _measured(analyse("dsocr-standard-v1", traffic="fused"), 1.0)
    eager = _measured(analyse("dsocr-standard-v1", traffic="eager"), 1.0)
    assert fused.comparison is not None
    assert eager.comparison is not None
    for ours, theirs in zip(fused.comparison.stages, eager.comparison.stages, strict=True):
        assert ours.expected_device_ms == theirs.expected_device_ms
    assert fused.comparison.stages[0].estimated_ms < eager.comparison.stages[0].estimated_ms


def test_memory_of_each_pass(analyse: Callable[..., Analysis]) -> None:
    """A pass alone holds the weights, its cache and its activations, and nothing that waits."""
    analysis = _measured(analyse("dsocr-standard-v1"), 1.0)
    assert analysis.comparison is not None
    memories = {p.shape: p.memory_bytes for p in analysis.comparison.passes}
    for run in analysis.plan.runs:
        assert (memories[run.first] is None) == (run.first != run.last)
        layer = pass_layer(analysis.config, run.last, analysis.workload)
        weights = analysis.root.total.weight_bytes
        assert (
            memories[run.last]
            == weights
            + resident(layer, kvcache_bytes) * (run.last.part == "language")
            + peak(layer).bytes
        )
