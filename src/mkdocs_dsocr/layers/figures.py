"""Every count of the product in one table: it drives totals, schema, CSV, sweeps and pages.

To add a figure, add its formula to :mod:`mkdocs_dsocr.layers.metrics` and a row here, raise the
schema version, and document the version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from mkdocs_dsocr.layers import metrics
from mkdocs_dsocr.layers.tree import NodeVisit
from mkdocs_dsocr.quantities import Quantity

Sum = Literal["calls", "modules", "peak"]


@dataclass(frozen=True)
class Figure:
    """A count.

    Attributes
    ----------
    key
        Its name in code, schema, CSV and sweeps.
    name, unit
        Its name on pages, and what is counted.
    over
        How it is summed: over all ``calls`` in the workload; over ``modules``, each once, at
        the largest; or not at all, as it is a ``peak``.
    metric
        What one call of a layer's own operations amounts to.
    description
        What exactly is counted.
    in_report
        Whether the report has it for every module.
    """

    key: str
    name: str
    unit: str
    over: Sum
    metric: metrics.MetricOf
    description: str
    in_report: bool = True

    def of(self, visit: NodeVisit) -> Quantity:
        """Return the amount of one node's own operations over all its calls."""
        if self.key in LAUNCHED:
            return visit.launched(self.metric)
        return visit.summed(self.metric)


LAUNCHED: Final = ("dispatches", "kernel_launches")
"""Figures of modules of which only some run, where they share rows: expectations, rounded once."""
FIGURES: Final = {
    figure.key: figure
    for figure in (
        Figure(
            "matmul_flops",
            "matmul FLOPs",
            "FLOPs",
            "calls",
            metrics.matmul_flops,
            "FLOPs of matrix products, convolutions and attention products, as PyTorch's "
            "FlopCounterMode counts them: 2 per multiply-add, attention in full (no causal "
            "halving)",
        ),
        Figure(
            "tensor_core_flops",
            "FLOPs on tensor cores",
            "FLOPs",
            "calls",
            metrics.tensor_core_flops,
            "FLOPs on tensor cores",
        ),
        Figure(
            "cuda_core_flops",
            "FLOPs on CUDA cores",
            "FLOPs",
            "calls",
            metrics.cuda_core_flops,
            "FLOPs on CUDA cores: elementwise, float32 products",
        ),
        Figure(
            "io_bytes",
            "DRAM traffic of the timed kernels",
            "bytes",
            "calls",
            metrics.io_bytes,
            "bytes that cross the borders of the kernels that are timed",
        ),
        Figure(
            "eager_io_bytes",
            "DRAM traffic, eager",
            "bytes",
            "calls",
            metrics.eager_bytes,
            "bytes that every dispatched operator touches: its inputs and outputs once",
        ),
        Figure(
            "compulsory_io_bytes",
            "compulsory DRAM traffic",
            "bytes",
            "calls",
            metrics.least_bytes,
            "weights, KV cache, inputs and outputs of a pass once each: a floor of traffic",
        ),
        Figure(
            "causal_tensor_core_flops",
            "FLOPs on tensor cores, masked pairs left out",
            "FLOPs",
            "calls",
            metrics.least_tensor_core_flops,
            "tensor_core_flops without the pairs that a causal mask throws away",
        ),
        Figure(
            "padded_tensor_core_flops",
            "FLOPs on tensor cores, in whole tiles",
            "FLOPs",
            "calls",
            metrics.padded_tensor_core_flops,
            "tensor_core_flops with every product padded to whole 16 × 8 × 16 tiles",
        ),
        Figure(
            "dispatches",
            "operators",
            "operators",
            "calls",
            metrics.dispatches,
            "operators dispatched one by one, views left out",
        ),
        Figure(
            "kernel_launches",
            "kernels",
            "kernels",
            "calls",
            metrics.kernel_launches,
            "kernels that the timed operators launch: one or several each",
        ),
        Figure(
            "host_syncs",
            "host waits",
            "waits",
            "calls",
            metrics.host_syncs,
            "values that the host waits for",
        ),
        Figure(
            "weight_bytes",
            "weights",
            "bytes",
            "modules",
            metrics.weight_bytes,
            "resident parameters; a module counts once",
        ),
        Figure(
            "num_parameters",
            "parameters",
            "parameters",
            "modules",
            metrics.num_parameters,
            "elements of the parameters; a module counts once",
            in_report=False,
        ),
        Figure(
            "activation_bytes",
            "activations",
            "bytes",
            "peak",
            metrics.activation_bytes,
            "activations at their peak in one call, inputs included: no sum; in ``self``, while "
            "one of the module's own operations runs",
        ),
        Figure(
            "kvcache_bytes",
            "KV cache",
            "bytes",
            "modules",
            metrics.kvcache_bytes,
            "KV cache at its largest: resident, no sum",
        ),
    )
}
"""Figures by key, in the order of the schema."""


def keys(*over: Sum) -> tuple[str, ...]:
    """Return the keys of the figures that are summed in one of these ways."""
    return tuple(key for key, figure in FIGURES.items() if figure.over in over)
