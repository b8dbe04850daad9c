"""DeepSeek-OCR as a checkpoint's own modules: on ``meta``, without weights, ready to run any pass.

Nothing here is reached unless the user said ``trust_remote_code: true``.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib import metadata
from io import StringIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from mkdocs_dsocr.inputs import InputError, ModelConfig
from mkdocs_dsocr.trace import PassShape
from mkdocs_dsocr.tracing import torchvision
from mkdocs_dsocr.tracing.deepseek_ocr import DeepSeekOCRSession, Run
from mkdocs_dsocr.tracing.forwards import calls_for_forwards, stand_ins
from mkdocs_dsocr.tracing.kv_cache import KVCache
from mkdocs_dsocr.tracing.memory import ActivationMemory
from mkdocs_dsocr.tracing.meta_values import BLANK, MetaValues
from mkdocs_dsocr.tracing.session import building

VERSION: Final = "4.46.3"
"""The transformers release that the public checkpoint's code is written for."""
OPTION: Final = "trust_remote_code"


class Views(NamedTuple):
    """What a page is cut into."""

    whole: PassShape
    local: PassShape | None


class VendorSession(DeepSeekOCRSession):
    """The checkpoint's own model.

    Parameters
    ----------
    config
        Dimensions of the model; its folder holds the code.
    views
        The views of a page, by the shape of the prefill that they lead to.

    Raises
    ------
    InputError
        If the folder names no code, transformers is another release, or the
        code does not build.
    """

    replays = False

    def __init__(self, config: ModelConfig, views: Mapping[PassShape, Views]) -> None:
        self.config, self.device = config, "meta"
        self._views = views
        with _told(config.path.parent):
            # It looks for torchvision when it is imported, and must find the real one alone.
            transformers = _transformers()
            with torchvision.importable():
                self.model = _build(transformers, config.path.parent)

    @contextmanager
    def _running(self, shape: PassShape) -> Iterator[None]:
        routed = shape.batch * shape.q_len * self.config.language.num_experts_per_tok
        values, folder = MetaValues(routed), self.config.path.parent
        with _told(folder), calls_for_forwards(self.model), values.answering():
            yield
        self.asked = values.asked

    def _vision(self, shape: PassShape, memory: ActivationMemory | None) -> Run:
        model, views = self.model.model, self.views(shape.views, shape.image_size)
        return lambda _: model.vision_model(views, model.sam_model(views))

    def _projector(self, shape: PassShape, memory: ActivationMemory | None) -> Run:
        sam, clip = self._tower_outputs(shape)
        joined = self.values(sam.shape[0], clip.shape[1] - 1, sam.shape[1] + clip.shape[2])
        return lambda _: self.model.model.projector(joined)

    def _language(self, shape: PassShape, memory: ActivationMemory | None) -> Run:
        ids = self.token_ids(shape.batch, shape.q_len)
        positions = torch.arange(shape.kv_len - shape.q_len, shape.kv_len, device="meta")
        page = self._page(shape)
        mask = torch.ones(shape.batch, shape.q_len, dtype=torch.bool, device="meta")
        grids = torch.tensor([page.grid] * shape.batch)

        def run(cache: KVCache) -> None:
            with stand_ins(self._towers()):
                self.model(
                    input_ids=ids,
                    position_ids=positions.unsqueeze(0).expand(shape.batch, -1),
                    past_key_values=_adapted(cache),
                    use_cache=True,
                    images=[page.images] * shape.batch,
                    images_seq_mask=mask,
                    images_spatial_crop=grids,
                    return_dict=True,
                )

        return run

    def _page(self, shape: PassShape) -> _Page:
        """Return the pixels that lead to a prefill; blank ones for a decode step."""
        views = self._views.get(shape)
        if views is None:
            return _Page((_blank(1), _blank(1)), (1, 1))
        whole = self.views(1, views.whole.image_size)
        local = views.local
        if local is None:
            return _Page((_blank(views.whole.image_size), whole), (1, 1))
        tiles = self.views(local.tiles_w * local.tiles_h, local.image_size)
        return _Page((tiles, whole), (local.tiles_w, local.tiles_h))

    def _towers(self) -> dict[nn.Module, Callable[..., Tensor]]:
        """Return what stands in for the towers and the projector, which are passes of their own."""
        model, config = self.model.model, self.config

        def outputs(views: Tensor) -> tuple[Tensor, Tensor]:
            shape = PassShape(
                "", "vision", views.shape[-1], pages=views.shape[0], tiles_w=1, tiles_h=1
            )
            return self._tower_outputs(shape)

        return {
            model.sam_model: lambda views: outputs(views)[0],
            model.vision_model: lambda views, _: outputs(views)[1],
            model.projector: lambda x: self.values(*x.shape[:-1], config.language.hidden_size),
        }


class _Page(NamedTuple):
    """Local and global views as the checkpoint's code takes them, and the grid of the former."""

    images: tuple[Tensor, Tensor]
    grid: tuple[int, int]


def _blank(size: int) -> Tensor:
    pixels = torch.zeros(1, 3, size, size, dtype=torch.bfloat16, device="meta")
    setattr(pixels, BLANK, True)
    return pixels


def _build(transformers: Any, folder: Path) -> Any:
    transformers.logging.set_verbosity_error()
    config = transformers.AutoConfig.from_pretrained(
        folder, trust_remote_code=True, local_files_only=True
    )
    if "AutoModel" not in getattr(config, "auto_map", {}):
        raise InputError(folder / "config.json", "auto_map", "no AutoModel", "the class of a model")
    # The file may name a hub's repository: what was asked for is this folder.
    config._name_or_path = str(folder)
    with building("meta"):
        model = transformers.AutoModel.from_config(
            config,
            trust_remote_code=True,
            attn_implementation="eager",
            torch_dtype=torch.bfloat16,
        )
    return model.eval()


def _transformers() -> Any:
    """Import transformers, whose types differ from release to release."""
    found = metadata.version("transformers")
    if found != VERSION:
        allowed = f"transformers {VERSION}: pip install 'mkdocs-dsocr[vendor]'"
        raise InputError("option", OPTION, f"transformers {found}", allowed)
    return importlib.import_module("transformers")


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Turn what goes wrong in code that is not ours into one message.

    What it prints and warns of concerns its author, not the reader of a build.
    """
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        found = f"{type(error).__name__}: {lines[0]}"
        allowed = f"code that builds and runs on meta under transformers {VERSION}"
        raise InputError(folder, OPTION, found, allowed) from error


def _adapted(cache: KVCache) -> Any:
    """Return a cache for transformers that keeps everything in `cache`."""

    class Adapted(_transformers().Cache):  # type: ignore[misc]
        """Hands keys and values on."""

        def update(
            self, k: Tensor, v: Tensor, layer_idx: int, cache_kwargs: Any = None
        ) -> tuple[Tensor, Tensor]:
            return cache.append(layer_idx, k, v)

        def get_seq_length(self, layer_idx: int = 0) -> int:
            return cache.layers[layer_idx][0].shape[2] if layer_idx in cache.layers else 0

        def get_max_cache_shape(self) -> int | None:
            return None

    return Adapted()
