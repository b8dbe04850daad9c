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

from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.layers import backward, metrics, tree
from mkdocs_dsocr.layers.base import BaseLayer
from mkdocs_dsocr.models import pass_layer
from mkdocs_dsocr.patterns import expand
from mkdocs_dsocr.reference import KVCache
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.trace import PassShape
from mkdocs_dsocr.tracing import StaticAnalyzer

OF_PIXELS = ("model.sam_model", "model.sam_model.patch_embed", "model.sam_model.patch_embed.proj")


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
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
) -> Tensor:
    result: Tensor = _Flash.apply(q, k, v, attn_mask)  # type: ignore[no-untyped-call]
    return result


class _Calls:
    """The first call of each module in one run of a pass."""

    def __init__(self, analyzer: StaticAnalyzer, shape: PassShape) -> None:
        self.model = analyzer.session.model
        self.modules = dict(self.model.named_modules())
        self.arguments: dict[nn.Module, tuple[Any, ...]] = {}

        def remember(module: nn.Module, args: tuple[Any, ...]) -> None:
            self.arguments.setdefault(module, args)

        hook = nn.modules.module.register_module_forward_pre_hook(remember)
        analyzer.session.run(shape)
        hook.remove()

    def call(self, path: str) -> Tensor | tuple[Tensor, ...]:
        """Call a module as it was called, with inputs that need a gradient."""
        module = self.modules[path]
        fresh: list[Any] = []
        for value in self.arguments[module]:
            if isinstance(value, KVCache):
                fresh.append(KVCache())
            elif isinstance(value, Tensor) and value.is_floating_point():
                empty = torch.empty(value.shape, dtype=value.dtype, device="meta")
                fresh.append(empty.requires_grad_(path not in OF_PIXELS))
            else:
                fresh.append(value)
        out: Tensor | tuple[Tensor, ...] = module(*fresh)
        return out

    def flops(self, path: str) -> int:
        """Return what PyTorch counts of a forward and its backward."""
        with FlopCounterMode(display=False) as counter:
            out = self.call(path)
            outputs = out if isinstance(out, tuple) else (out,)
            with_gradient = [t for t in outputs if t.requires_grad]
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


@contextmanager
def _gradients(model: nn.Module) -> Iterator[None]:
    before = {p: p.requires_grad for p in model.parameters()}
    for parameter in before:
        parameter.requires_grad_(True)
    yield
    for parameter, needed in before.items():
        parameter.requires_grad_(needed)


def _one_call_each(root: BaseLayer, calls: _Calls) -> Iterator[tuple[str, BaseLayer]]:
    """Yield a path and a layer for each distinct class and shape that is called alone."""
    seen = set()
    for visit in tree.walk(root):
        path = next(iter(expand(visit.torch_path)))
        key = (type(visit.layer), *visit.layer.values().values())
        called = path and calls.modules[path] in calls.arguments
        if called and key not in seen and ".experts." not in path:
            seen.add(key)
            yield path, visit.layer


@pytest.mark.parametrize(
    "shape",
    [
        PassShape("v", "vision", image_size=1024, tiles_w=1, tiles_h=1),
        PassShape("v", "vision", image_size=640, tiles_w=2, tiles_h=1),
        PassShape("p", "language", batch=1, q_len=703, kv_len=703, image_tokens=257, logits=703),
        PassShape("p", "language", batch=3, q_len=40, kv_len=40, logits=1),
    ],
    ids=["one view", "two views", "a page", "three texts"],
)
def test_every_class_counts_and_keeps_what_autograd_does(
    config: ModelConfig,
    analyzer: StaticAnalyzer,
    monkeypatch: pytest.MonkeyPatch,
    shape: PassShape,
) -> None:
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
    assert len(checked) == (18 if shape.part == "vision" else 12)


def test_attention_may_compute_its_scores_again(analyse: Callable[..., Analysis]) -> None:
    """Half of what the forward's two products come to; nobody else computes anything again."""
    root = analyse("dsocr-standard-v1", max_new_tokens=1).root.visit.layer
    for visit in tree.walk(root):
        again = backward.recompute_flops(visit.layer)
        products = [p for o in visit.layer.operations() if o.recomputes for p in o.products]
        assert again * 2 == sum(p.flops for p in products)
    assert root.recompute_flops() > 0


def test_the_methods_of_the_contract(analyse: Callable[..., Analysis]) -> None:
    """Each product has two in the backward, but those of pixels (one) and angles (none)."""
    layer = analyse("dsocr-standard-v1", max_new_tokens=1).root.visit.layer
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
