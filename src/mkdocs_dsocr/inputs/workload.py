"""Workload files: what is fed to the model, and the limits and choices of each key."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args, get_origin

from pydantic import Field, model_validator

from mkdocs_dsocr.inputs.errors import ContradictionError, repr_short
from mkdocs_dsocr.inputs.fields import Identifier, Limit, Positive, Strict, within
from mkdocs_dsocr.inputs.files import read_mapping, validate
from mkdocs_dsocr.inputs.references import resolve
from mkdocs_dsocr.inputs.serving import ENGINE_TILES, Serving

VIEW: Final = Limit(64, 8192, multiple=64)
PAGE_SIDE: Final = Limit(1, 10**6)
TILES: Final = Limit(1, 10_000)
MAX_TILES: Final = Limit(2, TILES.most)
TEXT_TOKENS: Final = Limit(0, 10**7)
TOKENS: Final = Limit(1, 10**7)
BATCH: Final = Limit(1, 10**6)
PAGES_PER_PROMPT: Final = Limit(1, 10_000)
LIMITS: Final = {
    "base_size": VIEW,
    "image_size": VIEW,
    "page_w": PAGE_SIDE,
    "page_h": PAGE_SIDE,
    "tiles_w": TILES,
    "tiles_h": TILES,
    "tiles": TILES,
    "max_tiles": MAX_TILES,
    "seq_len": TOKENS,
    "text_tokens": TEXT_TOKENS,
    "max_new_tokens": TOKENS,
    "tokens": TOKENS,
    "batch_size": BATCH,
    "num_pages": BATCH,
    "pages_per_prompt": PAGES_PER_PROMPT,
}
"""The numbers that are allowed, by key of a workload: for files, sweeps and the page *What if*.

