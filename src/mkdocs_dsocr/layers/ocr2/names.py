"""Names of DeepSeek-OCR-2: transformers writes most of its modules as copies of others."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from mkdocs_dsocr.layers.layer import renamed

T = TypeVar("T")
SOURCE: Final = "transformers 5.23.0, models/deepseek_ocr2/modeling_deepseek_ocr2.py"


def named(module: str, kind: type[T], name: str, **own: Any) -> type[T]:
    """Return a layer class with the same formulas for this model's module of that name.

    Parameters
    ----------
    module
        The Python module that the class is an attribute of.
    kind, name, own
        As for :func:`mkdocs_dsocr.layers.layer.renamed`; the name without the model's.
    """
    return renamed(kind, f"DeepseekOcr2{name}", module, source=SOURCE, **own)
