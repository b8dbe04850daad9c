"""Workload files: what is fed to the model, and the limits and choices of each key."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args, get_origin

from pydantic import Field, model_validator

from mkdocs_dsocr.inputs.errors import ContradictionError
from mkdocs_dsocr.inputs.fields import Identifier, Limit, Positive, Strict, within
from mkdocs_dsocr.inputs.files import read_mapping, validate
from mkdocs_dsocr.inputs.references import resolve

VIEW: Final = Limit(64, 8192, multiple=64)
PAGE_SIDE: Final = Limit(1, 10**6)
TILES: Final = Limit(1, 10_000)
TEXT_TOKENS: Final = Limit(0, 10**7)
TOKENS: Final = Limit(1, 10**7)
BATCH: Final = Limit(1, 10**6)
LIMITS: Final = {
    "base_size": VIEW,
    "image_size": VIEW,
    "page_w": PAGE_SIDE,
    "page_h": PAGE_SIDE,
    "tiles_w": TILES,
    "tiles_h": TILES,
    "tiles": TILES,
    "seq_len": TOKENS,
    "text_tokens": TEXT_TOKENS,
    "max_new_tokens": TOKENS,
    "tokens": TOKENS,
    "batch_size": BATCH,
    "num_pages": BATCH,
}
"""The numbers that are allowed, by key of a workload: for files, sweeps and the page *What if*.

``page_w`` and ``page_h`` are the two of ``page_size``, ``tiles_w`` and ``tiles_h`` the two of
``crop_grid``. ``tiles`` is their product, ``tokens`` are all of a page, new ones included.
"""
RESERVED_ID: Final = "static"

ViewSize = Annotated[int, within(VIEW)]
PageSide = Annotated[int, within(PAGE_SIDE)]
Tiles = Annotated[int, within(TILES)]
Tokens = Annotated[int, within(TOKENS)]
Batch = Annotated[int, within(BATCH)]
Dtype = Literal["bf16", "fp16", "fp8", "int8", "int4"]
DocKind = Literal["text_heavy", "mixed_layout", "image_rich", "synthetic"]
VisionBatching = Literal["per_page", "batched"]
HostMode = Literal["eager", "cuda_graph"]
PrecisionMode = Literal["module", "autocast"]
Traffic = Literal["fused", "eager"]
LogitsPositions = Literal["all", "last"]


class Workload(Strict):
    """A workload as its file states it."""

    profile_id: Identifier
    description: Annotated[str, Field(max_length=2000)] = ""
    base_size: ViewSize = Field(description="side of the global view, px")
    image_size: ViewSize = Field(description="side of a local view (the only view without crops)")
    crop_mode: bool = Field(description="whether the page is also cut into local views")
    max_new_tokens: Tokens = Field(description="tokens generated for each page")
    seq_len: Tokens | None = Field(None, description="image and text tokens of a page")
    text_tokens: Annotated[int, within(TEXT_TOKENS)] | None = Field(
        None, description="text tokens of a page's prompt"
    )
    page_size: tuple[PageSide, PageSide] | None = Field(None, description="width, height in px")
    crop_grid: tuple[Tiles, Tiles] | None = Field(None, description="local views a row, a column")
    batch_size: Batch = Field(1, description="pages that are decoded together")
    num_pages: Batch | None = Field(None, description="pages in all; default batch_size")
    doc_kind: DocKind = "synthetic"
    vision_batching: VisionBatching = Field(
        "per_page", description="whether the pages of a batch are encoded one by one or at once"
    )
    host_mode: HostMode = Field(
        "eager", description="whether decode steps are launched one operator at a time"
    )
    precision_mode: PrecisionMode = Field(
        "module", description="dtypes as the modules say, or under torch.autocast to bfloat16"
    )
    weight_dtype: Dtype = Field("bf16", description="of the weights of linears")
    activation_dtype: Dtype = Field("bf16", description="of activations that are not float32")
    kv_dtype: Dtype = Field("bf16", description="of keys and values")
    traffic: Traffic = Field(
        "eager", description="whether times are of one operation at a time or of fused kernels"
    )
    expert_load: tuple[Positive, ...] | None = Field(
        None, description="relative load of each routed expert; even where not given"
    )
    logits_positions: LogitsPositions = Field(
        "all", description="prefill positions that get logits"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.profile_id == RESERVED_ID:
            allowed = "another id: the artifacts of the trace use this one"
            raise ContradictionError("profile_id", repr(RESERVED_ID), allowed)
        if self.seq_len is None and self.text_tokens is None:
            raise ContradictionError("seq_len", "neither", "one of seq_len and text_tokens")
        if self.crop_mode and self.page_size is None and self.crop_grid is None:
            raise ContradictionError(
                "crop_mode", "true without a page", "true together with page_size or crop_grid"
            )
        if not self.crop_mode and self.crop_grid is not None:
            raise ContradictionError(
                "crop_grid", "a grid with crop_mode: false", "crop_mode: true, or no grid"
            )
        if self.precision_mode == "autocast" and self.activation_dtype != "bf16":
            raise ContradictionError(
                "activation_dtype", self.activation_dtype, "bf16 with precision_mode: autocast"
            )
        tiles = math.prod(self.crop_grid or ())
        if not TILES.allows(tiles):
            raise ContradictionError("crop_grid", f"{tiles:,} tiles", f"at most {TILES.most:,}")
        return self

    @property
    def pages(self) -> int:
        return self.num_pages if self.num_pages is not None else self.batch_size


CHOICES: Final[dict[str, tuple[Any, ...]]] = {"crop_mode": (False, True)} | {
    name: get_args(field.annotation)
    for name, field in Workload.model_fields.items()
    if get_origin(field.annotation) is Literal
}
"""The values of each key that has only a few, in the order in which they are offered."""


def load_workload(value: str, base: Path | None = None, source: str = "option") -> Workload:
    """Load a workload by id or path.

    Raises
    ------
    InputError
        If there is no such workload, or it is not valid.
    """
    path = resolve("workloads", value, base, source)
    return validate(Workload, read_mapping(path), path)
