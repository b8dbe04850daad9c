"""Predicted kernel times do not become worse than recorded, for any GPU and figure."""

from __future__ import annotations

import json

import pytest

from benchmarks.accuracy import (
    RECORDED,
    VALIDATION,
    by_shape,
    launch_rows,
    lines,
    mean_error,
    rows,
    validation,
)
from benchmarks.engines import published_rows, steps_on
from mkdocs_dsocr.cost.rates import MEASURED_LAUNCH_US
from mkdocs_dsocr.inputs import load_hardware, shipped
from mkdocs_dsocr.inputs.hardware import CONSTANTS, TIME_ERROR, Provenance
from mkdocs_dsocr.serving.planning import ENGINE_ERROR, rate_error
from tests.conftest import ROOT


@pytest.mark.parametrize("kind", ["measured", "inherited"])
def test_nine_of_ten_errors_are_within_the_stated_one(kind: Provenance) -> None:
    """The projector, which takes microseconds, is left out: minimum times are most of it."""
    errors = [
        abs(row.error)
        for row in rows()
        if row.kind == VALIDATION
        and not row.figure.startswith("projector")
        and load_hardware(row.hardware).time_error == TIME_ERROR[kind]
    ]
    assert errors
    assert sorted(errors)[int(0.9 * len(errors))] <= TIME_ERROR[kind]


def test_nine_of_ten_steps_of_engines_are_within_the_stated_error() -> None:
    steps = [row for gpu in ("h100-sxm", "h200-sxm") for row in steps_on(gpu)]
    published = [row for row in published_rows() if row.unit == "ms"]
    errors = sorted(abs(row.error) for row in (*steps, *published))
    assert errors[int(0.9 * len(errors))] <= ENGINE_ERROR
    assert rate_error(load_hardware("h100-sxm")) == ENGINE_ERROR
    text = (ROOT / "docs/how-to/serving.md").read_text(encoding="utf-8")
    assert f"expected error: {100 * ENGINE_ERROR:.0f} %" in text


def test_no_error_grows() -> None:
    found = rows()
    allowed = json.loads(RECORDED.read_text(encoding="utf-8"))
    errors = validation(found)
    assert set(errors) == set(allowed)
    worse = {
        name: (error, allowed[name])
        for name, error in errors.items()
        if error > allowed[name] + 0.001
    }
    assert not worse, "\n".join([str(worse), *lines(found)])


@pytest.mark.parametrize("hardware_id", shipped("hardware"))
def test_inherited_constants_are_those_of_the_gpu_that_is_named(hardware_id: str) -> None:
    """The rate of sectors is one in GB/s, whatever the memory's bandwidth is."""
    gpu = load_hardware(hardware_id)
    for block in gpu.kernels:
        given = {name for name in CONSTANTS if getattr(block, name) is not None}
        assert given, block
        if block.kind == "inherited":
            of = load_hardware(block.source.partition(",")[0])
            for name in given:
                ratio = of.bandwidth_gb_s / gpu.bandwidth_gb_s if name == "sector_share" else 1
                expected = of.constants[name][0] * ratio
                assert getattr(block, name) == pytest.approx(expected, rel=1e-3), name


def test_the_errors_of_products_are_those_of_the_calibration() -> None:
    """The table of ``times.md``, in the order of ``calibration.json``."""
    text = (ROOT / "docs/explanation/times.md").read_text(encoding="utf-8")
    table = text.partition("| GPU | products, held-out half | mean error |")[2].partition("\n\n")[0]
    written = [line.split("|")[2:4] for line in table.splitlines()[2:]]
    found = json.loads((ROOT / "benchmarks/results/calibration.json").read_text(encoding="utf-8"))
    errors = [by["products, held-out half of the table"] for by in found.values()]
    expected = [[f" {e['count']:,} ", f" {100 * e['mean']:.1f} % "] for e in errors]
    assert written == expected


def test_what_pages_say_of_launches_is_what_was_measured() -> None:
    costs = [row.launch_us for row in launch_rows()]
    least, most = round(min(costs)), round(max(costs))
    assert (least, most) == MEASURED_LAUNCH_US
    text = (ROOT / "docs/explanation/times.md").read_text(encoding="utf-8")
    assert f"took {least} to {most} µs" in text


def test_a_shape_counts_once_however_often_it_was_measured() -> None:
    found = [row for row in rows() if row.kind == VALIDATION]
    shapes = by_shape(found)
    assert len(shapes) < len(found)
    assert mean_error([*found, *shapes[0]]) == pytest.approx(mean_error(found))
