"""Workload files: what is fed to the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from mkdocs_dsocr.inputs.errors import ContradictionError
from mkdocs_dsocr.inputs.files import Strict, read_mapping, validate
from mkdocs_dsocr.inputs.hardware import Identifier
from mkdocs_dsocr.inputs.references import resolve

VIEW_MULTIPLE: Final = 64
MAX_VIEW: Final = 8192
MAX_TILES: Final = 10_000
MAX_TOKENS: Final = 10**7
MAX_BATCH: Final = 10**6
RESERVED_ID: Final = "static"


def _multiple(value: int) -> int:
    if value % VIEW_MULTIPLE:
        raise ValueError(f"a multiple of {VIEW_MULTIPLE} px, up to {MAX_VIEW}")
    return value


ViewSize = Annotated[int, Field(ge=VIEW_MULTIPLE, le=MAX_VIEW), AfterValidator(_multiple)]
Tokens = Annotated[int, Field(ge=1, le=MAX_TOKENS)]
Batch = Annotated[int, Field(ge=1, le=MAX_BATCH)]
PageSide = Annotated[int, Field(ge=1, le=10**6)]
Dtype = Literal["bf16", "fp16", "fp8", "int8", "int4"]
Load = Annotated[float, Field(gt=0, le=1e9)]
Tiles = Annotated[int, Field(ge=1, le=MAX_TILES)]


class Workload(Strict):
    """A workload as its file states it."""

    profile_id: Identifier
    description: Annotated[str, Field(max_length=2000)] = ""
    base_size: ViewSize = Field(description="side of the global view, px")
    image_size: ViewSize = Field(description="side of a local view (the only view without crops)")
    crop_mode: bool = Field(description="whether the page is also cut into local views")
    max_new_tokens: Tokens = Field(description="tokens generated for each page")
    seq_len: Tokens | None = Field(None, description="image and text tokens of a page")
    text_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = Field(
        None, description="text tokens of a page's prompt"
    )
    page_size: tuple[PageSide, PageSide] | None = Field(None, description="width, height in px")
    crop_grid: tuple[Tiles, Tiles] | None = Field(None, description="local views a row, a column")
    batch_size: Batch = Field(1, description="pages that are decoded together")
    num_pages: Batch | None = Field(None, description="pages in all; default batch_size")
    doc_kind: Literal["text_heavy", "mixed_layout", "image_rich", "synthetic"] = "synthetic"
    vision_batching: Literal["per_page", "batched"] = Field(
        "per_page", description="whether the pages of a batch are encoded one by one or at once"
    )
    host_mode: Literal["eager", "cuda_graph"] = Field(
        "eager", description="whether decode steps are launched one operator at a time"
    )
    precision_mode: Literal["module", "autocast"] = Field(
        "module", description="dtypes as the modules say, or under torch.autocast to bfloat16"
    )
    weight_dtype: Dtype = Field("bf16", description="of the weights of linears")
    activation_dtype: Dtype = Field("bf16", description="of activations that are not float32")
    kv_dtype: Dtype = Field("bf16", description="of keys and values")
    traffic: Literal["fused", "eager"] = Field(
        "fused", description="whether times are of fused kernels or of one operation at a time"
    )
    expert_load: tuple[Load, ...] | None = Field(
        None, description="relative load of each routed expert; even where not given"
    )
    logits_positions: Literal["all", "last"] = Field(
        "all", description="prefill positions that get logits"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.profile_id == RESERVED_ID:
            raise ContradictionError(
                "profile_id", repr(RESERVED_ID), "another id: the trace's artifacts lie there"
            )
        if self.seq_len is None and self.text_tokens is None:
            raise ContradictionError("seq_len", "neither", "one of seq_len and text_tokens")
        if self.crop_mode and self.page_size is None and self.crop_grid is None:
            raise ContradictionError(
                "crop_mode", "true without a page", "page_size or crop_grid beside it"
            )
        if not self.crop_mode and self.crop_grid is not None:
            raise ContradictionError(
                "crop_grid", "a grid beside crop_mode: false", "crop_mode: true, or no grid"
            )
        if self.precision_mode == "autocast" and self.activation_dtype != "bf16":
            raise ContradictionError(
                "activation_dtype", self.activation_dtype, "bf16 beside precision_mode: autocast"
            )
        if self.crop_grid is not None and self.crop_grid[0] * self.crop_grid[1] > MAX_TILES:
            tiles = self.crop_grid[0] * self.crop_grid[1]
            raise ContradictionError("crop_grid", f"{tiles:,} tiles", f"at most {MAX_TILES:,}")
        return self

    @property
    def pages(self) -> int:
        return self.num_pages if self.num_pages is not None else self.batch_size


def load_workload(value: str, base: Path | None = None, source: str = "option") -> Workload:
    """Load a workload by id or path.

    Raises
    ------
    InputError
        If there is no such workload, or it is not valid.
    """
    path = resolve("workloads", value, base, source)
    return validate(Workload, read_mapping(path), path)
