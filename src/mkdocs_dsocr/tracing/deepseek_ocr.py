"""DeepSeek-OCR as the reference modules, ready to run any pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mkdocs_dsocr.inputs import ModelConfig, constants
from mkdocs_dsocr.inputs.model_config import ClipConfig
from mkdocs_dsocr.models import Plan
from mkdocs_dsocr.trace import PassShape
from mkdocs_dsocr.tracing.kv_cache import KVCache, WatchedCache
from mkdocs_dsocr.tracing.memory import ActivationMemory
from mkdocs_dsocr.tracing.reference.decoder import DeepseekV2MoE
from mkdocs_dsocr.tracing.reference.model import DeepseekOCRForCausalLM, Page
from mkdocs_dsocr.tracing.session import Session, building

Run = Callable[[KVCache], object]
"""Runs a pass on a cache."""


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
    stages: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "sam": ("model.sam_model",),
        "clip": ("model.vision_model",),
        "projector": ("model.projector",),
        "prefill": ("model.embed_tokens", "model.layers", "model.norm"),
    }
    replays = True

    def __init__(self, config: ModelConfig, device: str = "meta") -> None:
        self.config, self.device = config, device
        with building(device):
            self.model = DeepseekOCRForCausalLM(config).eval()

    def prepare(
        self, shape: PassShape, memory: ActivationMemory | None = None, *, once: bool = False
    ) -> Callable[[], int]:
        """Make inputs for a pass, and return what runs it; see the base class."""
        past = KVCache() if memory is None else WatchedCache(memory)
        self._fill(past, shape.batch, shape.kv_len - shape.q_len)
        make = {"vision": self._vision, "projector": self._projector, "language": self._language}
        run = make[shape.part](shape, memory)

        @torch.inference_mode()
        def call() -> int:
            cache = past if once else past.copy()
            with self._running(shape):
                run(cache)
            return cache.nbytes

        return call

    def _running(self, shape: PassShape) -> AbstractContextManager[object]:
        """Return the context in which a pass runs."""
        return nullcontext()

    def _vision(self, shape: PassShape, memory: ActivationMemory | None) -> Run:
        views = self.views(shape.views, shape.image_size)
        return lambda _: self.model.model.encode(views)

    def _projector(self, shape: PassShape, memory: ActivationMemory | None) -> Run:
        sam, clip = self._tower_outputs(shape)
        return lambda _: self.model.model.project(sam, clip, (shape.tiles_w, shape.tiles_h))

    def _language(self, shape: PassShape, memory: ActivationMemory | None) -> Run:
        ids = self.token_ids(shape.batch, shape.q_len)
        mask = self._mask(shape.batch, shape.kv_len)
        samples = shape.batch if shape.image_tokens else 0
        # On meta one sample stands for all: their image tokens are placed in the same way.
        counter = memory if self.device == "meta" and samples else None
        # The separator is the last image token; how the views share the others does not matter.
        size = (shape.image_tokens - 1, self.config.language.hidden_size)
        values = [[self.values(*size)] for _ in range(1 if counter else samples)]

        def run(cache: KVCache) -> None:
            features = counter.once(values[0], samples) if counter else values
            self.model(ids, cache, features=features, logits=shape.logits, mask=mask)

        return run

    def _tower_outputs(self, shape: PassShape) -> tuple[Tensor, Tensor]:
        """Return the outputs of SAM and CLIP for the views of a pass."""
        # Under autocast CLIP's residual stream is float32 from its first norm on.
        clip_dtype = torch.float32 if shape.autocast else torch.bfloat16
        side = -(-(shape.image_size // constants.SAM_PATCH) // constants.DOWNSAMPLE)
        width = self.config.sam.downsample_channels[-1]
        clip_width = self.config.tower(ClipConfig).width
        return (
            self.values(shape.views, width, side, side),
            self.values(shape.views, side**2 + 1, clip_width).to(clip_dtype),
        )

    def _fill(self, cache: KVCache, batch: int, length: int) -> KVCache:
        """Give a cache `length` positions in every layer, and return it."""
        language = self.config.language
        shape = (batch, language.num_key_value_heads, length, language.head_dim)
        for index in range(language.num_hidden_layers if length else 0):
            cache.layers[index] = (self.values(*shape), self.values(*shape))
        return cache

    def _mask(self, batch: int, length: int) -> Tensor:
        """Return the attention mask of prompts without padding, ``[batch, length]``."""
        return torch.ones(batch, length, dtype=torch.int64, device=self.device)

    def page_inputs(self, plan: Plan) -> tuple[list[Tensor], dict[str, Any]]:
        """Return token ids, an empty cache, and the pixels, if there are any."""
        ids = [self.token_ids(1, plan.seq_len)]
        given = {"cache": KVCache(), "mask": self._mask(1, plan.seq_len)}
        if plan.workload.text_only:
            return ids, {**given, "pages": []}
        shapes = {s.pass_id: s for s in plan.shapes}
        page = Page(self.views(1, shapes["vision.global"].image_size))
        if local := shapes.get("vision.local"):
            tiles = self.views(local.tiles_w * local.tiles_h, local.image_size)
            page = Page(page.global_view, tiles, (local.tiles_w, local.tiles_h))
        return ids, {**given, "pages": [page]}

    def step_inputs(self, plan: Plan) -> tuple[list[Tensor], dict[str, Any]]:
        """Return a token id, and a cache that has the prompt."""
        cache = self._fill(KVCache(), 1, plan.seq_len)
        mask = self._mask(1, plan.seq_len + 1)
        return [self.token_ids(1, 1)], {"cache": cache, "pages": None, "mask": mask}

    @contextmanager
    def fixed_routing(self, run: Callable[[], object]) -> Iterator[None]:
        """Fix the rows of each expert to those of one call of `run`, and ask for no padding."""
        mixtures = [m for m in self.model.modules() if isinstance(m, DeepseekV2MoE)]
        with ExitStack() as hooks:
            for mixture in mixtures:
                hooks.enter_context(mixture.gate.register_forward_hook(_fix_load(mixture)))
            run()
        self.model.model.asks_for_padding = False
        try:
            yield
        finally:
            del self.model.model.asks_for_padding
            for mixture in mixtures:
                mixture.fixed_load = None


def _fix_load(moe: DeepseekV2MoE) -> Callable[..., None]:
    """Return a hook of the gate that fixes the rows of each expert to those of a call."""

    def hook(gate: nn.Module, args: Any, out: tuple[Tensor, Tensor]) -> None:
        moe.fixed_load = torch.bincount(out[0].flatten(), minlength=len(moe.experts)).tolist()

    return hook
