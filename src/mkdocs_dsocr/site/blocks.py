"""Takes raw HTML out of a page where other tools would parse it for nothing, and puts it back.

Python-Markdown parses every tag of a raw block only to hand it on unchanged,
and a search plugin parses them again for their words. For pages of tables that
takes longer than all the rest of their build.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

OPENING: Final = '<div class="dsocr">'
_DIV: Final = re.compile(r"<(/?)div\b")
_PLACE: Final = re.compile(r'<(div|p) id="dsocr-block-(\d+)">[^<]*</\1>')
_HIDDEN: Final = re.compile(
    r"<(math|style|svg|pre)\b.*?</\1>|<(\w+)[^>]* data-search-exclude[^>]*>.*?</\2>|<[^>]*>",
    re.DOTALL,
)
_MATH: Final = re.compile(
    r'<math alttext="(?P<alt>[^"]*)">'
    r"(?:(?!</math>).)*?(?:<annotation[^>]*>(?P<tex>[^<]*)</annotation>(?:(?!</math>).)*)?</math>",
    re.DOTALL,
)
_LEAD: Final = re.compile(r'<p class="dsocr-lead[^"]*">(.*?)</p>', re.DOTALL)
DESCRIPTION: Final = 300
"""Characters of a page's description."""
_WORD: Final = re.compile(r"[^\W\d][\w.-]+")


@lru_cache(maxsize=256)
def taken_out(markdown: str) -> tuple[str, tuple[str, ...]]:
    """Return a page with an empty element for each of its raw blocks, and the blocks."""
    parts: list[str] = []
    blocks: list[str] = []
    position = 0
    while (start := markdown.find(f"\n{OPENING}", position)) >= 0:
        end = _end_of_div(markdown, start + 1)
        parts += [markdown[position : start + 1], f'<div id="dsocr-block-{len(blocks)}"></div>']
        blocks.append(markdown[start + 1 : end])
        position = end
    return "".join((*parts, markdown[position:])), tuple(blocks)


def put_back(content: str, blocks: Sequence[str]) -> str:
    """Return converted HTML with its raw blocks in place; a page without any stays as it is."""
    return _PLACE.sub(lambda match: blocks[int(match[2])], content) if blocks else content


def as_words(content: str, blocks: Sequence[str]) -> str:
    """Return HTML whose raw blocks are a paragraph of their words each, for a search index."""
    for index, block in enumerate(blocks):
        content = content.replace(block, f'<p id="dsocr-block-{index}">{words(block)}</p>', 1)
    return content


@lru_cache(maxsize=4096)
def words(block: str) -> str:
    """Return the words of HTML, each once, without numbers, formulas, charts and code."""
    text = html.unescape(_HIDDEN.sub(" ", block))
    return html.escape(" ".join(dict.fromkeys(_WORD.findall(text))))


def as_text(block: str) -> str:
    """Return HTML whose formulas are TeX in code, for what makes Markdown of it."""
    return _MATH.sub(lambda m: f"<code>${m['tex'] or m['alt']}$</code>", block)


def description(markdown: str) -> str:
    """Return the first sentences of a page, for feeds and search engines; empty where none are.

    Themes write it into their HTML as it is, so that it is HTML.
    """
    lead = _LEAD.search(markdown)
    if lead is None:
        return ""
    text = " ".join(html.unescape(re.sub(r"<[^>]*>", "", as_text(lead[1]))).split())
    if len(text) > DESCRIPTION:
        text = f"{text[: DESCRIPTION - 1].rsplit(' ', 1)[0]}…"
    return html.escape(text)


def forget() -> None:
    """Free what is kept of pages, for a server that has made others."""
    taken_out.cache_clear()
    words.cache_clear()


def _end_of_div(text: str, start: int) -> int:
    depth = 0
    for tag in _DIV.finditer(text, start):
        depth += -1 if tag[1] else 1
        if not depth:
            return text.index(">", tag.end()) + 1
    return len(text)
