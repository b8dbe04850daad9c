"""Unlimited-OCR's modules as transformers ships them, ready to run any pass."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import metadata
from types import SimpleNamespace
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from mkdocs_dsocr.inputs import InputError, ModelConfig, constants
from mkdocs_dsocr.inputs.model_config import ClipConfig
from mkdocs_dsocr.models import Plan
from mkdocs_dsocr.models.tokens import features_a_side
from mkdocs_dsocr.trace import PassShape
from mkdocs_dsocr.tracing.forwards import replaced_forwards
from mkdocs_dsocr.tracing.memory import ActivationMemory
from mkdocs_dsocr.tracing.meta_values import MetaValues
from mkdocs_dsocr.tracing.session import Session, building
from mkdocs_dsocr.tracing.tensors import storage

NEEDED: Final = {"transformers": "5.23.0", "torch": "2.8.0"}
"""The first releases that have the model, and the grouped products that it calls."""
TOWER: Final = "model.vision_tower"


class UnlimitedOcrSession(Session):
    """transformers' own implementation, built without weights.

    Parameters
    ----------
    config, device
        Dimensions of the model; ``meta``, ``cuda`` or ``cpu``.

    Raises
    ------
    InputError
        If the installed transformers or torch is older than the model.
    """

    roots = (TOWER, "model.multi_modal_projector")
    stages: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "sam": (f"{TOWER}.sam_encoder",),
        "clip": (f"{TOWER}.vision_encoder",),
        "projector": ("model.multi_modal_projector",),
        "prefill": ("model.language_model",),
    }

    model_class: ClassVar[str] = "UnlimitedOcrForConditionalGeneration"
    """Name of the model's class in transformers."""
    attention: ClassVar[str | None] = "sdpa"
    """The attention that transformers is asked for; None for its own choice."""
    cached: ClassVar[tuple[str, ...]] = ("prefill_keys", "prefill_values", "keys", "values")
    """Attributes of a cache's layer that hold keys and values."""

    def __init__(self, config: ModelConfig, device: str = "meta") -> None:
        self.config, self.device = config, device
        transformers = _transformers(self.model_class)
        self._config = self._as_transformers_has_it(transformers, config)
        # torchinfo takes what is iterable for a list of tensors.
        self._make_cache = type("Cache", (transformers.DynamicCache,), {"__iter__": None})
        make = getattr(transformers, self.model_class)._from_config
        with building(device):
            self.model = make(self._config, attn_implementation=self.attention).eval()

    def _as_transformers_has_it(self, transformers: Any, config: ModelConfig) -> Any:
        """Return the configuration with these dimensions."""
        clip = config.tower(ClipConfig)
        encoder = {
            "hidden_size": clip.width,
            "intermediate_size": constants.CLIP_MLP_RATIO * clip.width,
            "num_hidden_layers": clip.layers,
            "num_attention_heads": clip.heads,
            "image_size": clip.image_size,
            "patch_size": clip.patch_size,
        }
        return transformers.UnlimitedOcrConfig(**sections(config, encoder))

    def own_cache(self, value: Any) -> Any:
        """Return a cache of its own; see the base class."""
        if not isinstance(value, self._make_cache):
            return value
        given: Any = value
        mine: Any = copy.copy(given)
        # An update puts new tensors in the place of the old ones.
        mine.layers = [copy.copy(layer) for layer in given.layers]
        return mine

    def token_ids(self, batch: int, length: int) -> Tensor:
        """Return the ids of words ``[batch, length]``: none is an image's."""
        image = self._config.image_token_id
        return torch.randint(image, (batch, length), device=self.device)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Answer on ``meta`` the check that a page has as many features as places."""
        if self.device != "meta":
            yield
            return
        values = MetaValues(routed=0)
        with values.answering():
            yield
        self.asked = values.asked

    def prepare(
        self, shape: PassShape, memory: ActivationMemory | None = None, *, once: bool = False
    ) -> Callable[[], int]:
        """Make inputs for a pass, and return what runs it; see the base class."""
        if shape.part == "language":
            run = self._language(shape, memory, once)
        else:
            run = self._vision(shape) if shape.part == "vision" else self._projector(shape)

        @torch.inference_mode()
        def call() -> int:
            with self.answering():
                return run()

        return call

    def _vision(self, shape: PassShape) -> Callable[[], int]:
        views = self.views(shape.views, shape.image_size)

        def run() -> int:
            self.model.model.vision_tower(views)
            return 0

        return run

    def _projector(self, shape: PassShape) -> Callable[[], int]:
        """Return what projects and lays out features of pages: their views are not looked at."""
        grid = (shape.tiles_w, shape.tiles_h)
        features = [self._features(shape.pages, shape.image_size)]
        if shape.tile_size:
            features.append(self._features(shape.pages * math.prod(grid), shape.tile_size))
        pixels = self._pixels(shape.pages, 1, grid, 1 if shape.tile_size else 0)

        def run() -> int:
            with self._stand_in(features):
                self.model.model.get_image_features(**pixels)
            return 0

        return run

    def _language(
        self, shape: PassShape, memory: ActivationMemory | None, once: bool
    ) -> Callable[[], int]:
        ids = self.token_ids(shape.batch, shape.q_len)
        tensors = self._past(shape)
        hidden = self.config.language.hidden_size
        images = {}
        if shape.image_tokens:
            ids[:, : shape.image_tokens] = self._config.image_token_id
            pages = self.values(shape.batch * shape.image_tokens, hidden)
            images = {"image": SimpleNamespace(pooler_output=self._given(pages))}

        def run() -> int:
            cache = self._cache(tensors, shape, memory)
            if once:
                tensors.clear()
            self.model(
                input_ids=ids,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=shape.logits,
                mm_encoder_outputs=images,
            )
            return self._storage_bytes(cache)

        return run

    def _given(self, pages: Tensor) -> Any:
        """Return the features of all pages as the model takes them: they are joined first."""
        return [pages]

    def _features(self, views: int, size: int) -> Tensor:
        """Return what the vision tower makes of views: of each, all features."""
        width = self.config.tower(ClipConfig).width + self.config.sam.downsample_channels[-1]
        return self.values(views, features_a_side(size) ** 2, width)

    def _stand_in(self, features: list[Tensor]) -> AbstractContextManager[None]:
        """Let the vision tower, which is a pass of its own, return these, one per call."""
        returned = iter(features)

        def forward(*args: Any, **kwargs: Any) -> Any:
            return SimpleNamespace(
                last_hidden_state=next(returned), hidden_states=None, attentions=None
            )

        return replaced_forwards({self.model.model.vision_tower: forward})

    def _past(self, shape: PassShape) -> list[tuple[Tensor, ...]]:
        """Return keys and values before a pass, for each layer: those of :attr:`cached`."""
        # A prefill starts with nothing; a step's own token is one of the window.
        prompt, window = shape.kv_len - shape.window, shape.window
        return self._keys_and_values(shape.batch, (prompt, window - 1) if window else (0, 0))

    def _keys_and_values(self, batch: int, lengths: tuple[int, ...]) -> list[tuple[Tensor, ...]]:
        """Return keys and values of some lengths, for each layer."""
        language = self.config.language
        shapes = [(batch, language.num_attention_heads, n, language.head_dim) for n in lengths]
        return [
            tuple(self.values(*shape) for shape in shapes for _ in range(2))
            for _ in range(language.num_hidden_layers)
        ]

    def _cache(
        self, tensors: list[tuple[Tensor, ...]], shape: PassShape, memory: ActivationMemory | None
    ) -> Any:
        """Return transformers' cache with these keys and values in it."""
        with torch._C._DisableTorchDispatch():  # it is no work of the model
            cache = self._make_cache(config=self._config.text_config)
        for layer, own in zip(cache.layers, tensors, strict=True):
            layer.dtype, layer.device, layer.is_initialized = own[0].dtype, own[0].device, True
            for name, tensor in zip(self.cached, own, strict=True):
                setattr(layer, name, tensor)
            if shape.window:
                layer.prefill_length = layer.prefill_cumulative_length = own[0].shape[2]
                layer.cumulative_length = own[-1].shape[2]
            if memory is not None:
                layer.update = self._watched(layer, memory)
        return cache

    def _watched(self, layer: Any, memory: ActivationMemory) -> Callable[..., Any]:
        """Return the update of a cache's layer that says what it takes."""
        update = layer.update

        def watched(k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Any:
            memory.keep([getattr(layer, name) for name in self.cached])
            # Keys and values are appended first; windowed, both parts are joined then.
            with memory.caching(2):
                return update(k, v, *args, **kwargs)

        return watched

    def _storage_bytes(self, cache: Any) -> int:
        """Return the bytes behind a cache; a window that slid is a part of its storage."""
        tensors = [getattr(layer, name) for layer in cache.layers for name in self.cached]
        return sum({storage(t): t.untyped_storage().nbytes() for t in tensors}.values())

    def page_inputs(self, plan: Plan) -> tuple[list[Tensor], dict[str, Any]]:
        """Return token ids and the pixels of a prompt's pages, if there are any."""
        ids = self.token_ids(1, plan.seq_len)
        ids[:, : plan.image_tokens] = self._config.image_token_id
        if plan.workload.text_only:
            return [ids], {}
        tile_size = plan.workload.image_size or 0 if plan.grid != (1, 1) else 0
        pages = plan.workload.pages_per_prompt
        return [ids], self._pixels(pages, plan.global_view, plan.grid, tile_size)

    def _pixels(
        self, pages: int, size: int, grid: tuple[int, int], tile_size: int
    ) -> dict[str, Any]:
        """Return the pixels of pages as transformers takes them; no tiles where their size is 0."""
        pixels: dict[str, Any] = {"pixel_values": self.views(pages, size)}
        if tile_size:
            tiles = math.prod(grid)
            pixels |= {
                "pixel_values_local": self.views(pages * tiles, tile_size),
                "num_local_patches": [tiles] * pages,
                "patches_grid": [list(grid)] * pages,
            }
        return pixels

    def step_inputs(self, plan: Plan) -> tuple[list[Tensor], dict[str, Any]]:
        """Return a token id, and a cache that holds the prompt."""
        shape = dataclasses.replace(plan.step(1), batch=1)
        cache = self._cache(self._past(shape), shape, None)
        return [self.token_ids(1, 1)], {"past_key_values": cache, "use_cache": True}


def _transformers(model_class: str) -> Any:
    """Import transformers, whose types differ from release to release."""
    module = importlib.import_module("transformers")
    has = {
        "transformers": hasattr(module, model_class),
        "torch": hasattr(torch.ops.aten, "_grouped_mm"),
    }
    for package, is_new in has.items():
        if not is_new:
            found = f"{package} {metadata.version(package)}"
            raise InputError("environment", package, found, f"{NEEDED[package]} or newer")
    return module


def sections(config: ModelConfig, encoder: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of a configuration of transformers.

    Parameters
    ----------
    config, encoder
        The model's dimensions, and the section of the tower behind SAM.
    """
    language, sam = config.language, config.sam
    return {
        "image_token_id": language.vocab_size - 1,  # whichever: the weights are random
        "text_config": {
            **language.model_dump(exclude={"first_k_dense_replace"}, exclude_none=True),
            "mlp_layer_types": [
                "dense" if layer < language.first_k_dense_replace else "sparse"
                for layer in range(language.num_hidden_layers)
            ],
        },
        "vision_config": {
            "sam_config": {
                "hidden_size": sam.width,
                "num_hidden_layers": sam.layers,
                "num_attention_heads": sam.heads,
                "global_attn_indexes": list(sam.global_attn_indexes),
                "downsample_channels": list(sam.downsample_channels),
                "output_channels": constants.SAM_NECK,
                "window_size": constants.SAM_WINDOW,
                "mlp_dim": constants.SAM_MLP_RATIO * sam.width,
                "image_size": config.trained_image_size,
            },
            "encoder_config": dict(encoder),
        },
    }
