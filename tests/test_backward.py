"""Backwards: FLOPs and kept activations of every class beside a traced backward on meta."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache

from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.layers import backward, metrics, tree
from mkdocs_dsocr.layers.layer import Layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.models import pass_layer
from mkdocs_dsocr.patterns import expand
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.trace import PassShape
from mkdocs_dsocr.tracing import StaticAnalyzer
from mkdocs_dsocr.tracing.kv_cache import KVCache
from mkdocs_dsocr.tracing.operators import FURTHER_PRODUCTS

OF_PIXELS = (
    "model.sam_model",
    "model.sam_model.patch_embed",
    "model.sam_model.patch_embed.proj",
    "model.vision_tower",
    "model.vision_tower.sam_encoder",
    "model.vision_tower.sam_encoder.patch_embed",
    "model.vision_tower.sam_encoder.patch_embed.projection",
    "model.vision_tower.patch_embed",
    "model.vision_tower.patch_embed.projection",
)


class _Flash(torch.autograd.Function):
    """What a fused attention keeps: its inputs, its output and a log-sum-exp a row."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        batch, heads, rows, width = q.shape
        out = q.new_empty(batch, rows, heads, width).transpose(1, 2)
        statistics = q.new_empty(batch, heads, rows, dtype=torch.float32)
        ctx.save_for_backward(q, k, v, bias, out, statistics)
        return out


def _attention(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, **options: Any
) -> Tensor:
    result: Tensor = _Flash.apply(q, k, v, attn_mask)  # type: ignore[no-untyped-call]
    return result


class _Calls:
    """The first call of each module in one run of a pass."""

    def __init__(self, analyzer: StaticAnalyzer, shape: PassShape) -> None:
        self.session = analyzer.session
        self.model = analyzer.session.model
        self.modules: dict[str, nn.Module] = dict(self.model.named_modules())
        self.arguments: dict[nn.Module, tuple[tuple[Any, ...], dict[str, Any]]] = {}

        def remember(module: nn.Module, args: Any, kwargs: Any) -> None:
            self.arguments.setdefault(module, (args, kwargs))

        modules = self.modules.values()
        hooks = [m.register_forward_pre_hook(remember, with_kwargs=True) for m in modules]
        analyzer.session.run(shape)
        for hook in hooks:
            hook.remove()

    def call(self, path: str) -> list[Tensor]:
        """Call a module as it was called, with inputs that need a gradient."""
        module = self.modules[path]
        args, kwargs = self.arguments[module]
        needed = path not in OF_PIXELS
        with self.session.answering():
            out = module(
                *(_fresh(v, needed) for v in args),
                **{k: _fresh(v, needed) for k, v in kwargs.items()},
            )
        return list(_tensors(out))

    def flops(self, path: str) -> int:
        """Return what PyTorch counts of a forward and its backward."""
        with FlopCounterMode(display=False, custom_mapping=FURTHER_PRODUCTS) as counter:
            with_gradient = [t for t in self.call(path) if t.requires_grad]
            if with_gradient:
                torch.autograd.backward(with_gradient, [torch.empty_like(t) for t in with_gradient])
        total: int = counter.get_total_flops()
        return total

    def kept(self, path: str, monkeypatch: pytest.MonkeyPatch) -> int:
        """Return the bytes that autograd keeps, without parameters and buffers."""
        others = {
            t.untyped_storage()._cdata for t in (*self.model.parameters(), *self.model.buffers())
        }
        saved: dict[int, Tensor] = {}

        def pack(tensor: Tensor) -> Tensor:
            saved[tensor.untyped_storage()._cdata] = tensor
            return tensor

        with monkeypatch.context() as patch:
            patch.setattr(F, "scaled_dot_product_attention", _attention)
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
                self.call(path)
        return sum(t.untyped_storage().nbytes() for k, t in saved.items() if k not in others)


def _fresh(value: Any, needs_gradient: bool) -> Any:
    """Return an argument as training has it; angles and masks are given, and need no gradient."""
    if isinstance(value, tuple):
        return tuple(_fresh(v, False) for v in value)
    if isinstance(value, KVCache | DynamicCache):
        # transformers' model makes one of its own.
        return KVCache() if isinstance(value, KVCache) else None
    if not isinstance(value, Tensor) or not (value.is_floating_point() or value.is_inference()):
        return value
    if value.is_floating_point():
        empty = torch.empty(value.shape, dtype=value.dtype, device="meta")
        return empty.requires_grad_(needs_gradient)
    # A mask that all samples share is stored once.
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


def _tensors(out: Any) -> Iterator[Tensor]:
    if isinstance(out, Tensor):
        yield out
    elif isinstance(out, tuple | list | dict):
        for value in out.values() if isinstance(out, dict) else out:
            yield from _tensors(value)


@contextmanager
def _gradients(model: nn.Module) -> Iterator[None]:
    before = {p: p.requires_grad for p in model.parameters()}
    for parameter in before:
        parameter.requires_grad_(True)
    yield
    for parameter, needed in before.items():
        parameter.requires_grad_(needed)


