"""SAM, CLIP and the projector as PyTorch modules: shapes and names, no weights.

Module names, parameter names and shapes are those of the public checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mkdocs_dsocr.inputs import constants
from mkdocs_dsocr.inputs.model_config import ClipConfig, SamConfig


def resize_square(table: Tensor, side: int) -> Tensor:
    """Resize ``[1, n, n, d]`` to ``[1, side, side, d]``: antialiased bicubic, by float32."""
    wide = F.interpolate(
        table.permute(0, 3, 1, 2).float(),
        size=(side, side),
        mode="bicubic",
        antialias=True,
        align_corners=False,
    )
    return wide.to(table.dtype).permute(0, 2, 3, 1)


class PatchEmbed(nn.Module):
    """Pixels ``[B, 3, s, s]`` to patches ``[B, g, g, d]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        patch = constants.SAM_PATCH
        self.proj = nn.Conv2d(constants.IMAGE_CHANNELS, width, patch, stride=patch)

    def forward(self, pixels: Tensor) -> Tensor:
        projected: Tensor = self.proj(pixels)
        return projected.permute(0, 2, 3, 1)


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of ``[B, C, s, s]``, in elementwise steps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        normalised = (x - mean) / torch.sqrt(variance + constants.SAM_NORM_EPS)
        return normalised * self.weight[:, None, None] + self.bias[:, None, None]


class MLPBlock(nn.Module):
    """Widen, GELU, narrow."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lin2(self.act(self.lin1(x)))
        return out


class Attention(nn.Module):
    """Attention over a square of tokens ``[B, n, n, d]`` with decomposed relative positions."""

    def __init__(self, width: int, heads: int, table_side: int) -> None:
        super().__init__()
        self.heads = heads
        entries = 2 * table_side - 1
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(entries, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(entries, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        batch, side, _, width = x.shape
        tokens = side * side
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.reshape(3, batch * self.heads, tokens, -1).unbind(0)

        grid = q.view(-1, side, side, q.shape[-1])
        rel_h = torch.einsum("bhwc,hkc->bhwk", grid, _relative(self.rel_pos_h, side))
        rel_w = torch.einsum("bhwc,wkc->bhwk", grid, _relative(self.rel_pos_w, side))
        rel_h = rel_h.reshape(-1, tokens, side, 1)
        rel_w = rel_w.reshape(-1, tokens, 1, side)
        bias = rel_h + rel_w

        heads = (batch, self.heads, tokens, -1)
        out = F.scaled_dot_product_attention(
            q.view(heads), k.view(heads), v.view(heads), attn_mask=bias.view(*heads[:3], tokens)
        )
        projected: Tensor = self.proj(out.transpose(1, 2).reshape(batch, side, side, width))
        return projected


def _relative(table: Tensor, side: int) -> Tensor:
    """Return the relative positions ``[side, side, d]`` of every pair on an axis."""
    entries = 2 * side - 1
    if table.shape[0] != entries:
        wide = F.interpolate(table.float().T.unsqueeze(0), size=entries, mode="linear")
        table = wide.squeeze(0).T.to(table.dtype)
    scale = 1.0  # that of another key length; a float, so that indices are computed as floats
    rows = torch.arange(side, device=table.device)[:, None] * scale
    columns = torch.arange(side, device=table.device)[None, :] * scale
    return table[((rows - columns) + (side - 1) * scale).long()]


class Block(nn.Module):
    """Pre-norm block; attends within windows if `window` is not 0, else over the view."""

    def __init__(self, width: int, heads: int, window: int, table_side: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(width, eps=constants.SAM_NORM_EPS)
        self.attn = Attention(width, heads, window or table_side)
        self.norm2 = nn.LayerNorm(width, eps=constants.SAM_NORM_EPS)
        self.mlp = MLPBlock(width, constants.SAM_MLP_RATIO * width)

    def forward(self, x: Tensor) -> Tensor:
        attend = self._in_windows if self.window else self.attn
        x = x + attend(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def _in_windows(self, x: Tensor) -> Tensor:
        batch, side, _, width = x.shape
        w = self.window
        pad = -side % w
        if pad:
            x = F.pad(x, (0, 0, 0, pad, 0, pad))
        n = (side + pad) // w
        x = x.view(batch, n, w, n, w, width).transpose(2, 3).contiguous()
        x = self.attn(x.view(-1, w, w, width))
        x = x.view(batch, n, n, w, w, width).transpose(2, 3).contiguous()
        x = x.view(batch, side + pad, side + pad, width)
        return x[:, :side, :side].contiguous() if pad else x


class ImageEncoderViT(nn.Module):
    """SAM ViT-B with a neck: pixels ``[B, 3, s, s]`` to features ``[B, 1024, s/64, s/64]``."""

    def __init__(self, config: SamConfig, table_side: int) -> None:
        super().__init__()
        width, neck = config.width, constants.SAM_NECK
        middle, last = config.downsample_channels
        self.patch_embed = PatchEmbed(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, table_side, table_side, width))
        self.blocks = nn.ModuleList(
            Block(
                width,
                config.heads,
                0 if index in config.global_attn_indexes else constants.SAM_WINDOW,
                table_side,
            )
            for index in range(config.layers)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(width, neck, 1, bias=False),
            LayerNorm2d(neck),
            nn.Conv2d(neck, neck, 3, padding=1, bias=False),
            LayerNorm2d(neck),
        )
        self.net_2 = nn.Conv2d(neck, middle, 3, stride=2, padding=1, bias=False)
        self.net_3 = nn.Conv2d(middle, last, 3, stride=2, padding=1, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patch_embed(pixels)
        x = x + self._positions(x.shape[1])
        for block in self.blocks:
            x = block(x)
        x = self.neck(x.permute(0, 3, 1, 2))
        x = self.net_2(x)
        out: Tensor = self.net_3(x.clone())
        return out

    def _positions(self, side: int) -> Tensor:
        trained = self.pos_embed.shape[1]
        return self.pos_embed if side == trained else resize_square(self.pos_embed, side)


class CLIPVisionEmbeddings(nn.Module):
    """SAM's features ``[B, d, n, n]`` to tokens ``[B, n² + 1, d]`` with positions.

    ``patch_embedding`` is a parameter of the checkpoint that never runs.
    """

    position_ids: Tensor

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        entries = config.table_side**2 + 1
        self.class_embedding = nn.Parameter(torch.zeros(config.width))
        self.patch_embedding = nn.Conv2d(
            constants.IMAGE_CHANNELS,
            config.width,
            config.patch_size,
            stride=config.patch_size,
            bias=False,
        )
        self.position_embedding = nn.Embedding(entries, config.width)
        self.register_buffer("position_ids", torch.arange(entries).unsqueeze(0))

    def forward(self, features: Tensor) -> Tensor:
        patches = features.flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(features.shape[0], 1, -1)
        tokens = torch.cat((first, patches), dim=1)
        return tokens + self._positions(features.shape[-1])

    def _positions(self, side: int) -> Tensor:
        table: Tensor = self.position_embedding(self.position_ids)
        trained = int((table.shape[1] - 1) ** 0.5)
        if side == trained:
            return table
        square = table[:, 1:].view(1, trained, trained, -1)
        resized = resize_square(square, side).reshape(1, side * side, -1)
        return torch.cat((table[:, :1], resized), dim=1)


class NoTPAttention(nn.Module):
    """Multi-head attention over all tokens ``[B, S, d]``."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv_proj = nn.Linear(config.width, 3 * config.width)
        self.out_proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        batch, seq_len, width = x.shape
        qkv = self.qkv_proj(x).view(batch, seq_len, 3, self.heads, -1)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        out = F.scaled_dot_product_attention(q, k, v)
        projected: Tensor = self.out_proj(out.transpose(1, 2).reshape(batch, seq_len, width))
        return projected


