"""The mixture-of-experts decoder as PyTorch modules: shapes and names, no weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mkdocs_dsocr.inputs import constants
from mkdocs_dsocr.inputs.model_config import LanguageConfig
from mkdocs_dsocr.tracing.kv_cache import KVCache
from mkdocs_dsocr.tracing.meta_values import balanced


class DeepseekV2RMSNorm(nn.Module):
    """Root-mean-square norm, in float32."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        variance = wide.pow(2).mean(-1, keepdim=True)
        wide = wide * torch.rsqrt(variance + constants.RMS_NORM_EPS)
        return self.weight * wide.to(x.dtype)


class LlamaRotaryEmbedding(nn.Module):
    """Cosine and sine ``[B, S, head_dim]`` of position × frequency."""

    inv_freq: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        exponents = torch.arange(0, head_dim, 2).float() / head_dim
        self.register_buffer("inv_freq", constants.ROPE_THETA**-exponents, persistent=False)

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        inv_freq = self.inv_freq[None, :, None].float().expand(positions.shape[0], -1, 1)
        with _outside_autocast(positions.device.type):
            angles = (inv_freq @ positions[:, None, :].float()).transpose(1, 2)
        both = torch.cat((angles, angles), dim=-1)
        cos, sin = both.cos() * constants.ROPE_SCALING, both.sin() * constants.ROPE_SCALING
        return cos.to(x.dtype), sin.to(x.dtype)


def _outside_autocast(device: str) -> AbstractContextManager[object]:
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate ``[B, H, S, d]`` by angles ``[B, S, d]``."""
    return x * cos.unsqueeze(1) + _turned(x) * sin.unsqueeze(1)


def _turned(x: Tensor) -> Tensor:
    """Return the halves of ``[..., d]`` exchanged, the second one negated."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def ask(value: Tensor) -> float:
    """Return a value that the host waits for; on ``meta``, which has none, 1."""
    return 1.0 if value.is_meta else value.item()


class LlamaFlashAttention2(nn.Module):
    """Causal attention of ``[B, S, h]`` over the cache.

    FlashAttention's wrapper asks whether the positions of a prompt are those of one sequence.
    """

    def __init__(self, config: LanguageConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.head_dim = layer, config.head_dim
        self.groups = config.num_attention_heads // config.num_key_value_heads
        hidden, kv = config.hidden_size, config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(hidden, hidden, bias=False)
        self.k_proj = nn.Linear(hidden, kv, bias=False)
        self.v_proj = nn.Linear(hidden, kv, bias=False)
        self.o_proj = nn.Linear(hidden, hidden, bias=False)
        self.rotary_emb = LlamaRotaryEmbedding(config.head_dim)

    def forward(self, x: Tensor, positions: Tensor, cache: KVCache) -> Tensor:
        batch, q_len, hidden = x.shape
        q, k, v = (
            proj(x).view(batch, q_len, -1, self.head_dim).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        cos, sin = self.rotary_emb(v, positions)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        is_prompt = self.layer not in cache.layers
        k, v = cache.append(self.layer, k, v)
        if self.groups > 1:
            k, v = (t.repeat_interleave(self.groups, dim=1) for t in (k, v))
        if is_prompt:
            ask((torch.diff(positions, dim=-1) >= 0).all())
        out = F.scaled_dot_product_attention(q, k, v, is_causal=q_len > 1)
        projected: Tensor = self.o_proj(out.transpose(1, 2).reshape(batch, q_len, hidden))
        return projected


class DeepseekV2MLP(nn.Module):
    """SwiGLU feed-forward."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)
        self.act_fn = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
        return out


class MoEGate(nn.Module):
    """Scores in float32, softmax, top-k: indices and weights ``[N, k]``."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.weight = nn.Parameter(torch.zeros(config.n_routed_experts, config.hidden_size))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores = F.linear(x.float(), self.weight.float()).softmax(dim=-1)
        weights, indices = scores.topk(self.top_k, dim=-1, sorted=False)
        return indices, weights * constants.ROUTED_SCALING_FACTOR


class DeepseekV2MoE(nn.Module):
    """Routed experts and shared experts.

    `fixed_load` gives the rows of each expert where the host must not ask the
    device for them: while a CUDA graph is captured.
    """

    fixed_load: list[int] | None = None

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        hidden, width = config.hidden_size, config.moe_intermediate_size
        self.experts = nn.ModuleList(
            DeepseekV2MLP(hidden, width) for _ in range(config.n_routed_experts)
        )
        self.gate = MoEGate(config)
        self.shared_experts = DeepseekV2MLP(hidden, config.n_shared_experts * width)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.view(-1, x.shape[-1])
        indices, weights = self.gate(tokens)
        routed = self._routed(tokens, indices, weights).view_as(x)
        out: Tensor = routed + self.shared_experts(x)
        return out

    def _routed(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        chosen = indices.new_zeros((indices.shape[0], len(self.experts))).scatter_(1, indices, 1)
        load = self._load(chosen.sum(dim=0), indices.numel())
        order = indices.view(-1).argsort()
        gathered = tokens[order // indices.shape[1]]
        parts = torch.split(gathered, load)
        results = [e(p) for e, p in zip(self.experts, parts, strict=True) if p.shape[0]]
        joined = torch.cat(results, dim=0)
        placed = torch.empty_like(joined)
        placed[order] = joined
        return (
            placed.view(*indices.shape, -1)
            .to(weights.dtype)
            .mul_(weights.unsqueeze(-1))
            .sum(dim=1)
            .to(tokens.dtype)
        )

    def _load(self, counts: Tensor, routed: int) -> list[int]:
        """Return the rows of each expert; balanced where there are no values (meta)."""
        if self.fixed_load is not None:
            return self.fixed_load
        if counts.is_meta:
            return balanced(routed, len(self.experts))
        load: list[int] = counts.tolist()
        return load


class DeepseekV2DecoderLayer(nn.Module):
    """Pre-norm attention and MLP, dense in the first layers, experts after."""

    def __init__(self, config: LanguageConfig, layer: int) -> None:
        super().__init__()
        self.self_attn = LlamaFlashAttention2(config, layer)
        self.mlp = (
            DeepseekV2MLP(config.hidden_size, config.intermediate_size)
            if layer < config.first_k_dense_replace
            else DeepseekV2MoE(config)
        )
        self.input_layernorm = DeepseekV2RMSNorm(config.hidden_size)
        self.post_attention_layernorm = DeepseekV2RMSNorm(config.hidden_size)

    def forward(self, x: Tensor, positions: Tensor, cache: KVCache) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), positions, cache)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out
