"""A model on a device, and inputs for each of its passes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, ClassVar, Final, Literal, Protocol

import torch
from torch import Tensor

from mkdocs_dsocr.inputs import InputError, ModelConfig, constants
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.models import Plan, model_of
from mkdocs_dsocr.trace import PassShape
from mkdocs_dsocr.tracing.memory import ActivationMemory, WatchedCache
from mkdocs_dsocr.tracing.reference import KVCache, Page
from mkdocs_dsocr.tracing.reference.model import DeepseekOCRForCausalLM

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
        raise InputError("option", "device", repr_short(requested), "auto, cuda or meta")
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


class Cache(Protocol):
    """Keys and values that a pass leaves."""

    @property
    def nbytes(self) -> int:
        """Bytes of their storage."""


class Session(ABC):
    """The modules of a model, built without weights, ready to run any pass.

    Attributes
    ----------
    config, device
        Dimensions of the model, and where it is.
    model
        The whole of it; what is not the LM head is its ``model``.
    asked
        Values that the model was given in the last run because ``meta`` has none.
    roots
        Paths of the modules that passes call by themselves.
    parts
        Module paths of the stages that torchinfo's figures are summed over.
    replays
        Whether equal calls may be counted once.
    """

    config: ModelConfig
    device: str
    model: Any
    asked: int = 0
    roots: ClassVar[tuple[str, ...]] = ()
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    replays: ClassVar[bool] = False

    @abstractmethod
    def prepare(
        self, shape: PassShape, memory: ActivationMemory | None = None, *, once: bool = False
    ) -> Callable[[], Cache]:
        """Make inputs for a pass, and return what runs it on them as often as wanted.

        Parameters
        ----------
        shape
            What the pass is fed.
        memory
            Told which tensors are KV cache.
        once
            Run it once at most: the keys and values before it are given up as it replaces
            them, so that its memory is that of a server.
        """

    @abstractmethod
    def page_inputs(self, plan: Plan) -> tuple[list[Tensor], dict[str, Any]]:
        """Return the arguments of a forward of a workload's first page, from pixels on."""

    @abstractmethod
    def step_inputs(self, plan: Plan) -> tuple[list[Tensor], dict[str, Any]]:
        """Return the arguments of the first decode step after it."""

    def own_cache(self, value: Any) -> Any:
        """Return a cache that can be extended beside the given one; anything else as it is."""
        return value.copy() if isinstance(value, KVCache) else value

    def answering(self) -> AbstractContextManager[object]:
        """Answer meanwhile what the model asks for and ``meta`` does not have."""
        return nullcontext()

    def run(self, shape: PassShape) -> Cache:
        """Run one pass and return the cache that it leaves (empty for vision)."""
        return self.prepare(shape)()

    def views(self, count: int, size: int) -> Tensor:
        """Return pixels ``[count, 3, size, size]``."""
        return self.values(count, constants.IMAGE_CHANNELS, size, size)

    def token_ids(self, batch: int, length: int) -> Tensor:
        """Return token ids ``[batch, length]``."""
        words = self.config.language.vocab_size
        return torch.randint(words, (batch, length), device=self.device)

    def values(self, *shape: int) -> Tensor:
        """Return bfloat16 values of some shape."""
        return torch.randn(shape, dtype=torch.bfloat16, device=self.device)


def build_session(config: ModelConfig, device: str) -> Session:
    """Build the modules of the model whose dimensions these are.

    Raises
    ------
    InputError
        If the model names no session that can be imported.
    """
    model = model_of(config)
    try:
        make: Callable[[ModelConfig, str], Session] = resolve_name(model.session)
    except (ImportError, AttributeError, ValueError) as error:
        place = f"model {model.architecture}"
        raise InputError(
            place, "session", repr_short(model.session), f"a class: {error}"
        ) from error
    return make(config, device)


class DeepSeekOCRSession(Session):
    """The reference model, built without weights, ready to run any pass.

    Parameters
    ----------
    config
        Dimensions of the model.
    device
        ``meta`` (shapes only), ``cuda`` or ``cpu`` (bfloat16, randomly initialised).
    """

    roots = ("model.sam_model", "model.vision_model", "model.projector")
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "sam": ("model.sam_model",),
        "clip": ("model.vision_model",),
        "projector": ("model.projector",),
        "prefill": ("model.embed_tokens", "model.layers", "model.norm"),
    }
    replays = True

    def __init__(self, config: ModelConfig, device: str = "meta") -> None:
        self.config, self.device = config, device
        with default_dtype(torch.bfloat16), torch.device(device), torch.no_grad():
            self.model = DeepseekOCRForCausalLM(config).eval()

    def cache(self, batch: int, length: int, cache: KVCache | None = None) -> KVCache:
        """Return a cache (a new one, or `cache`) that holds `length` positions of every layer."""
        cache = KVCache() if cache is None else cache
        language = self.config.language
        shape = (batch, language.num_key_value_heads, length, language.head_dim)
        for index in range(language.num_hidden_layers if length else 0):
            cache.layers[index] = (self.values(*shape), self.values(*shape))
        return cache

    def past(self, shape: PassShape, memory: ActivationMemory | None) -> KVCache:
        """Return the cache before a pass; it tells `memory` what it takes."""
        cache = KVCache() if memory is None else WatchedCache(memory)
        return self.cache(shape.batch, shape.kv_len - shape.q_len, cache)

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

    def page_inputs(self, plan: Plan) -> tuple[list[Tensor], dict[str, Any]]:
        """Return token ids, an empty cache, and the pixels."""
        shapes = {s.pass_id: s for s in plan.shapes}
        page = self.page(shapes["vision.global"], shapes.get("vision.local"))
        return [self.token_ids(1, plan.seq_len)], {"cache": KVCache(), "pages": [page]}

    def step_inputs(self, plan: Plan) -> tuple[list[Tensor], dict[str, Any]]:
        """Return a token id, and a cache that holds the prompt."""
        return [self.token_ids(1, 1)], {"cache": self.cache(1, plan.seq_len), "pages": None}

    def prepare(
        self, shape: PassShape, memory: ActivationMemory | None = None, *, once: bool = False
    ) -> Callable[[], KVCache]:
        """Make inputs for a pass, and return what runs it; see the base class."""
        model = self.model.model
        if shape.part == "vision":
            views = self.views(shape.views, shape.image_size)
            return self._call(lambda _: model.encode(views))
        if shape.part == "projector":
            sam, clip = self._tower_outputs(shape)
            return self._call(lambda _: model.project(sam, clip, (shape.tiles_w, shape.tiles_h)))
        past = self.past(shape, memory)
        hidden = self.config.language.hidden_size
        # The separator makes the last image token; how the views share the others is all the same.
        features = [
            [self.values(shape.image_tokens - 1, hidden)]
            for _ in range(shape.batch if shape.image_tokens else 0)
        ]
        ids = self.token_ids(shape.batch, shape.q_len)
        return self._call(
            lambda cache: self.model(ids, cache, features=features, logits=shape.logits),
            past,
            once,
        )

    def _call(
        self,
        function: Callable[[KVCache], object],
        past: KVCache | None = None,
        once: bool = False,
    ) -> Callable[[], KVCache]:
        """Return what calls `function` on a cache that starts as `past`, or on `past` itself."""

        @torch.inference_mode()
        def call() -> KVCache:
            before = KVCache() if past is None else past
            cache = before if once else before.copy()
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
            self.values(views, width, side, side),
            self.values(views, side**2 + 1, self.config.clip.width).to(clip_dtype),
        )


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make new parameters and tensors of this dtype meanwhile."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
