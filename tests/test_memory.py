"""Activations in memory: what the tracer counts, and what the report makes of the formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy
import pytest
import torch
from torch import Tensor, nn

from mkdocs_dsocr.cost.memory import fitting
from mkdocs_dsocr.inputs import load_hardware
from mkdocs_dsocr.layers import memory
from mkdocs_dsocr.layers.layer import Child, Step, dim, layer
from mkdocs_dsocr.layers.memory import held_at_peak
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, copy, keep
from mkdocs_dsocr.layers.operations import Tensor as T
from mkdocs_dsocr.quantities import Quantity
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.trace import TracedPeak
from mkdocs_dsocr.tracing.counter import EVERYTHING, OperatorCounter
from mkdocs_dsocr.tracing.modules import Modules


class _Module(nn.Module):
    """Runs any function of one tensor."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(100))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _peak(function: Callable[[Tensor], Tensor]) -> TracedPeak:
    module = _Module(function)
    x = torch.zeros(100)
    counter = OperatorCounter(Modules(module))
    with torch.inference_mode(), counter.watching():
        module(x)
    # Nothing is allocated outside of the module.
    assert counter.memory.peaks[EVERYTHING].bytes == counter.memory.peaks[""].bytes
    return counter.memory.peaks[""]


def _named(x: Tensor) -> Tensor:
    y = x + 1
    z = y + 1
    return z + 1


def _rebound(x: Tensor) -> Tensor:
    y = x + 1
    y = y + 1
    return y + 1


def _concatenated(x: Tensor) -> Tensor:
    return torch.cat((x[:50], x[:50] + 1))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x, TracedPeak(0, "", 0)),
        (lambda x: x.view(10, 10)[1:].T, TracedPeak(0, "", 0)),
        (lambda x: x + 1, TracedPeak(800, "", 0)),
        (lambda x: ((x + 1) + 1) + 1, TracedPeak(1200, "", 1)),
        (_named, TracedPeak(1600, "", 2)),
        (_rebound, TracedPeak(1200, "", 1)),
        (lambda x: x.clone().mul_(2).add_(1), TracedPeak(800, "", 0)),
        (lambda x: x[:10] + 1, TracedPeak(80, "", 0)),
        (_concatenated, TracedPeak(200 + 200 + 400, "", 1)),
        (lambda x: torch.empty(300), TracedPeak(1200, "", 0)),
        (lambda x: (x + 1).sum(), TracedPeak(804, "", 1)),
    ],
)
def test_what_is_in_memory(function: Callable[[Tensor], Tensor], expected: TracedPeak) -> None:
    """Inputs as far as they are read, results until Python lets them go, views nothing."""
    assert _peak(function) == expected


def test_parameters_are_no_activations() -> None:
    module = _Module(lambda x: x)
    module.function = lambda x: x * module.weight
    counter = OperatorCounter(Modules(module))
    with torch.inference_mode(), counter.watching():
        module(torch.zeros(100))
    assert counter.memory.peaks[""].bytes == 800


@layer
class _Inner(BaseLayer):
    """x → twice as wide → y."""

    width: Quantity = dim("d", "width")

    def forward(self) -> Iterator[Step]:
        wide = T("wide", 2 * self.width)
        yield copy("widen", T("x", self.width), wide)
        yield copy("narrow", wide, T("y", self.width))


@layer
class _Outer(BaseLayer):
    """Holds a tensor beside what its child has."""

    width: Quantity = dim("d", "width")

    def forward(self) -> Iterator[Step]:
        x, beside, out = (T(n, self.width) for n in ("x", "beside", "out"))
        yield copy("beside", x, beside)
        yield Child("inner", _Inner(width=self.width), reads=(beside,), writes=(out,))
        yield Operation("last", "copy", reads=(out,), writes=(T("z", self.width),))
        yield keep(beside)


def test_a_peak_in_a_child_counts_what_lies_beside_it() -> None:
    outer = _Outer(width=10)
    peak = memory.peak(outer)
    # The outer x, and the child's x, wide and y; `beside` is the child's x.
    assert (peak.bytes, peak.path) == (2 * (10 + 10 + 20 + 10), "inner")
    assert peak.operation is not None
    assert peak.operation.name == "narrow"
    held = list(held_at_peak(outer))
    assert held == [("", "x", 20), ("inner", "x", 20), ("inner", "wide", 40), ("inner", "y", 20)]
    assert sum(size for _, _, size in held) == peak.bytes


def test_an_array_of_widths_has_the_peaks_of_each() -> None:
    widths = numpy.array([1, 7, 10])
    together = memory.peak(_Outer(width=widths)).bytes  # type: ignore[arg-type]
    assert [int(b) for b in together] == [memory.peak(_Outer(width=int(w))).bytes for w in widths]  # type: ignore[union-attr]


def test_footprints_of_all_batches_equal_single_ones(analyse: Callable[..., Analysis]) -> None:
    """Per page and batched vision, both kinds of logits."""
    for changes in ({}, {"vision_batching": "batched"}, {"logits_positions": "last"}):
        needed = analyse("dsocr-snapshot-2x2", **changes).footprints(192e9)
        for batch in (1, 5, 64):
            one = analyse("dsocr-snapshot-2x2", batch_size=batch, num_pages=batch, **changes)
            assert one.report.memory.footprint_bytes == needed[batch - 1]


def test_the_largest_batch_fits_and_the_next_does_not(analyse: Callable[..., Analysis]) -> None:
    analysis = analyse("dsocr-standard-v1")
    gpu = load_hardware("a100-40gb-sxm")
    largest = fitting(analysis.footprints(gpu.room_bytes), gpu.room_bytes)
    assert largest is not None
    needed = [
        analyse("dsocr-standard-v1", batch_size=b, num_pages=b).report.memory.footprint_bytes
        for b in (largest, largest + 1)
    ]
    assert needed[0] <= gpu.room_bytes < needed[1]


def test_logits_of_all_positions_are_the_prefill(analyse: Callable[..., Analysis]) -> None:
    """Hidden states, 16-bit and 32-bit logits, and the pass's own inputs."""
    memory = analyse("dsocr-a4-gundam").report.memory
    seq_len, images = 913, 903
    inputs = 8 * seq_len + 2 * 1280 * (images - 1) + 8 * seq_len  # ids, features, mask
    assert memory.stages["prefill"].activation_bytes == (
        inputs + 2 * 1280 * seq_len + 129_280 * seq_len * (2 + 4)
    )
    assert memory.stages["prefill"].peak_at == "lm_head: logits as float32"
    assert memory.largest_stage == "prefill"
    assert memory.footprint_bytes == max(s.total_bytes for s in memory.stages.values())
