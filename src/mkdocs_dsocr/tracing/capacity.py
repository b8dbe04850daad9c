"""Measures the largest batch that fits on a GPU, to compare it with the memory model's."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from mkdocs_dsocr.cost.memory import LIMIT
from mkdocs_dsocr.inputs.measurement import Capacity
from mkdocs_dsocr.report.measurement_plan import Batches
from mkdocs_dsocr.trace import PassShape


def capacity(batches: Batches, run: Callable[[PassShape], object]) -> Capacity:
    """Try batches until one runs and the next larger one does not.

    Parameters
    ----------
    batches
        What the memory model says, and which passes a batch runs.
    run
        Makes inputs for a pass on the GPU, and runs it once.
    """
    gc.collect()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    memory = free + torch.cuda.memory_reserved()
    predicted = batches.largest(memory)
    return Capacity(
        memory_bytes=memory,
        predicted_batch=predicted,
        largest_batch=search(
            lambda batch: all(_runs(run, shape) for shape in batches.shapes(batch)), predicted
        ),
    )


def search(fits: Callable[[int], bool], guess: int, limit: int = LIMIT) -> int:
    """Return the largest batch up to `limit` that fits; 0 where none does.

    The search starts at the guess and doubles its steps until it has passed the limit of the
    memory. Then it bisects.
    """
    low, high = 0, limit + 1
    batch, stride = min(max(guess, 1), limit), max(guess // 100, 1)
    while high - low > 1:
        if fits(batch):
            low = batch
            batch = min(low + stride, (low + high) // 2)
        else:
            high = batch
            batch = max(high - stride, (low + high) // 2)
        stride *= 2
    return low


def _runs(run: Callable[[PassShape], object], shape: PassShape) -> bool:
    """Tell whether there is memory for a pass."""
    try:
        run(shape)
    except torch.OutOfMemoryError:
        return False
    finally:
        torch.cuda.empty_cache()
    return True
