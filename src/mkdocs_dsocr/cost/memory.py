"""What is in memory in each stage, and the largest batch that fits.

The same formulas, given one batch size or an array of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.layers import memory, metrics, tree
from mkdocs_dsocr.layers.layer import Layer
from mkdocs_dsocr.layers.memory import Peak
from mkdocs_dsocr.layers.operations import Tensor
from mkdocs_dsocr.models import Plan, Run, pass_layer, plain_format
from mkdocs_dsocr.quantities import largest, total

LIMIT: Final = 16_384
"""Batch sizes from 1 to this one are evaluated."""
Array = Any
"""A NumPy array with an entry for each batch size."""
Bytes = Any
"""An integer, or such an array."""


@dataclass(frozen=True)
class StageMemory:
    """Bytes in memory when a stage has most.

    Attributes
    ----------
    weights
        All of the model's.
    kvcache
        Of every sequence, at the last step.
    waiting
        Image tokens of the batch's prompts that wait for the prefill.
    layer
        What runs.
    """

    weights: Bytes
    kvcache: Bytes
    waiting: Bytes
    layer: Layer

    @property
    def peak(self) -> Peak:
        """Activations at their peak, and where that stands."""
        return memory.peak(self.layer)

    @property
    def activations(self) -> Bytes:
        return self.peak.bytes

    @property
    def total(self) -> Bytes:
        return needed_bytes(self.weights, self.kvcache, self.waiting, self.activations)

    @property
    def peak_at(self) -> str:
        """The module and the operation at the peak."""
        return self.peak.at


def needed_bytes(weights: Bytes, kvcache: Bytes, waiting: Bytes, activations: Bytes) -> Any:
    """Return what a pass needs in memory: integers, arrays or symbols."""
    return total((weights, kvcache, waiting, activations))


def waiting_bytes(config: ModelConfig, stage: str, batch: Any, image_tokens: Any) -> Any:
    """Return the bytes of the image tokens of a batch that wait for the prefill.

    Parameters
    ----------
    config
        The model's dimensions.
    stage
        What runs meanwhile; from the prefill on, no image token waits.
    batch, image_tokens
        Prompts, and image tokens of each: integers, arrays or symbols.
    """
    if stage in ("prefill", "decode"):
        return 0
    elements = batch * image_tokens * config.language.hidden_size
    return Tensor("image tokens", elements, format=plain_format(config)).bytes


def run_memories(
    config: ModelConfig, plan: Plan, weight_bytes: int, batch: Any = None
) -> list[tuple[str, StageMemory]]:
    """Return what is in memory in each run of a pass, with its stage.

    Parameters
    ----------
    config, plan, weight_bytes
        The model, the workload, and the bytes of all parameters.
    batch
        Prompts that are decoded together, or an array; the workload's where not given.
    """
    return [(r.stage, _run_memory(config, plan, r, weight_bytes, batch)) for r in plan.called]


def stage_memory(config: ModelConfig, plan: Plan, weight_bytes: int) -> dict[str, StageMemory]:
    """Return what is in memory in each stage that runs, when it has most."""
    runs = run_memories(config, plan, weight_bytes)
    return {
        stage: max((m for s, m in runs if s == stage), key=lambda m: m.total)
        for stage in dict.fromkeys(s for s, _ in runs)
    }


def footprints(
    config: ModelConfig, plan: Plan, weight_bytes: int, room_bytes: float = math.inf
) -> Array:
    """Return the bytes of the stage that needs most, for each batch size from 1 on.

    Parameters
    ----------
    config, plan, weight_bytes
        The model, the workload, and the bytes of all parameters.
    room_bytes
        What a GPU has: batches stop where their KV cache alone is larger.
    """
    import numpy

    def needed(batch: Any) -> Array:
        runs = run_memories(config, plan, weight_bytes, batch)
        return largest(m.total for _, m in runs)

    kvcache = max(m.kvcache for _, m in run_memories(config, plan, weight_bytes, 1))
    most = min(LIMIT, room_bytes // kvcache + 1)
    result = needed(numpy.arange(1, int(most) + 1))
    if plan.workload.vision_batching == "batched":
        # One view alone takes another way through SAM than several.
        result[0] = needed(1)
    return result


def fitting(needed: Array, room_bytes: float) -> int | None:
    """Return the largest batch whose memory fits a GPU; None where none does.

    Parameters
    ----------
    needed
        Bytes for each batch size from 1 on; they never fall.
    room_bytes
        What the GPU has.
    """
    return int((needed <= room_bytes).sum()) or None


def _run_memory(
    config: ModelConfig, plan: Plan, run: Run, weight_bytes: int, batch: Any
) -> StageMemory:
    if batch is None:
        shape, batch, like = run.last, plan.batch, None
    else:  # the choices of an array are those of several pages
        shape, like = run.last_at(batch), None if isinstance(batch, int) else run.last_at(2)
    group = pass_layer(config, shape, plan.workload, like=like)
    is_language = shape.part == "language"
    return StageMemory(
        weights=weight_bytes,
        kvcache=tree.resident(group, metrics.kvcache_bytes) if is_language else 0,
        waiting=waiting_bytes(config, run.stage, batch, plan.image_tokens),
        layer=group,
    )
