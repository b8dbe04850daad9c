"""Search terms of pages: what an expert types to find them, as tags of their front matter."""

from __future__ import annotations

import re
from typing import Final

PAGES: Final = {
    "index": ("prefill", "decode", "TTFT", "TPOT", "launch overhead"),
    "memory": ("KV cache", "peak memory", "largest batch", "serving"),
    "roofline": ("roofline", "arithmetic intensity", "prefill", "decode"),
    "planner": ("TTFT", "fp8", "int8", "launch overhead", "CUDA graphs"),
    "sweeps": ("TTFT", "TPOT", "sensitivity"),
    "gpus": ("H100", "H200", "A100", "L40S", "RTX", "fp8"),
    "workload": ("launch overhead", "fp8", "prefill", "decode"),
}
LAYERS: Final = (
    (r"Moe$|MoE$|Experts$", ("expert", "experts", "mixture of experts", "router")),
    (r"Gate$|Router$", ("router", "expert", "top-k")),
    (r"RMSNorm$", ("RMSNorm",)),
    (r"Rotary", ("RoPE", "rotary position embedding")),
    (r"(V2|Text)MLP$", ("SwiGLU", "gated MLP", "expert")),
    (r"^SiLU", ("SwiGLU",)),
    (r"FlashAttention2$|TextAttention$", ("attention", "KV cache")),
    (r"^Attention$|SdpaAttention$", ("attention", "window attention", "SAM")),
    (r"^Block$|SamVisionLayer$", ("window attention", "SAM")),
    (r"^ImageEncoderViT$|SamVisionEncoder$", ("SAM", "SAM encoder")),
    (r"^VitModel$|OcrVisionEncoder$", ("CLIP", "CLIP encoder")),
    (r"^NoTPAttention$|OcrAttention$", ("attention", "CLIP")),
    (r"Projector$", ("projector",)),
    (r"^LMHead$", ("LM head", "logits")),
)
"""Terms by a pattern of the class name."""


def layer_tags(class_name: str) -> list[str]:
    """Return the search terms of a layer's page."""
    found = (terms for pattern, terms in LAYERS if re.search(pattern, class_name))
    return list(dict.fromkeys(term for terms in found for term in terms))
