"""Names of the forms of a class: what tells one from another, in words."""

from __future__ import annotations

from typing import Any, Final

from mkdocs_dsocr.layers.layer import Layer

WORDS: Final[dict[tuple[str, bool], str]] = {
    ("cached", True): "with a KV cache (decode)",
    ("cached", False): "without a KV cache (prefill)",
    ("decodes", True): "decode",
    ("decodes", False): "prefill",
    ("has_images", True): "with image tokens (prefill)",
    ("has_images", False): "without image tokens (decode)",
    ("bias", True): "with bias",
    ("bias", False): "without bias",
    ("of_pixels", True): "of pixels",
    ("of_pixels", False): "of features",
    ("constant", True): "fixed positions",
    ("constant", False): "token ids",
    ("resize", True): "resized position table",
    ("resize", False): "",
    ("single", True): "",
    ("single", False): "",
    ("single_view", True): "",
    ("single_view", False): "",
}
"""Options by value; an empty text where the sizes say the same."""


def variant(layer: Layer, chosen: dict[str, Any]) -> str:
    """Return a form's name among others of its class.

    Parameters
    ----------
    layer
        An example of the form.
    chosen
        Its options in which the forms of the class differ.
    """
    parts = [_sizes(layer)] if {"single", "single_view", "resize"} & chosen.keys() else []
    for name, value in chosen.items():
        words = f"{name.replace('_', ' ')}: {'yes' if value else 'no'}"
        parts.append(WORDS.get((name, value), words))
    return ", ".join(dict.fromkeys(filter(None, parts)))


def _sizes(layer: Layer) -> str:
    """Return the number and the sides of what a vision layer sees; nothing if it sees no views."""
    side = getattr(layer, "side", getattr(layer, "grid", None))
    for name, word in (("windows", "window"), ("views", "view")):
        count = getattr(layer, name, None)
        if isinstance(count, int) and isinstance(side, int):
            return f"{count} {word}{'s' if count > 1 else ''} of {side} × {side}"
    return ""
