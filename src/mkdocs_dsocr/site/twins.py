"""A Markdown twin of each page, and ``llms.txt``, which lists them: for language models.

The address of a twin is that of its page with ``.md`` after it, as https://llmstxt.org asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from mkdocs_dsocr.site.export import plain
from mkdocs_dsocr.site.links import Links, LinkStyle

LIST: Final = "llms.txt"
_OF_LAYOUT: Final = re.compile(r"!\[■\]\([^)]*\) |(?<!\\)<a (?:id|href)=\"[^\"]*\">|</a>")
"""Squares of legends, and links within a page."""


def twins(pages: Mapping[str, str], style: LinkStyle) -> dict[str, str]:
    """Return the twin of each page and the list of them, by path within the plugin's folder.

    Parameters
    ----------
    pages, style
        What :func:`mkdocs_dsocr.site.pages.build_pages` made: the first page is the overview.
    """
    files: dict[str, str] = {}
    sections: dict[str, list[tuple[str, str]]] = {"Pages": [], "Layers": []}
    for name, page in pages.items():
        path = f"{_served(name, style)}.md"
        files[path] = _twin(name, page)
        section = "Layers" if name.startswith("layers/") else "Pages"
        sections[section].append((_parts(files[path])[0], path))
    title, summary = _parts(next(iter(files.values())))
    return files | {LIST: listed(title, summary, sections)}


@lru_cache(maxsize=256)
def _twin(name: str, page: str) -> str:
    """Return a page as Markdown without front matter: kept while a server runs."""
    *_, text = plain(name, page, "text")[0].split("---\n", 2)
    return _OF_LAYOUT.sub("", text).lstrip()


def listed(title: str, summary: str, sections: Mapping[str, Iterable[tuple[str, str]]]) -> str:
    """Return a list of files in the form of llmstxt.org: sections of names and addresses."""
    lines = [f"# {title}", "", f"> {summary}"]
    for heading, entries in sections.items():
        lines += ["", f"## {heading}", "", *(f"- [{name}]({path})" for name, path in entries)]
    return "\n".join(lines) + "\n"


def _served(name: str, style: LinkStyle) -> str:
    """Return the file of a page in the site."""
    served = Links(style, "index.md").to(name).removeprefix("./")
    return served if served.endswith(".html") else f"{served}index.html"


def _parts(text: str) -> tuple[str, str]:
    """Return the heading of a page and its first paragraph without links, on a line."""
    heading, paragraph, *_ = (*text.split("\n\n"), "")
    words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", paragraph)
    return heading.removeprefix("# "), " ".join(words.split())
