"""The key ``serving`` of a workload: how an engine schedules many pages at once."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from mkdocs_dsocr.inputs.errors import ContradictionError
from mkdocs_dsocr.inputs.fields import Limit, Positive, Share, Strict, within

ENGINE_TILES: Final = 6
"""Most local views that engines cut a page into, where the workload states no ``max_tiles``."""
SEQUENCES: Final = Limit(1, 16_384)
STEP_TOKENS: Final = Limit(1, 10**6)
BLOCK: Final = Limit(1, 4096)
WORKERS: Final = Limit(1, 4096)
DRAFT: Final = Limit(0, 16)

Microseconds = Annotated[float, Field(ge=0, le=10**6)]


class Serving(Strict):
    """What an engine adds to the model. Every default is an assumption."""

    gpu_memory_utilization: Share = Field(
        0.9, description="share of the GPU's memory that the engine uses; vLLM's default"
    )
    block_size: Annotated[int, within(BLOCK)] = Field(
        16, description="tokens of a block of the KV cache; vLLM's default on NVIDIA GPUs"
    )
    max_num_seqs: Annotated[int, within(SEQUENCES)] = Field(
        256, description="most sequences in a step; vLLM's default"
    )
    max_num_batched_tokens: Annotated[int, within(STEP_TOKENS)] = Field(
        8192, description="most tokens in a step, decode and prefill together"
    )
    graph_tokens: Annotated[int, within(STEP_TOKENS)] = Field(
        512, description="most tokens of a step that runs from CUDA graphs; vLLM's default"
    )
    vision_graphs: bool = Field(False, description="whether the vision towers run from CUDA graphs")
    overlap_scheduling: bool = Field(
        True, description="whether the CPU prepares a step while the GPU runs the one before"
    )
    step_us: Microseconds = Field(
        1000, description="CPU time to schedule a step and to prepare its inputs, µs"
    )
    sequence_us: Microseconds = Field(
        5, description="CPU time per sequence and step: bookkeeping, detokenisation, µs"
    )
    preprocessing_ms: Positive = Field(
        87,
        description="CPU time to decode, cut and normalise a page, ms; reported for another "
        "OCR model",
    )
    preprocessing_workers: Annotated[int, within(WORKERS)] = Field(
        4, description="CPU workers per GPU that prepare pages"
    )
    page_megabytes: Positive = Field(
        1, description="a page as it is sent to the engine, compressed, 1e6 byte"
    )
    draft_tokens: Annotated[int, within(DRAFT)] = Field(
        0, description="tokens that a draft layer proposes in each step (MTP); 0 for none"
    )
    acceptance_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        0.8, description="probability that a proposed token is accepted, given the one before"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_num_seqs * (1 + self.draft_tokens) > self.max_num_batched_tokens:
            found = f"{self.max_num_batched_tokens:,}"
            allowed = f"at least {self.max_num_seqs * (1 + self.draft_tokens):,}: "
            allowed += "max_num_seqs × (1 + draft_tokens)"
            raise ContradictionError("max_num_batched_tokens", found, allowed)
        return self

    @property
    def tokens_per_step(self) -> float:
        """Mean tokens that a sequence gains in a decode step."""
        return sum(self.acceptance_rate**i for i in range(self.draft_tokens + 1))


ASSUMPTIONS: Final = {name: field.description or "" for name, field in Serving.model_fields.items()}
"""What each key means, for tables of assumptions."""
