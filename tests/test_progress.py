"""Steps that take long are announced before they are done."""

from __future__ import annotations

import time

import pytest

from mkdocs_dsocr.build import trace_store
from mkdocs_dsocr.build.trace_store import timed


def test_a_long_step_is_announced_and_a_short_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_store, "NOTICE", 0.05)
    said: list[str] = []
    with timed(said.append, "counting"):
        time.sleep(0.3)
        assert said == ["counting …"]
    assert [said[0], said[1][:10]] == ["counting …", "counting: "]
    monkeypatch.setattr(trace_store, "NOTICE", 60.0)
    with timed(said.append, "reading"):
        pass
    assert len(said) == 3


def test_a_step_that_fails_says_nothing_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_store, "NOTICE", 0.1)
    said: list[str] = []
    with pytest.raises(ValueError, match="bad"), timed(said.append, "counting"):
        raise ValueError("bad")
    time.sleep(0.3)
    assert said == []
