"""No figure moves unseen: reports and sweeps are what they were when they were recorded."""

from __future__ import annotations

import numpy
import pytest

from tests import golden

EVERY = 32
"""Of so many drawn workloads one is analysed by default."""


@pytest.mark.parametrize(("model", "workload"), golden.shipped())
def test_reports_are_as_recorded(model: str, workload: str) -> None:
    assert golden.report_differences(model, workload) == []


@pytest.mark.parametrize("model", golden.MODELS)
def test_scenarios_are_as_recorded(model: str) -> None:
    assert golden.scenario_differences(model) == []


def test_drawn_workloads_are_as_recorded() -> None:
    assert golden.drawn_differences(golden.drawn_keys("analysed")[::EVERY]) == []


def test_refusals_are_as_recorded() -> None:
    assert golden.drawn_differences(golden.drawn_keys("refused")) == []


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, EVERY))
def test_all_drawn_workloads_are_as_recorded(first: int) -> None:
    assert golden.drawn_differences(golden.drawn_keys("analysed")[first::EVERY]) == []


def test_what_is_renamed_or_changed_was_recorded() -> None:
    columns = golden.recorded_columns()
    for old in golden.RENAMED:
        assert any(f".{old}." in f".{column}." for column in columns), old
    for pattern in golden.CHANGED:
        assert golden.matching(columns, (pattern.partition("|")[0],)), pattern


def test_a_report_is_read_as_columns() -> None:
    report = {
        "stages": {"prefill": {"time_ms": 1.0, "by_ceiling": {"memory": 0.5}}},
        "modules": [{"module_id": "m", "class_name": "C", "children": ["n"]}],
        "passes": [{"calls": 1}, {"calls": 2}],
        "serving": None,
        "notes": "a sentence",
    }
    assert golden.table(report) == {
        "stages.time_ms": {"prefill": 1.0},
        "stages.by_ceiling.memory": {"prefill": 0.5},
        "modules.module_id": {"m": "m"},
        "modules.class_name": {"m": "C"},
        "modules.children": {"m|0": "n"},
        "passes.calls": {"0": 1, "1": 2},
        "serving": {"": None},
    }


def test_one_byte_is_a_difference_and_the_last_bits_of_a_time_are_none() -> None:
    before: golden.Table = {"a.bytes": {"x": 10, "y": 20}, "a.ms": {"x": 1.0}, "b.bytes": {"x": 1}}
    now: golden.Table = {
        "a.bytes": {"x": 10, "y": 21},
        "a.ms": {"x": 1 + 1e-12},
        "b.bytes": {"x": 1.0},
    }
    assert golden.differences(before, before) == []
    assert golden.differences(before, now) == [
        "a.bytes: 1 rows, first 'y': 20 → 21",
        "b.bytes: 1 rows, first 'x': 1 → 1.0",
    ]
    digests = {k: {golden.DIGEST: golden.digest(v)} for k, v in before.items() if k != "a.ms"}
    assert golden.differences(digests, before) == []
    assert len(golden.differences(digests, now)) == 2
    assert golden.differences(before, {}) == [f"{k}: no column {k}" for k in before]


def test_columns_of_a_sweep_are_compared_alike() -> None:
    before = {"sweep.n": numpy.array([1, 2]), "sweep.ms": numpy.array([1.0, numpy.nan])}
    now = {"sweep.n": numpy.array([1, 3]), "sweep.ms": numpy.array([1 + 1e-12, 2.0])}
    assert golden.sweep_differences(before, before) == []
    assert golden.sweep_differences(before, now) == [
        "sweep.n: 1 rows, first 1: 2 → 3",
        "sweep.ms: 1 rows, first 1: nan → 2.0",
    ]


def test_a_rename_and_an_intended_change_are_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "RENAMED", {"dispatches": "launches", "a.ms": "a.device_ms"})
    monkeypatch.setattr(golden, "CHANGED", {"*.share": "of another total"})
    before: golden.Table = {
        "a.self.dispatches": {"x": 1},
        "a.ms": {"x": 1.0},
        "a.share": {"x": 0.5},
    }
    now: golden.Table = {
        "a.self.launches": {"x": 1},
        "a.device_ms": {"x": 1.0},
        "a.share": {"x": 0.1},
    }
    assert golden.differences(before, now) == []
