"""Steps that take long are announced before they are done, and those that end are noticed."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from mkdocs_dsocr.build import pipeline, progress
from mkdocs_dsocr.build.progress import log_time
from mkdocs_dsocr.build.workers import TraceWorker
from mkdocs_dsocr.inputs import InputError


def test_a_long_step_is_announced_and_a_short_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "NOTICE", 0.05)
    said: list[str] = []
    with log_time(said.append, "counting"):
        time.sleep(0.3)
        assert said == ["counting …"]
    assert [said[0], said[1][:10]] == ["counting …", "counting: "]
    monkeypatch.setattr(progress, "NOTICE", 60.0)
    with log_time(said.append, "reading"):
        pass
    assert len(said) == 3


def test_a_step_that_fails_says_nothing_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "NOTICE", 0.1)
    said: list[str] = []
    with pytest.raises(ValueError, match="bad"), log_time(said.append, "counting"):
        raise ValueError("bad")
    time.sleep(0.3)
    assert said == []


def test_a_worker_that_is_killed_while_it_writes_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not a build that waits for the rest of the line."""
    real = subprocess.Popen

    def half_a_line(command: list[str], **options: Any) -> subprocess.Popen[str]:
        code = "import sys; sys.stdin.readline(); print('{\"stat', end='', flush=True)"
        return real([command[0], "-c", code], **options)

    monkeypatch.setattr(subprocess, "Popen", half_a_line)
    worker = TraceWorker(pipeline.Settings(cache=False), lambda _: None)
    for _ in range(2):  # whoever asks again is told the same, and does not wait
        with pytest.raises(InputError, match="code and inputs that run"):
            worker.static()
    worker.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX says which signal ended a process")
def test_a_worker_that_is_killed_is_named() -> None:
    worker = TraceWorker(pipeline.Settings(cache=False), lambda _: None)
    worker._process.kill()
    with pytest.raises(InputError, match="was killed by signal 9; allowed: enough memory"):
        worker.static()
    worker.stop()
