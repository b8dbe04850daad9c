"""The template environment: how values become text on a page."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from functools import lru_cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mkdocs_dsocr.cost.memory import LIMIT
from mkdocs_dsocr.inputs.constants import TILE_SIZE
from mkdocs_dsocr.inputs.fields import RATE
from mkdocs_dsocr.inputs.hardware import KernelConstants
from mkdocs_dsocr.inputs.workload import CHOICES, LIMITS
from mkdocs_dsocr.site import units
from mkdocs_dsocr.site.changes import amount, moved
from mkdocs_dsocr.verify.formulas import METRICS

JOINERS: Final = "\u200c\u200d"
"""They have no shape of their own, but some scripts and emoji need them."""


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the environment of all templates."""
    made = Environment(
        loader=PackageLoader("mkdocs_dsocr.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=on_one_line,
    )
    made.filters |= units.WRITERS | {
        "percent": units.percent,
        "change": units.change,
        "written": units.written,
        "scaled": units.scaled,
        "amount": amount,
        "moved": moved,
        "prose": prose,
        "numbers": lambda names: [f"#{name}" for name in names],
        "dirname": posixpath.dirname,
        "basename": posixpath.basename,
    }
    made.globals |= {
        "constants": {k: f.description for k, f in KernelConstants.model_fields.items()},
        "metric_names": METRICS,
        "tile_size": TILE_SIZE,
        "limits": LIMITS,
        "rate_limit": RATE,
        "choices": CHOICES,
        "fit_limit": LIMIT,
    }
    return made


def on_one_line(value: object) -> object:
    """Return text of an input on one line, with a name for each character that has no shape.

    A blank line would end the HTML block around it, and a direction mark would turn the text
    after it.
    """
    if type(value) is not str or value.isprintable():
        return value
    return "".join(c if _has_shape(c) else f"\\u{ord(c):04x}" for c in " ".join(value.split()))


def _has_shape(character: str) -> bool:
    category = unicodedata.category(character)
    return category == "Zs" or category[0] not in "CZ" or character in JOINERS


def prose(text: str) -> Markup:
    """Return a sentence with code for what is in backticks."""
    return Markup(re.sub(r"`+([^`]+)`+", r"<code>\1</code>", str(escape(on_one_line(text)))))
