"""What the workers of a test run share, and what spares them time."""

from __future__ import annotations

import gc
import os
import pickle
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import pytest
from filelock import FileLock

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.build.shipped import shipped
from mkdocs_dsocr.build.trace_store import trace_model

T = TypeVar("T")


def made_once(folders: pytest.TempPathFactory, name: str, make: Callable[[], T]) -> T:
    """Return what `make` returns in the first worker that asks; the others wait for it.

    Parameters
    ----------
    folders
        Makes the temporary folders of a worker, which are in the folder of the run.
    name
        The name of what is made, the same in each worker.
    make
        Makes it. What it returns is pickled.
    """
    own = folders.getbasetemp()
    run = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    kept = run / f"{name}.pickle"
    with FileLock(f"{kept}.lock"):
        if kept.exists():
            found: T = pickle.loads(kept.read_bytes())
            return found
        made = make()
        kept.write_bytes(pickle.dumps(made))
        return made


@lru_cache(maxsize=1)
def shipped_result() -> pipeline.Result:
    """Return the result of the default settings, with the trace that ships where it is current."""
    settings = pipeline.Settings()
    analyses = pipeline.analyse(settings)
    static = shipped(analyses, settings) or trace_model(analyses, "meta", lambda _: None)
    return pipeline.complete(analyses, static)


def collect_less_garbage() -> None:
    """Make the collector leave out what was imported, torch above all, and run less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