``page_w`` and ``page_h`` are the two of ``page_size``, ``tiles_w`` and ``tiles_h`` the two of
``crop_grid``. ``tiles`` is their product, ``tokens`` are all of a page, new ones included.
"""
RESERVED_ID: Final = "static"

ViewSize = Annotated[int, within(VIEW)]
PageSide = Annotated[int, within(PAGE_SIDE)]
Tiles = Annotated[int, within(TILES)]
MaxTiles = Annotated[int, within(MAX_TILES)]
Tokens = Annotated[int, within(TOKENS)]
Batch = Annotated[int, within(BATCH)]
PagesPerPrompt = Annotated[int, within(PAGES_PER_PROMPT)]
Dtype = Literal["bf16", "fp16", "fp8", "int8", "int4", "fp32", "nvfp4", "mxfp4"]
WeightDtype = Literal[Dtype, "nf4", "mlx4", "mlx8"]
DocKind = Literal["text_heavy", "mixed_layout", "image_rich", "synthetic"]
VisionBatching = Literal["per_page", "batched"]
HostMode = Literal["eager", "cuda_graph"]
PrecisionMode = Literal["module", "autocast"]
Traffic = Literal["fused", "eager"]
Engine = Literal["transformers", "vllm"]
ENGINES: Final[dict[Engine, dict[str, Any]]] = {
    "transformers": {},
    "vllm": {"host_mode": "cuda_graph", "traffic": "fused", "logits_positions": "last"},
}
"""What an engine decides: other keys of a workload, and their values."""
LogitsPositions = Literal["all", "last"]


class Workload(Strict):
    """A workload as its file states it."""

    profile_id: Identifier
    description: Annotated[str, Field(max_length=2000)] = ""
    text_only: bool = Field(False, description="whether requests have no image: no vision pass")
    base_size: ViewSize | None = Field(
        None, description="side of the global view, px; without crops that of the only view"
    )
    image_size: ViewSize | None = Field(
        None, description="side of a local view (the only view without crops)"
    )
    crop_mode: bool = Field(False, description="whether the page is also cut into local views")
    max_new_tokens: Tokens = Field(description="tokens generated for each prompt")
    seq_len: Tokens | None = Field(None, description="image and text tokens of a prompt")
    text_tokens: Annotated[int, within(TEXT_TOKENS)] | None = Field(
        None, description="text tokens of a prompt"
    )
    page_size: tuple[PageSide, PageSide] | None = Field(None, description="width, height in px")
    crop_grid: tuple[Tiles, Tiles] | None = Field(
        None, description="local views per row, per column"
    )
    max_tiles: MaxTiles | None = Field(
        None,
        description="most local views that the engine cuts a page into; default the model's, "
        f"{ENGINE_TILES} with engine: vllm",
    )
    pages_per_prompt: PagesPerPrompt = Field(1, description="pages that one prompt has")
    batch_size: Batch = Field(1, description="prompts that are decoded together")
    num_pages: Batch | None = Field(None, description="pages in all; default those of a batch")
    doc_kind: DocKind = "synthetic"
    vision_batching: VisionBatching = Field(
        "per_page", description="whether the pages of a batch are encoded one by one or at once"
    )
    engine: Engine = Field(
        "transformers",
        description="what runs the model; vllm: decode from CUDA graphs, fused kernels, a grouped "
        "product of all experts, logits of the last position",
    )
    serving: Serving | None = Field(
        None, description="how the engine schedules many pages; only with engine: vllm"
    )
    host_mode: HostMode = Field(
        "eager", description="whether decode steps are launched one operator at a time"
    )
    precision_mode: PrecisionMode = Field(
        "module", description="dtypes as the modules say, or under torch.autocast to bfloat16"
    )
    weight_dtype: WeightDtype | None = Field(
        None, description="of the weights of linears; the checkpoint's where not given"
    )
    activation_dtype: Dtype | None = Field(
        None, description="of activations that are not float32; the checkpoint's where not given"
    )
    kv_dtype: Dtype | None = Field(
        None, description="of keys and values; the checkpoint's where not given"
    )
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
        for key, value in ENGINES[self.engine].items():
            if key in self.model_fields_set and getattr(self, key) != value:
                found, allowed = repr_short(getattr(self, key)), f"{value}, or no such key"
                raise ContradictionError(key, found, f"{allowed}, with engine: {self.engine}")
            object.__setattr__(self, key, value)
        if self.engine != "vllm" and self.serving is not None:
            allowed = "no such key: it has no effect without engine: vllm"
            raise ContradictionError("serving", "settings of an engine", allowed)
        if self.text_only:
            self._check_no_views()
        else:
            self._check_grid()
            self._check_views()
        if self.engine == "vllm" and self.crop_mode and self.max_tiles is None:
            object.__setattr__(self, "max_tiles", ENGINE_TILES)
        if self.profile_id == RESERVED_ID:
            allowed = "another id: the artifacts of the trace use this one"
            raise ContradictionError("profile_id", repr(RESERVED_ID), allowed)
        if self.seq_len is None and self.text_tokens is None:
            raise ContradictionError("seq_len", "neither", "one of seq_len and text_tokens")
        self._check_pages()
        if self.precision_mode == "autocast" and self.activation_dtype not in (None, "bf16"):
            raise ContradictionError(
                "activation_dtype", self.activation_dtype, "bf16 with precision_mode: autocast"
            )
        return self

    def _check_pages(self) -> None:
        """Refuse pages that make no whole prompts, and prompts that nothing is known of."""
        each, pages = self.pages_per_prompt, self.num_pages
        if each > 1 and self.text_only:
            raise ContradictionError("pages_per_prompt", str(each), "1 with text_only: true")
        if each > 1 and self.engine == "vllm":
            allowed = "1 with engine: vllm: an engine is modelled with a page for each request"
            raise ContradictionError("pages_per_prompt", str(each), allowed)
        if pages is not None and pages % each:
            allowed = f"a multiple of pages_per_prompt = {each:,}"
            raise ContradictionError("num_pages", f"{pages:,}", allowed)
        if pages is not None and self.batch_size > pages // each:
            prompts = f"num_pages = {pages:,}" if each == 1 else f"{pages // each:,} prompts"
            allowed = f"at most {prompts}, or more pages"
            raise ContradictionError("batch_size", f"{self.batch_size:,}", allowed)

    def _check_no_views(self) -> None:
        """Refuse the keys of views, which have no effect without an image."""
        for key in ("base_size", "image_size", "page_size", "crop_grid", "max_tiles"):
            if getattr(self, key) is not None:
                found, allowed = repr_short(getattr(self, key)), "no such key with text_only"
                raise ContradictionError(key, found, f"{allowed}: it has no effect")
        if self.crop_mode:
            raise ContradictionError("crop_mode", "true", "false with text_only: true")

    def _check_views(self) -> None:
        """Refuse views that are missing, and those that have no effect."""
        for key in ("image_size", "crop_mode", *(("base_size",) if self.crop_mode else ())):
            if key not in self.model_fields_set or getattr(self, key) is None:
                raise ContradictionError(key, "nothing", "a value: the key is required")
        if not self.crop_mode and self.base_size not in (None, self.image_size):
            allowed = f"image_size = {self.image_size}, or no base_size: without crops "
            allowed += "it has no effect"
            raise ContradictionError("base_size", repr_short(self.base_size), allowed)

    def _check_grid(self) -> None:
        """Refuse a grid without crops, crops without a grid, and one of too many views."""
        if self.crop_mode and self.page_size is None and self.crop_grid is None:
            raise ContradictionError(
                "crop_mode", "true without a page", "true together with page_size or crop_grid"
            )
        for key, words in (("crop_grid", "a grid"), ("max_tiles", "a limit")):
            if not self.crop_mode and getattr(self, key) is not None:
                allowed = f"crop_mode: true, or no {words.removeprefix('a ')}"
                raise ContradictionError(key, f"{words} with crop_mode: false", allowed)
        tiles = math.prod(self.crop_grid or ())
        if not TILES.allows(tiles):
            raise ContradictionError("crop_grid", f"{tiles:,} tiles", f"at most {TILES.most:,}")

    @property
    def pages(self) -> int:
        """Pages in all."""
        default = self.batch_size * self.pages_per_prompt
        return self.num_pages if self.num_pages is not None else default

    @property
    def prompts(self) -> int:
        """Prompts in all."""
        return self.pages // self.pages_per_prompt


def _values(annotation: Any) -> tuple[Any, ...]:
    """Return the values of a type that has only a few; of an optional one, without None."""
    found = next((a for a in get_args(annotation) if get_origin(a) is Literal), annotation)
    return get_args(found) if get_origin(found) is Literal else ()


CHOICES: Final[dict[str, tuple[Any, ...]]] = dict.fromkeys(
    ("crop_mode", "text_only"), (False, True)
) | {
    name: values
    for name, field in Workload.model_fields.items()
    if (values := _values(field.annotation))
}
"""The values of each key that has only a few, in the order in which they are offered."""


def load_workload(
    value: str, base: Path | None = None, source: str = "option", key: str | None = None
) -> Workload:
    """Load a workload by id or path.

    `source` and `key` say where the id or path was read, for messages.

    Raises
    ------
    InputError
        If there is no such workload, or it is not valid.
    """
    path = resolve("workloads", value, base, source, key)
    return validate(Workload, read_mapping(path), path)
