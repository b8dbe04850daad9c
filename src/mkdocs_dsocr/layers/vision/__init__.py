"""The vision towers and the projector."""

from mkdocs_dsocr.layers.vision.attention import Attention
from mkdocs_dsocr.layers.vision.block import GlobalBlock, WindowBlock
from mkdocs_dsocr.layers.vision.clip import (
    CLIPVisionEmbeddings,
    NoTPAttention,
    NoTPTransformer,
    NoTPTransformerBlock,
    VitModel,
)
from mkdocs_dsocr.layers.vision.image_encoder import ImageEncoderViT
from mkdocs_dsocr.layers.vision.layer_norm2d import LayerNorm2d
from mkdocs_dsocr.layers.vision.mlp import MLPBlock, NoTPFeedForward
from mkdocs_dsocr.layers.vision.patch_embed import PatchEmbed
from mkdocs_dsocr.layers.vision.projector import MlpProjector

__all__ = [
    "Attention",
    "CLIPVisionEmbeddings",
    "GlobalBlock",
    "ImageEncoderViT",
    "LayerNorm2d",
    "MLPBlock",
    "MlpProjector",
    "NoTPAttention",
    "NoTPFeedForward",
    "NoTPTransformer",
    "NoTPTransformerBlock",
    "PatchEmbed",
    "VitModel",
    "WindowBlock",
]
