"""What estimates leave out."""

from __future__ import annotations

from typing import Final

from mkdocs_dsocr.inputs import ModelConfig

NOT_MODELLED: Final = {
    "preprocessing": "Reading, decoding, resizing and normalising the page's image on the host.",
    "copies": "Copies between host and device.",
    "sampling": "What `generate()` launches for each token besides the model: the choice of the "
    "token, its concatenation, tests for the end.",
    "caches": "The L2 cache, except on GPUs whose profile has an `l2_share`.",
    "routing": "Skewed routing, unless the workload gives `expert_load`; tokens choose "
    "independently.",
    "runtime-memory": "Workspaces of libraries and the fragmentation of memory.",
    "unpacking": "Unpacking weights of fewer than 16 bits.",
    "clocks": "Clocks below those of the stated peaks, when power or temperature limit a card.",
    "parallelism": "More than one GPU for a model (tensor parallelism).",
}
"""What estimates leave out, by the name under which it is reviewed."""


def not_modelled(config: ModelConfig) -> dict[str, str]:
    """Return those of :data:`NOT_MODELLED` that a model has."""
    has_experts = config.language.has_experts
    return {n: words for n, words in NOT_MODELLED.items() if has_experts or n != "routing"}
