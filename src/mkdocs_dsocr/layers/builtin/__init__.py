"""PyTorch's own modules."""

from mkdocs_dsocr.layers.builtin.activations import GELU, Activation, SiLU
from mkdocs_dsocr.layers.builtin.attention import dot_product_attention
from mkdocs_dsocr.layers.builtin.containers import Container, Group, ModuleList, Sequential
from mkdocs_dsocr.layers.builtin.conv2d import Conv2d, UnusedConv2d
from mkdocs_dsocr.layers.builtin.embedding import Embedding
from mkdocs_dsocr.layers.builtin.layer_norm import LayerNorm
from mkdocs_dsocr.layers.builtin.linear import ExpertLinear, Linear, LMHead

__all__ = [
    "GELU",
    "Activation",
    "Container",
    "Conv2d",
    "Embedding",
    "ExpertLinear",
    "Group",
    "LMHead",
    "LayerNorm",
    "Linear",
    "ModuleList",
    "Sequential",
    "SiLU",
    "UnusedConv2d",
    "dot_product_attention",
]
