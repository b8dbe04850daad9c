"""What the model's code fixes and its ``config.json`` does not say, with sources.

Sources: *SAM* is the image encoder of Segment Anything's ViT-B (Kirillov et al.
2023, build_sam), *CLIP* is ViT-L/14 (Radford et al. 2021), *DeepSeek-OCR* is the
published modelling code of deepseek-ai/DeepSeek-OCR.
"""

from __future__ import annotations

from typing import Final

RMS_NORM_EPS: Final = 1e-6
"""DeepseekV2Config's default; config.json does not override it."""
ROPE_THETA: Final = 10_000.0
"""DeepseekV2Config's default."""
ROPE_SCALING: Final = 1.0
"""transformers' default RoPE: attention scaling 1."""
ROUTED_SCALING_FACTOR: Final = 1.0
"""DeepseekV2Config's default."""

IMAGE_CHANNELS: Final = 3
"""RGB."""
SAM_PATCH: Final = 16
"""SAM: patch size."""
SAM_WINDOW: Final = 14
"""SAM: window of the blocks that are not global."""
SAM_MLP_RATIO: Final = 4
"""SAM: width of the MLP over width of a token (vision_config.mlp_ratio speaks of another tower)."""
SAM_NECK: Final = 256
"""SAM: out_chans of the neck."""
SAM_NORM_EPS: Final = 1e-6
"""SAM: eps of LayerNorm and LayerNorm2d."""
CLIP_MLP_RATIO: Final = 4
"""CLIP: 4096 over 1024."""
CLIP_NORM_EPS: Final = 1e-5
"""CLIP: layernorm_epsilon."""
DOWNSAMPLE: Final = 4
"""DeepSeek-OCR: net_2 and net_3 halve SAM's map twice."""
TILE_SIZE: Final = 640
"""DeepSeek-OCR: the side for which the grid rule speaks, whatever image_size is."""
MIN_TILES: Final = 2
"""DeepSeek-OCR: min_num of the grid rule."""
MAX_RULE_TILES: Final = 9
"""DeepSeek-OCR: max_num of the grid rule."""
QWEN2_ROPE_THETA: Final = 1_000_000.0
"""DeepSeek-OCR-2's encoder and GOT-OCR-2.0's decoder: rope_theta of Qwen2-0.5B."""
OCR2_TILE_SIZE: Final = 768
"""DeepSeek-OCR-2: tile_size of its image processor (transformers 5.23.0)."""
OCR2_MAX_TILES: Final = 6
"""DeepSeek-OCR-2: max_patches of its image processor."""
OCR2_QUERIES: Final = (144, 256)
"""DeepSeek-OCR-2: queries of each bank; the smaller one is for at most as many features.

transformers 5.23.0, models/deepseek_ocr2/modeling_deepseek_ocr2.py.
"""
GOT_TILE_SIZE: Final = 1024
"""GOT-OCR-2.0: size of its image processor, which is that of SAM's position table."""
GOT_MIN_TILES: Final = 1
"""GOT-OCR-2.0: min_patches of its image processor (transformers 5.23.0)."""
GOT_MAX_TILES: Final = 12
"""GOT-OCR-2.0: max_patches of its image processor."""
GOT_MID_RATIO: Final = 2
"""GOT-OCR-2.0's projector: channels between its convolutions over those of SAM's neck."""
