"""What all workers of a test run have in common."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

T = TypeVar("T")


def run_folder(own: Path) -> Path:
    """Return the folder of the run, given the folder of a worker or of a run without workers."""
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def made_once(run: Path, name: str, make: Callable[[], T]) -> T:
    """Return what `make` returns in the first worker that asks; the others wait for it.

    Parameters
    ----------
    run
        The folder of the run.
    name
        The name of what is made, the same in each worker.
    make
        Makes it. What it returns is pickled.
    """
    kept = run / f"{name}.pickle"
    with FileLock(f"{kept}.lock"):
        if kept.exists():
            found: T = pickle.loads(kept.read_bytes())
            return found
        made = make()
        kept.write_bytes(pickle.dumps(made))
        return made