def quick_gelu(x: Tensor) -> Tensor:
    """Return an approximation of GELU."""
    return x * torch.sigmoid(1.702 * x)


class NoTPFeedForward(nn.Module):
    """Widen, quick-GELU, narrow."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        hidden = constants.CLIP_MLP_RATIO * config.width
        self.fc1 = nn.Linear(config.width, hidden)
        self.fc2 = nn.Linear(hidden, config.width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(quick_gelu(self.fc1(x)))
        return out


class NoTPTransformerBlock(nn.Module):
    """Pre-norm attention and MLP, each with a residual."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.self_attn = NoTPAttention(config)
        self.mlp = NoTPFeedForward(config)
        self.layer_norm1 = nn.LayerNorm(config.width, eps=constants.CLIP_NORM_EPS)
        self.layer_norm2 = nn.LayerNorm(config.width, eps=constants.CLIP_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class NoTPTransformer(nn.Module):
    """CLIP's stack of blocks."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(NoTPTransformerBlock(config) for _ in range(config.layers))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.layers:
            x = block(x)
        return x


class VitModel(nn.Module):
    """CLIP's body on SAM's features: ``[B, d, n, n]`` to ``[B, n² + 1, d]``."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.embeddings = CLIPVisionEmbeddings(config)
        self.transformer = NoTPTransformer(config)
        self.pre_layrnorm = nn.LayerNorm(config.width, eps=constants.CLIP_NORM_EPS)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.transformer(self.pre_layrnorm(self.embeddings(features)))
        return out


class MlpProjector(nn.Module):
    """One linear from both towers' features to the decoder's width."""

    def __init__(self, d_in: int, hidden_size: int) -> None:
        super().__init__()
        self.layers = nn.Linear(d_in, hidden_size)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.layers(features)
        return out
