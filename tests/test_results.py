"""What a server keeps: a trace that fails is said once, and leaves nothing to wait for."""

from __future__ import annotations

import os

import pytest

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.build.session import BuildSession
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.trace import Trace


def test_a_trace_that_fails_leaves_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "")
    results = BuildSession(lambda _: None)
    try:
        with pytest.raises(InputError, match="cuda"):
            results.result(pipeline.Settings(device="cuda", cache=False), may_be_stale=True)
        with results.taken() as files:
            assert files == {}
    finally:
        results.stop()


def test_an_input_that_is_edited_while_it_is_traced_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = BuildSession(lambda _: None)
    monkeypatch.setattr(Trace, "has", lambda self, shapes: False)
    settings = pipeline.Settings(trace="verify", cache=False)
    try:
        with pytest.raises(InputError, match="a file that was edited during this build"):
            results.result(settings, may_be_stale=False)
    finally:
        results.stop()
