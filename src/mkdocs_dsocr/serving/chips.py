"""What a chip needs to reach a target: the smallest rates, and memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from mkdocs_dsocr.cost.rates import MsPer
from mkdocs_dsocr.inputs import Hardware, ModelConfig, Workload
from mkdocs_dsocr.serving.memory import engine_memory
from mkdocs_dsocr.serving.planning import Target
from mkdocs_dsocr.serving.steady import steady_state
from mkdocs_dsocr.serving.steps import Array, EngineSteps, engine_workload, rates_of

SCALES: Final = np.geomspace(1 / 64, 64, 601)
"""Factors of all rates of a chip among which the smallest that suffices is looked for."""


@dataclass(frozen=True)
class Required:
    """What a chip needs at a concurrency; rates are None where no chip reaches the target.

    Attributes
    ----------
    tensor_tflops, bandwidth_gb_s
        Dense peaks. All rates of the reference chip are scaled by one factor; its minimum times of
        kernels, shares of the peaks and host are not.
    memory_bytes
        Of the whole chip, of which the engine uses its share.
    """

    concurrency: int
    tensor_tflops: float | None
    bandwidth_gb_s: float | None
    memory_bytes: int


def required(
    config: ModelConfig,
    workload: Workload,
    chip: Hardware,
    target: Target,
    gpus: int = 1,
    source: str = "workload",
) -> list[Required]:
    """Return what each of `gpus` equal chips needs for a target, by concurrency.

    Parameters
    ----------
    config, workload, source
        As for :class:`mkdocs_dsocr.serving.planning.Engines`.
    chip
        The reference, whose rates are scaled.
    target, gpus
        What all chips together have to reach, and how many there are.
    """
    scaled = _scaled(rates_of([chip]))
    steps = EngineSteps(config, engine_workload(config, workload), scaled, source)
    most = steps.serving.max_num_seqs
    points = np.unique([min(2**n, most) for n in range(most.bit_length() + 1)])
    steady = steady_state(steps, points)
    reached = steady.pages_per_s >= target.pages_per_s / gpus
    reached &= steady.ttft_ms <= (target.ttft_ms or math.inf)
    # There is none (NaN) where nothing is decoded.
    reached &= ~(steady.tpot_ms > (target.tpot_ms or math.inf))
    return list(_requirements(steps, chip, points, reached))


def _requirements(
    steps: EngineSteps, chip: Hardware, points: Array, reached: Array
) -> Iterator[Required]:
    [memory] = engine_memory(steps, [chip])
    share = steps.serving.gpu_memory_utilization
    for column, count in enumerate(points.tolist()):
        factors = SCALES[reached[:, column]]
        cache = count * memory.sequence_blocks * memory.block_size * memory.token_bytes
        factor = float(factors.min()) if len(factors) else None
        yield Required(
            concurrency=count,
            tensor_tflops=factor and factor * chip.tensor_peak.tflops,
            bandwidth_gb_s=factor and factor * chip.bandwidth_gb_s,
            memory_bytes=math.ceil((memory.weights + memory.peak + cache) / share),
        )


RATES_OF_CHIP: Final = (
    *("cuda_ms", "bandwidth_ms", "memory_ms", "l2_ms"),
    *("element_ms", "sector_ms", "score_ms"),
)
"""The times per unit of work that fall where a chip is faster."""


def _scaled(per: MsPer) -> MsPer:
    """Return the rates of a chip, a row for each of :data:`SCALES`."""
    factor = SCALES[:, None]
    same = {
        f.name: getattr(per, f.name) + 0 * factor
        for f in dataclasses.fields(per)
        if f.name != "tensor_peak"
    }
    faster = {name: getattr(per, name) / factor for name in RATES_OF_CHIP}
    peaks = {name: peak / factor for name, peak in per.tensor_peak.items()}
    return MsPer(tensor_peak=peaks, **(same | faster))