def _one_call_each(root: Layer, calls: _Calls) -> Iterator[tuple[str, Layer]]:
    """Yield a path and a layer for each distinct class and shape that is called alone."""
    seen = set()
    for visit in tree.walk(root):
        path = next(iter(expand(visit.torch_path)))
        key = (type(visit.layer), *visit.layer.values().values())
        called = path and calls.modules[path] in calls.arguments
        if called and key not in seen and ".experts." not in path:
            seen.add(key)
            yield path, visit.layer


SHAPES = [
    pytest.param(
        PassShape("vision.global", "vision", image_size=1024, tiles_w=1, tiles_h=1), id="one view"
    ),
    pytest.param(
        PassShape("vision.global", "vision", image_size=640, tiles_w=2, tiles_h=1),
        id="two views",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        PassShape(
            "prefill", "language", batch=1, q_len=703, kv_len=703, image_tokens=257, logits=703
        ),
        id="a page",
    ),
    pytest.param(
        PassShape("prefill", "language", batch=3, q_len=40, kv_len=40, logits=1),
        id="three texts",
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_class_counts_and_keeps_what_autograd_does(
    config: ModelConfig,
    analyzer: StaticAnalyzer,
    monkeypatch: pytest.MonkeyPatch,
    shape: PassShape,
) -> None:
    checked = _checked(config, analyzer, monkeypatch, shape)
    assert len(checked) == (18 if shape.part == "vision" else 12)


@pytest.mark.parametrize("shape", SHAPES)
def test_so_does_every_class_of_unlimited_ocr(
    unlimited: StaticAnalyzer, monkeypatch: pytest.MonkeyPatch, shape: PassShape
) -> None:
    checked = _checked(unlimited.session.config, unlimited, monkeypatch, shape)
    # A position table is called for views of the trained size alone.
    of_vision = 21 if shape.image_size == 1024 else 20
    assert len(checked) == (of_vision if shape.part == "vision" else 13)


@pytest.mark.parametrize("shape", SHAPES)
def test_so_does_every_class_of_deepseek_ocr_2(
    ocr2: StaticAnalyzer, monkeypatch: pytest.MonkeyPatch, shape: PassShape
) -> None:
    checked = _checked(ocr2.session.config, ocr2, monkeypatch, shape)
    assert len(checked) == (20 if shape.part == "vision" else 13)


@pytest.mark.parametrize("shape", [SHAPES[0], *SHAPES[2:]])
def test_so_does_every_class_of_got_ocr_2(
    got: StaticAnalyzer, monkeypatch: pytest.MonkeyPatch, shape: PassShape
) -> None:
    checked = _checked(got.session.config, got, monkeypatch, shape)
    assert len(checked) == (11 if shape.part == "vision" else 10)


def _checked(
    config: ModelConfig,
    analyzer: StaticAnalyzer,
    monkeypatch: pytest.MonkeyPatch,
    shape: PassShape,
) -> set[str]:
    """Compare each class with autograd, and return those that were compared."""
    calls = _Calls(analyzer, shape)
    checked = set()
    with _gradients(analyzer.session.model):
        for path, layer in _one_call_each(pass_layer(config, shape), calls):
            mine = (
                tree.summed(layer, metrics.matmul_flops),
                tree.summed(layer, backward.matmul_flops),
            )
            assert sum(mine) == calls.flops(path), path
            assert backward.kept(layer).bytes == calls.kept(path, monkeypatch), path
            checked.add(layer.class_name())
    return checked


def test_attention_may_compute_its_scores_again(analyse: Callable[..., Analysis]) -> None:
    """Half of what the forward's two products come to; nobody else computes anything again."""
    root = analyse("dsocr-standard-v1", max_new_tokens=1).root.visit.layer
    for visit in tree.walk(root):
        again = backward.recompute_flops(visit.layer)
        products = [p for o in visit.layer.operations() if o.recomputes for p in o.products]
        assert again * 2 == sum(p.flops for p in products)
    assert isinstance(root, BaseLayer)
    assert root.recompute_flops() > 0


def test_the_methods_of_the_contract(analyse: Callable[..., Analysis]) -> None:
    """Each product has two in the backward, but those of pixels (one) and angles (none)."""
    layer = analyse("dsocr-standard-v1", max_new_tokens=1).root.visit.layer
    assert isinstance(layer, BaseLayer)
    forward = tree.summed(layer, metrics.tensor_core_flops)
    patches = 64**2 + 2 * 40**2
    pixels = 2 * patches * 3 * 16 * 16 * 768
    assert layer.backward_tensor_core_flops() * 1e12 == 2 * forward - pixels
    assert layer.backward_cuda_core_flops() > layer.forward_cuda_core_flops()
    assert layer.backward_cal_io() > layer.forward_cal_io()
    assert layer.backward_memory_weight() == layer.forward_memory_weight()
    assert layer.backward_memory_activation() > layer.forward_memory_activation()
    assert layer.backward_memory_kvcache() == 0
    flops = layer.backward_tensor_core_flops() + layer.backward_cuda_core_flops()
    assert layer.backward_arithmetic_intensity() == pytest.approx(flops / layer.backward_cal_io())
