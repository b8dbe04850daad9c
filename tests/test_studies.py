"""Tables in which one thing changes: every row is what a whole analysis says."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mkdocs_dsocr.build import pipeline, prepared
from mkdocs_dsocr.cost import browser
from mkdocs_dsocr.cost.rates import MEASURED_LAUNCH_US
from mkdocs_dsocr.inputs import (
    Hardware,
    ModelConfig,
    Workload,
    load_hardware,
    load_workload,
)
from mkdocs_dsocr.inputs.fields import RATE
from mkdocs_dsocr.io import Cache
from mkdocs_dsocr.models import Plan, load_model_config
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.resources import PACKAGE
from mkdocs_dsocr.sweep import studies

Analyse = Callable[..., Analysis]


@pytest.fixture(scope="module", params=["deepseek-ocr-v1-base", "unlimited-ocr"])
def analyse(request: pytest.FixtureRequest, gpu: Hardware) -> Analyse:
    """Analyse a shipped workload with each model, some of its fields replaced."""
    config = load_model_config(request.param)

    def make(workload: str, **changes: object) -> Analysis:
        fields = {**load_workload(workload).model_dump(), **changes}
        return Analysis(config, Workload.model_validate(fields), gpu)

    return make


@pytest.fixture(scope="module")
def main(analyse: Analyse) -> Analysis:
    return analyse("dsocr-a4-gundam")


def given(main: Analysis) -> tuple[ModelConfig, Plan, Hardware]:
    return main.config, main.plan, main.hardware


def test_grids_are_analyses(main: Analysis, analyse: Analyse) -> None:
    table = studies.by_grid(*given(main))
    assert table["tiles"].max() == 400
    for i in (0, 7, len(table["tiles"]) - 3):
        grid = (int(table["tiles_w"][i]), int(table["tiles_h"][i]))
        other = analyse("dsocr-a4-gundam", crop_grid=grid, page_size=None, max_tiles=400)
        assert table["image_tokens"][i] == other.plan.image_tokens
        assert table["io_bytes"][i] == other.root.total.io_bytes
        assert table["footprint_bytes"][i] == other.footprint_bytes
        assert table["ttft_ms"][i] == pytest.approx(other.latency.ttft_ms, rel=1e-9)
        assert table["tpot_ms"][i] == pytest.approx(other.latency.tpot_middle_ms, rel=1e-9)


def test_batches_and_contexts_are_analyses(main: Analysis, analyse: Analyse) -> None:
    batches = studies.by_batch(*given(main))
    for i in (0, 3, 6):
        batch = int(batches["batch_size"][i])
        other = analyse("dsocr-a4-gundam", batch_size=batch, num_pages=batch)
        assert batches["tokens_per_s"][i] == pytest.approx(other.latency.tokens_per_s, rel=1e-9)
        assert batches["ttft_ms"][i] == pytest.approx(other.latency.ttft_ms, rel=1e-9)
        assert batches["fits"][i] == (batch <= (other.largest_batch or 0))
        step = other.cost.steps["middle"].dispatches
        assert batches["tpot_needs_dispatch_us"][i] == pytest.approx(50_000 / step, rel=1e-9)
    contexts = studies.by_context(*given(main))
    text = int(contexts["context"][-1]) - 1 - main.plan.image_tokens
    long = analyse("dsocr-a4-gundam", text_tokens=text, seq_len=None, max_new_tokens=2)
    assert contexts["tpot_ms"][-1] == pytest.approx(long.latency.tpot_first_ms, rel=1e-9)


def test_a_rate_moves_figures_as_another_gpu_does(main: Analysis) -> None:
    table = studies.sensitivity(*given(main))
    place = table["input"].tolist().index("dispatch_us")
    host = main.hardware.host
    assert host is not None
    slower = host.model_copy(update={"dispatch_us": 1.1 * host.dispatch_us})
    other = Analysis(main.config, main.workload, main.hardware.model_copy(update={"host": slower}))
    for figure, of in (("ttft_ms", "ttft_ms"), ("tpot_ms", "tpot_middle_ms")):
        share = getattr(other.latency, of) / getattr(main.latency, of) - 1
        assert table[f"{figure}_above"][place] == pytest.approx(share, rel=1e-9)
    assert share > 0.01


def test_what_helps_is_what_an_analysis_says_and_fits(main: Analysis, analyse: Analyse) -> None:
    table = studies.levers(*given(main))
    found = dict(zip(table["lever"].tolist(), table["times"].tolist(), strict=True))
    graph = analyse("dsocr-a4-gundam", host_mode="cuda_graph")
    rates = graph.latency.pages_per_s / main.latency.pages_per_s
    assert found["CUDA graphs for decode steps"] == pytest.approx(rates, rel=1e-9)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    host = main.hardware.host
    assert host is not None
    slow = main.hardware.model_copy(
        update={"host": host.model_copy(update={"dispatch_us": MEASURED_LAUNCH_US[1]})}
    )
    slower = [dataclasses.replace(a, hardware=slow).latency.pages_per_s for a in (graph, main)]
    place = table["lever"].tolist().index("CUDA graphs for decode steps")
    assert table["times_slow"][place] == pytest.approx(slower[0] / slower[1], rel=1e-9)
    assert table["times_slow"][place] > table["times"][place]
    most = main.largest_batch
    assert most is not None
    full = analyse("dsocr-a4-gundam", batch_size=most, num_pages=most)
    assert "an 8 times larger batch" in found
    crowded = studies.levers(*given(full))["lever"]
    assert "an 8 times larger batch" not in crowded.tolist()


def test_gpus_have_the_rate_of_their_own_largest_batch(main: Analysis, analyse: Analyse) -> None:
    gpus = [load_hardware(name) for name in ("rtx-5090", "h100-sxm")]
    table = studies.by_gpu(main.config, main.plan, gpus, [2, 5])
    for i, (gpu, batch) in enumerate(zip(gpus, (2, 5), strict=True)):
        workload = main.workload.model_copy(update={"batch_size": batch, "num_pages": batch})
        other = Analysis(main.config, workload, gpu)
        assert table["pages_per_s"][i] == pytest.approx(other.latency.pages_per_s, rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "has_tables"),
    [
        ({"max_new_tokens": 9_000_000}, False),  # needs more than 64 bits
        ({"max_new_tokens": 100_000}, True),  # with every batch it would
        (
            {"crop_grid": (100, 100), "page_size": None, "max_tiles": 10_000},
            True,
        ),  # more tokens than any context
        ({"max_new_tokens": 1}, True),  # decodes nothing
    ],
)
def test_no_workload_is_too_large_for_a_site(
    main: Analysis, changes: dict[str, object], has_tables: bool
) -> None:
    fields = {**main.workload.model_dump(), **changes, "seq_len": None, "text_tokens": 5}
    workload = Workload.model_validate(fields)
    analyses = ((Analysis(main.config, workload, main.hardware),),)
    tables = prepared.studies(analyses, None)
    assert (tables is not None) == has_tables
    if tables is not None:
        assert len(tables.batches["batch_size"]) >= 1
        assert len(tables.contexts["context"]) >= 1
        assert tables.files().keys() == {
            f"by_{n}.csv" for n in ("grid", "context", "batch", "input")
        }


@pytest.mark.parametrize(
    "name",
    ["site/studies.py", "site/content.py", "sweep/studies.py", "cost/formulas.js", "trace.py"],
)
def test_an_edit_of_their_code_makes_formulas_and_tables_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """In one process, too: a server does not start another one for an edit of a script."""
    code = tmp_path / "code"
    shutil.copytree(PACKAGE, code, ignore=shutil.ignore_patterns("data", "__pycache__"))
    monkeypatch.setattr(prepared, "PACKAGE", code)
    texts = iter(["before", "after"])
    monkeypatch.setattr(browser, "text", lambda *_: next(texts))
    analyses = pipeline.analyse(pipeline.Settings())
    cache = Cache(tmp_path / "cache")
    assert [prepared.formulas(analyses, cache) for _ in range(2)] == ["before", "before"]
    with (code / name).open("a") as file:
        file.write("\n")
    assert not prepared.are_kept(analyses, cache)
    assert prepared.formulas(analyses, cache) == "after"


def test_tables_come_back_from_the_cache_as_they_were(tmp_path: Path) -> None:
    analyses = pipeline.analyse(pipeline.Settings())
    made = prepared.studies(analyses, Cache(tmp_path))
    prepared._studies.cache_clear()
    kept = prepared.studies(analyses, Cache(tmp_path))
    assert made is not None
    assert kept is not None
    assert made is not kept
    assert made.files() == kept.files()
    assert made.levers == kept.levers
    # They push no trace out of the cache, and go with it.
    assert not Cache(tmp_path).entries()
    assert Cache(tmp_path).clear() == 1


def test_a_book_has_tables_though_its_batches_have_over_a_million_pages(gpu: Hardware) -> None:
    """The pages of a batch are derived: no limit on what a file states applies to them."""
    fields = {"profile_id": "book", "image_size": 1024, "crop_mode": False, "text_tokens": 10}
    fields |= {"max_new_tokens": 64, "pages_per_prompt": 100}
    book = Analysis(load_model_config("unlimited-ocr"), Workload.model_validate(fields), gpu)
    tables = prepared.studies(((book,),), None)
    assert tables is not None
    batches = tables.batches["batch_size"]
    assert tables.batches["pages_per_s"][0] == pytest.approx(book.latency.pages_per_s, rel=1e-9)
    several = Workload.model_validate({**fields, "batch_size": int(batches[-1])})
    other = dataclasses.replace(book, workload=several)
    assert tables.batches["time_ms"][-1] == pytest.approx(other.predicted_ms, rel=1e-9)


@pytest.mark.parametrize("rate", [float(RATE.most), 1.01 * RATE.least])
def test_a_rate_that_cannot_move_has_no_sensitivity(main: Analysis, rate: float) -> None:
    extreme = main.hardware.model_copy(update={"bandwidth_gb_s": rate})
    names = studies.sensitivity(main.config, main.plan, extreme)["input"].tolist()
    assert "bandwidth_gb_s" not in names
    assert "cuda_tflops" in names


def test_a_gpu_without_host_costs_has_levers(main: Analysis) -> None:
    gpu = main.hardware.model_copy(update={"host": None})
    found = studies.levers(main.config, main.plan, gpu)
    assert len(found["times"]) > 0
    assert found["times"].tolist() == found["times_slow"].tolist()
