"""Activations of an engine's profiling run: the largest page, whatever its passes are called."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pytest

from mkdocs_dsocr.inputs import ModelConfig, load_hardware, load_workload
from mkdocs_dsocr.layers import memory
from mkdocs_dsocr.models import (
    Batch,
    BatchPass,
    Model,
    load_model_config,
    max_tiles_of,
    model_of,
    pass_layer,
)
from mkdocs_dsocr.serving import EngineSteps, engine_memory
from mkdocs_dsocr.serving.memory import profiled_bytes
from mkdocs_dsocr.serving.steps import engine_workload, rates_of

PAGES = [
    ("deepseek-ocr-v1-base", "dsocr-a4-gundam"),
    ("unlimited-ocr", "dsocr-a4-gundam"),
    ("deepseek-ocr-2", "dsocr2-a4"),
    ("got-ocr-2", "got-a4"),
]
"""Models, and a page of each that is cut into local views."""


def steps_of(model: str, workload: str, **keys: object) -> EngineSteps:
    """Return the steps of an engine for a workload with other keys."""
    config, page = load_model_config(model), load_workload(workload).model_copy(update=keys)
    return EngineSteps(config, engine_workload(config, page), rates_of([load_hardware("l4")]))


def encoding_bytes(steps: EngineSteps) -> int:
    """Return the most activations of the passes that encode the workload's own page."""
    runs = [r for r in steps.plan.runs if r.stage in ("vision", "projector") and r.calls]
    layers = [pass_layer(steps.config, run.first, steps.plan.workload) for run in runs]
    return max(int(memory.peak(layer).bytes) for layer in layers)  # type: ignore[arg-type]


@pytest.mark.parametrize(("model", "workload"), PAGES)
@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (2, 3)])
def test_the_profiling_run_holds_the_page_that_runs(
    model: str, workload: str, grid: tuple[int, int]
) -> None:
    """Its peak is that of the page of most views, and not less than that of the workload's own."""
    own = steps_of(model, workload, crop_grid=grid, page_size=None)
    most = max_tiles_of(own.config, own.plan.workload)
    widest = steps_of(model, workload, crop_grid=(most, 1), page_size=None)
    assert profiled_bytes(own) == profiled_bytes(widest)
    assert profiled_bytes(own) >= encoding_bytes(widest) >= encoding_bytes(own)


def test_views_of_one_pass_leave_less_room_for_sequences() -> None:
    """GOT-OCR-2.0 encodes all 7 views of a page at once: 7 times the activations of one view."""
    pages = [steps_of("got-ocr-2", "got-a4", crop_grid=(n, 1), page_size=None) for n in (1, 6)]
    one, seven = map(encoding_bytes, pages)
    assert seven > 6.5 * one
    [engine] = engine_memory(steps_of("got-ocr-2", "got-a4"), [load_hardware("l4")])
    assert engine.peak == seven
    with_one = dataclasses.replace(engine, peak=one)
    assert engine.largest < with_one.largest / 2


@pytest.mark.parametrize("without", ["dsocr-base", "dsocr-large"])
def test_a_page_without_crops_has_no_local_views(without: str) -> None:
    steps = steps_of("unlimited-ocr", without)
    most = max(encoding_bytes(steps), profiled_bytes(steps_of("unlimited-ocr", "dsocr-tiny")))
    assert profiled_bytes(steps) == most


def renamed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the passes of a model's local views another suffix."""
    passes = type(model).passes

    def others(self: Model, config: ModelConfig, batch: Batch) -> Iterable[BatchPass]:
        for found in passes(self, config, batch):
            name = found.pass_id.replace(".local", ".crops")
            yield dataclasses.replace(found, pass_id=name)

    monkeypatch.setattr(type(model), "passes", others)


def test_names_of_passes_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model may call the pass of its local views as it likes."""
    keys = {"image_size": 1024, "base_size": 1024, "crop_grid": (1, 2), "page_size": None}
    before = profiled_bytes(steps_of("deepseek-ocr-v1-base", "dsocr-a4-gundam", **keys))
    renamed(model_of(load_model_config("deepseek-ocr-v1-base")), monkeypatch)
    other = steps_of("deepseek-ocr-v1-base", "dsocr-a4-gundam", **keys, profile_id="renamed")
    assert profiled_bytes(other) == before
    assert before > encoding_bytes(other)
