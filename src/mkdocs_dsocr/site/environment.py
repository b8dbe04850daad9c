"""The template environment: how values become text on a page."""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mkdocs_dsocr.cost.memory import LIMIT
from mkdocs_dsocr.inputs.fields import RATE
from mkdocs_dsocr.inputs.hardware import KernelConstants
from mkdocs_dsocr.inputs.workload import CHOICES, LIMITS
from mkdocs_dsocr.site import units
from mkdocs_dsocr.site.changes import amount, moved
from mkdocs_dsocr.text import printable
from mkdocs_dsocr.verify.verdict import METRICS


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
        finalize=_finalized,
    )
    made.filters |= units.WRITERS | {
        "percent": units.percent,
        "change": units.change,
        "bar": units.bar,
        "written": units.written,
        "scaled": units.scaled,
        "amount": amount,
        "moved": moved,
        "prose": prose,
        "cell": cell,
        "sentence": sentence,
        "numbers": lambda names: [f"#{name}" for name in names],
        "dirname": posixpath.dirname,
        "basename": posixpath.basename,
    }
    made.globals |= {
        "constants": {k: f.description for k, f in KernelConstants.model_fields.items()},
        "metric_names": METRICS,
        "limits": LIMITS,
        "rate_limit": RATE,
        "choices": CHOICES,
        "fit_limit": LIMIT,
    }
    return made


def _finalized(value: object) -> object:
    """Return plain text of an input as it may be shown; everything else as it is."""
    return printable(value) if type(value) is str else value


def prose(text: str) -> Markup:
    """Return a sentence with code for what is in backticks."""
    return Markup(re.sub(r"`+([^`]+)`+", r"<code>\1</code>", str(escape(printable(text)))))


def cell(text: str) -> Markup:
    """Return text of an input for a cell of a table in Markdown."""
    plain = str(escape(printable(text))).replace("&#39;", "'").replace("&#34;", '"')
    for sign in "\\`*_[]|":
        plain = plain.replace(sign, f"&#{ord(sign)};")
    return Markup(plain)


def sentence(text: str) -> Markup:
    """Return a sentence in Markdown; what is in backticks stays code."""
    words = re.split(r"(`[^`\n]+`)", printable(text))  # every second one is code
    return Markup("").join(Markup(w) if i % 2 else cell(w) for i, w in enumerate(words))
