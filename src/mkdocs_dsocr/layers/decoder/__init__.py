"""The mixture-of-experts decoder."""

from mkdocs_dsocr.layers.decoder.decoder_layer import DenseDecoderLayer, MoEDecoderLayer
from mkdocs_dsocr.layers.decoder.mlp import DeepseekV2MLP, RoutedExperts
from mkdocs_dsocr.layers.decoder.moe import DeepseekV2MoE, MoEGate, expected_distinct
from mkdocs_dsocr.layers.decoder.rms_norm import DeepseekV2RMSNorm

__all__ = [
    "DeepseekV2MLP",
    "DeepseekV2MoE",
    "DeepseekV2RMSNorm",
    "DenseDecoderLayer",
    "MoEDecoderLayer",
    "MoEGate",
    "RoutedExperts",
    "expected_distinct",
]
