"""A Python-Markdown extension: ``[dsocr: figure latency.ttft_ms]`` in any page.

It needs no plugin, so it works in MkDocs, ProperDocs and Zensical alike.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

from mkdocs_dsocr.inputs import (
    Hardware,
    InputError,
    ModelConfig,
    Workload,
    load_hardware,
    load_workload,
)
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.resources import DEFAULT_HARDWARE, DEFAULT_MODEL, DEFAULT_WORKLOAD
from mkdocs_dsocr.site.embed import embedded

PATTERN: Final = r"\[dsocr: ((?:[^\[\]]|\[[^\[\]]*\])+)\]"
"""The names between the brackets may hold brackets: ``layers.[1-11]``."""
PRIORITY: Final = 175
"""After code and escapes, before links."""


class DsocrExtension(Extension):  # type: ignore[misc]
    """Puts figures, formulas and charts of one model, workload and GPU into pages."""

    def __init__(self, **options: Any) -> None:
        self.config = {
            "model": [DEFAULT_MODEL, "Id or path."],
            "workload": [DEFAULT_WORKLOAD, "Id or path."],
            "hardware": [DEFAULT_HARDWARE, "Id or path."],
        }
        super().__init__(**options)

    def extendMarkdown(self, md: Markdown) -> None:
        md.inlinePatterns.register(_Embed(md, self.getConfigs()), "dsocr", PRIORITY)


class _Embed(InlineProcessor):  # type: ignore[misc]
    def __init__(self, md: Markdown, options: dict[str, str]) -> None:
        super().__init__(PATTERN, md)
        self._options = options

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:
        html = embedded(_analysis(**self._options), *m[1].split())
        return self.md.htmlStash.store(html), m.start(0), m.end(0)


def _analysis(model: str, workload: str, hardware: str) -> Analysis:
    """Return the analysis of inputs as they are now: a server reads them again after an edit.

    Raises
    ------
    InputError
        If an input is bad, or the GPU has no tensor cores for a format.
    """
    for key, value in (("model", model), ("workload", workload), ("hardware", hardware)):
        if not isinstance(value, str):
            raise InputError("mkdocs_dsocr.extension", key, repr_short(value), "an id or a path")
    return _kept(load_model_config(model), load_workload(workload), load_hardware(hardware))


@lru_cache(maxsize=8)
def _kept(config: ModelConfig, workload: Workload, hardware: Hardware) -> Analysis:
    analysis = Analysis(config, workload, hardware)
    analysis.check_formats()
    return analysis


def makeExtension(**options: Any) -> DsocrExtension:
    """Return the extension; Python-Markdown calls this."""
    return DsocrExtension(**options)
