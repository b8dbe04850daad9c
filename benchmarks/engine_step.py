"""A decode step as a serving engine schedules it, in plain PyTorch: no engine is installed for it.

One GEMM for q, k and v, fused norms, rotary and activations, one grouped GEMM over all experts,
logits of one position, and the whole step in a CUDA graph. Weights are random.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kernels import device_events, elapsed_ms, summaries
from mkdocs_dsocr.inputs import ModelConfig

BATCHES: Final = (1, 8, 32, 64, 128, 256)
KV_LENS: Final = (704, 2048)
REPEATS: Final = 20


@dataclass(frozen=True)
class Layer:
    """Weights of a decoder layer: of an MLP, or of routed and shared experts."""

    qkv: Tensor
    out: Tensor
    norms: tuple[Tensor, Tensor]
    gate_up: Tensor
    down: Tensor
    router: Tensor | None = None
    expert_gate_up: Tensor | None = None
    expert_down: Tensor | None = None


class EngineStep:
    """A decode step of a batch on a GPU.

    Parameters
    ----------
    config
        Dimensions of the model.
    batch, kv_len
        Sequences, and positions in the cache of each.
    layers, head
        Weights: of :func:`weights`.
    """

    def __init__(
        self, config: ModelConfig, layers: list[Layer], head: Tensor, batch: int, kv_len: int
    ) -> None:
        language = config.language
        self.heads, self.head_dim = language.num_attention_heads, language.head_dim
        self.top_k, self.layers, self.head = language.num_experts_per_tok, layers, head
        self.kv_len = kv_len
        self.ids = torch.randint(language.vocab_size, (batch,), device="cuda")
        cache = (len(layers), 2, batch, self.heads, kv_len, self.head_dim)
        self.cache = torch.randn(cache, device="cuda", dtype=torch.bfloat16)
        self.cos, self.sin = torch.randn(2, self.head_dim, device="cuda", dtype=torch.bfloat16)

    def __call__(self) -> Tensor:
        """Run the step; return the next token of each sequence."""
        x = self.head[self.ids]
        residual = torch.zeros_like(x)
        for index, layer in enumerate(self.layers):
            x, residual = add_rms_norm(x, residual, layer.norms[0])
            x = F.linear(self._attention(F.linear(x, layer.qkv), index), layer.out)
            x, residual = add_rms_norm(x, residual, layer.norms[1])
            routed = self._experts(x, layer)
            x = F.linear(silu_mul(F.linear(x, layer.gate_up)), layer.down)
            x = x if routed is None else x + routed
        x, _ = add_rms_norm(x, residual, self.layers[0].norms[0])
        return F.linear(x, self.head).argmax(-1)

    def _attention(self, qkv: Tensor, index: int) -> Tensor:
        keys, values = self.cache[index]
        q, k, v = rotary(qkv.view(len(qkv), 3, self.heads, self.head_dim), self.cos, self.sin)
        keys[:, :, self.kv_len - 1], values[:, :, self.kv_len - 1] = k, v
        out = F.scaled_dot_product_attention(q[:, :, None], keys, values)
        return out.reshape(len(qkv), -1)

    def _experts(self, x: Tensor, layer: Layer) -> Tensor | None:
        if layer.router is None:
            return None
        assert layer.expert_gate_up is not None
        assert layer.expert_down is not None
        scores = F.linear(x.float(), layer.router).softmax(-1)
        weights, chosen = scores.topk(self.top_k, dim=-1)
        experts = chosen.flatten()
        order = experts.argsort()
        ends = expert_ends(experts, len(layer.router))
        hidden = torch._grouped_mm(x[order // self.top_k], layer.expert_gate_up, offs=ends)
        out = torch._grouped_mm(silu_mul(hidden), layer.expert_down, offs=ends)
        return combine(out[order.argsort()].view(len(x), self.top_k, -1), weights)


@torch.compile(dynamic=True)
def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Add to the residual stream and normalise it, in one kernel."""
    total = x + residual
    wide = total.float()
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
    return (wide * scale).to(x.dtype) * weight, total


@torch.compile(dynamic=True)
def silu_mul(x: Tensor) -> Tensor:
    """Return SwiGLU's product of the two halves of the last dimension."""
    gate, up = x.chunk(2, dim=-1)
    return F.silu(gate) * up


@torch.compile(dynamic=True)
def rotary(qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotate queries and keys of ``[B, 3, H, d]``."""
    both, value = qkv[:, :2], qkv[:, 2]
    first, second = both.chunk(2, dim=-1)
    turned = both * cos + torch.cat((-second, first), dim=-1) * sin
    return turned[:, 0], turned[:, 1], value


@torch.compile(dynamic=True)
def expert_ends(experts: Tensor, number: int) -> Tensor:
    """Return where each expert's rows end in the sorted rows."""
    every = torch.arange(number, device=experts.device)
    return (experts[None, :] <= every[:, None]).sum(-1).to(torch.int32)


@torch.compile(dynamic=True)
def combine(out: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum over the experts of each token."""
    return (out * weights[..., None]).sum(1).to(out.dtype)


def weights(config: ModelConfig) -> tuple[list[Layer], Tensor]:
    """Return random weights of the decoder's layers, and of the LM head."""
    language = config.language
    h, m = language.hidden_size, language.moe_intermediate_size

    def random(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        return torch.randn(shape, device="cuda", dtype=dtype) * 0.02

    layers = []
    for index in range(language.num_hidden_layers):
        dense = index < language.first_k_dense_replace
        width = language.intermediate_size if dense else language.n_shared_experts * m
        experts: dict[str, Tensor] = {}
        if not dense:
            number = language.n_routed_experts
            experts = {
                "router": random(number, h, dtype=torch.float32),
                "expert_gate_up": random(number, 2 * m, h).transpose(-2, -1),
                "expert_down": random(number, h, m).transpose(-2, -1),
            }
        layers.append(
            Layer(
                qkv=random(3 * h, h),
                out=random(h, h),
                norms=(random(h), random(h)),
                gate_up=random(2 * width, h),
                down=random(h, width),
                **experts,
            )
        )
    return layers, random(language.vocab_size, h)


@torch.inference_mode()
def engine_steps(config: ModelConfig) -> Iterator[dict[str, Any]]:
    """Yield time and kernels of a decode step at several batches and context lengths."""
    layers, head = weights(config)
    for kv_len in KV_LENS:
        for batch in BATCHES:
            step = EngineStep(config, layers, head, batch, kv_len)
            replay = _captured(step)
            times = [elapsed_ms(replay, "cuda") for _ in range(REPEATS)]
            events = device_events(replay)
            yield {
                "batch": batch,
                "kv_len": kv_len,
                "step_ms": round(statistics.median(times), 4),
                "launches": len(events),
                "kernel_ms": round(sum(time_us for _, time_us in events) / 1000, 4),
                "kernels": summaries(events),
            }


def _captured(step: EngineStep) -> Callable[[], object]:
    """Return what replays a step from a CUDA graph."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    for _ in range(3):
        graph.replay()
    return graph.replay
