"""The memory of an engine: what is left for the KV cache, in blocks, and how many sequences fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mkdocs_dsocr.inputs import Hardware, Serving
from mkdocs_dsocr.layers import memory, metrics, tree
from mkdocs_dsocr.models import max_tiles_of, pass_layer, runs_of
from mkdocs_dsocr.quantities import ceil_div
from mkdocs_dsocr.serving.steps import EngineSteps
from mkdocs_dsocr.trace import PassShape


@dataclass(frozen=True)
class EngineMemory:
    """What an engine does with the memory of a GPU, in bytes.

    Attributes
    ----------
    usable
        What it may use: a share of the GPU's memory.
    weights, peak
        Of the model, and the most that a step of the profiling run holds.
    token_bytes, block_size
        KV cache of one position, and positions of a block.
    sequence_tokens, max_num_seqs
        Positions of a sequence at its end, and the engine's limit.
    """

    usable: int
    weights: int
    peak: int
    token_bytes: int
    block_size: int
    sequence_tokens: int
    max_num_seqs: int

    @property
    def cache(self) -> int:
        """What is left for the KV cache."""
        return max(0, self.usable - self.weights - self.peak)

    @property
    def blocks(self) -> int:
        """Whole blocks of the KV cache."""
        return self.cache // (self.block_size * self.token_bytes)

    @property
    def tokens(self) -> int:
        """Positions in all blocks."""
        return self.blocks * self.block_size

    @property
    def sequence_blocks(self) -> int:
        """Blocks of a sequence at its end: no sequence that was started has to stop."""
        return int(ceil_div(self.sequence_tokens, self.block_size))

    @property
    def fitting(self) -> int:
        """Sequences whose blocks fit."""
        return self.blocks // self.sequence_blocks

    @property
    def largest(self) -> int:
        """The largest concurrency; 0 where not even one sequence fits."""
        return min(self.fitting, self.max_num_seqs)

    @property
    def is_limit(self) -> bool:
        """Whether the KV cache, not the engine's setting, limits the concurrency."""
        return self.fitting < self.max_num_seqs


def engine_memory(steps: EngineSteps, gpus: Sequence[Hardware]) -> list[EngineMemory]:
    """Return the memory of an engine on each GPU."""
    serving, draft = steps.serving, steps.serving.draft_tokens
    weights, peak = weight_bytes(steps), profiled_bytes(steps)
    each = token_bytes(steps)
    return [
        EngineMemory(
            usable=int(serving.gpu_memory_utilization * gpu.memory_bytes),
            weights=weights,
            peak=peak,
            token_bytes=each,
            block_size=serving.block_size,
            sequence_tokens=steps.most_cached + draft,
            max_num_seqs=serving.max_num_seqs,
        )
        for gpu in gpus
    ]


def weight_bytes(steps: EngineSteps) -> int:
    """Return the bytes of the model's weights."""
    return int(steps.cost.run_memories[0].weights)


def token_bytes(steps: EngineSteps) -> int:
    """Return the KV cache of one position of one sequence."""
    one = dataclasses.replace(steps.prefill, q_len=1, kv_len=1, image_tokens=0, logits=1)
    group = pass_layer(steps.config, one, steps.plan.workload)
    return int(tree.resident(group, metrics.kvcache_bytes))  # type: ignore[arg-type]


def profiled_bytes(steps: EngineSteps) -> int:
    """Return the most activations of the profiling run: the largest step, the largest page."""
    shapes = (_largest_step(steps, steps.serving), *_pages(steps))
    layers = (pass_layer(steps.config, shape, steps.plan.workload) for shape in shapes)
    peaks: list[Any] = [memory.peak(layer).bytes for layer in layers]
    return int(max(peaks))


def _largest_step(steps: EngineSteps, serving: Serving) -> PassShape:
    """Return a step of as many tokens as the engine allows."""
    most = serving.max_num_batched_tokens
    rows = min(serving.max_num_seqs * (1 + serving.draft_tokens), most)
    return dataclasses.replace(
        steps.prefill, batch=1, q_len=most, kv_len=most, image_tokens=0, logits=rows
    )


def _pages(steps: EngineSteps) -> Iterator[PassShape]:
    """Yield the vision passes of the workload's page, and of one with the most local views."""
    plan = steps.plan
    most = max_tiles_of(steps.config, plan.workload) if plan.workload.crop_mode else 1
    widest = dataclasses.replace(plan, grid=(most, 1))
    for run in (*plan.runs, *runs_of(steps.config, widest)):
        if run.stage in ("vision", "projector") and run.calls:
            yield run.first
