"""A reference model on a device, and inputs for each of its passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from mkdocs_dsocr.inputs import InputError, ModelConfig, constants
from mkdocs_dsocr.inputs.errors import shown
from mkdocs_dsocr.reference import KVCache, Page
from mkdocs_dsocr.reference.model import DeepseekOCRForCausalLM
from mkdocs_dsocr.trace import PassShape

DeviceName = Literal["auto", "cuda", "meta"]
ACTIVATION_RESERVE: Final = 4 * 10**9
"""Bytes beside the weights that a real forward needs free before ``auto`` takes the GPU."""


@dataclass(frozen=True)
class Device:
    """A resolved device, and in words why it is this one."""

    name: str
    reason: str


def resolve_device(requested: str, weight_bytes: int) -> Device:
    """Return the device that `requested` stands for.

    Raises
    ------
    InputError
        If the name is unknown, or ``cuda`` is asked for where there is none.
    """
    if requested not in ("auto", "cuda", "meta"):
        raise InputError("option", "device", shown(requested), "auto, cuda or meta")
    if requested == "meta":
        return Device("meta", "meta, as asked for")
    if not torch.cuda.is_available():
        if requested == "cuda":
            raise InputError("option", "device", "cuda", "auto or meta: torch sees no CUDA device")
        return Device("meta", "meta: torch sees no CUDA device")
    name = torch.cuda.get_device_name()
    free, _ = torch.cuda.mem_get_info()
    needed = weight_bytes + ACTIVATION_RESERVE
    if requested == "auto" and free < needed:
        return Device(
            "meta", f"meta: {name} has {free / 1e9:.1f} GB free of {needed / 1e9:.1f} GB needed"
        )
    return Device("cuda", f"cuda: {name}")


class DeepSeekOCRSession:
    """The reference model, built without weights, ready to run any pass.

    Parameters
    ----------
    config
        Dimensions of the model.
    device
        ``meta`` (shapes only), ``cuda`` or ``cpu`` (bfloat16, randomly initialised).
    """

    asked = 0
    """Values that the model was given because ``meta`` has none."""

    def __init__(self, config: ModelConfig, device: str = "meta") -> None:
        self.config, self.device = config, device
        with default_dtype(torch.bfloat16), torch.device(device), torch.no_grad():
            self.model = DeepseekOCRForCausalLM(config).eval()

    def views(self, count: int, size: int) -> Tensor:
        """Return pixels ``[count, 3, size, size]``."""
        return self._values(count, constants.IMAGE_CHANNELS, size, size)

    def token_ids(self, batch: int, length: int) -> Tensor:
        """Return token ids ``[batch, length]``."""
        words = self.config.language.vocab_size
        return torch.randint(words, (batch, length), device=self.device)

    def cache(self, batch: int, length: int, cache: KVCache | None = None) -> KVCache:
        """Return a cache (a new one, or `cache`) that holds `length` positions of every layer."""
        cache = KVCache() if cache is None else cache
        language = self.config.language
        shape = (batch, language.num_key_value_heads, length, language.head_dim)
        for index in range(language.num_hidden_layers if length else 0):
            cache.layers[index] = (self._values(*shape), self._values(*shape))
        return cache

    def page(self, global_view: PassShape, local: PassShape | None) -> Page:
        """Return the pixels of a page with these views."""
        if local is None:
            return Page(self.views(1, global_view.image_size))
        tiles = local.tiles_w * local.tiles_h
        return Page(
            self.views(1, global_view.image_size),
            self.views(tiles, local.image_size),
            (local.tiles_w, local.tiles_h),
        )

    def run(self, shape: PassShape) -> KVCache:
        """Run one pass and return the cache that it leaves (empty for vision)."""
        return self.prepare(shape)()

    def prepare(self, shape: PassShape, cache: KVCache | None = None) -> Callable[[], KVCache]:
        """Make inputs for a pass, and return what runs it on them as often as wanted.

        Parameters
        ----------
        shape
            What the pass is fed.
        cache
            An empty cache to use instead of a plain one.
        """
        model = self.model.model
        if shape.part == "vision":
            views = self.views(shape.views, shape.image_size)
            return self._call(lambda _: model.encode(views))
        if shape.part == "projector":
            sam, clip = self._tower_outputs(shape)
            return self._call(lambda _: model.project(sam, clip, (shape.tiles_w, shape.tiles_h)))
        past = self.cache(shape.batch, shape.kv_len - shape.q_len, cache)
        hidden = self.config.language.hidden_size
        # The separator makes the last image token; how the views share the others is all the same.
        features = [
            [self._values(shape.image_tokens - 1, hidden)]
            for _ in range(shape.batch if shape.image_tokens else 0)
        ]
        ids = self.token_ids(shape.batch, shape.q_len)
        return self._call(
            lambda cache: self.model(ids, cache, features=features, logits=shape.logits), past
        )

    def _call(
        self, function: Callable[[KVCache], object], past: KVCache | None = None
    ) -> Callable[[], KVCache]:
        """Return what calls `function` on a cache of its own that starts as `past`."""

        @torch.inference_mode()
        def call() -> KVCache:
            cache = past.copy() if past is not None else KVCache()
            function(cache)
            return cache

        return call

    def _tower_outputs(self, shape: PassShape) -> tuple[Tensor, Tensor]:
        views = shape.views
        # Under autocast CLIP's residual stream is float32 from its first norm on.
        clip_dtype = torch.float32 if shape.autocast else torch.bfloat16
        side = -(-(shape.image_size // constants.SAM_PATCH) // constants.DOWNSAMPLE)
        width = self.config.sam.downsample_channels[-1]
        return (
            self._values(views, width, side, side),
            self._values(views, side**2 + 1, self.config.clip.width).to(clip_dtype),
        )

    def _values(self, *shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.bfloat16, device=self.device)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make new parameters and tensors of this dtype meanwhile."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
