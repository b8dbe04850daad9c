"""The pages for the other workloads and GPUs of a site, as scripts that change a page in place.

A script holds what follows the heading of its page. It works where the site is opened from a
folder, and a reader who changes nothing loads none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from mkdocs_dsocr.site.blocks import put_back, taken_out
from mkdocs_dsocr.site.links import script_path


def scripts(
    pages: Mapping[str, str],
    others: Mapping[str, str],
    pair: tuple[str, str],
    convert: Callable[[str], str],
) -> Iterator[tuple[str, bytes]]:
    """Yield the path and the content of a script for each page of another pair.

    Parameters
    ----------
    pages
        The pages of the site itself, by path.
    others
        Pages of the same site that show another pair.
    pair
        The ids of its workload and GPU.
    convert
        Turns Markdown without raw blocks into HTML, as the generator does.
    """
    for path, page in others.items():
        if path not in pages:
            continue
        _, blocks = taken_out(pages[path])
        content = json.dumps(_content(page, blocks, convert), ensure_ascii=False)
        script = f"(globalThis.dsocrPages ??= {{}})[document.currentScript.src] = {content};"
        yield script_path(path, *pair), script.encode()


def _content(page: str, known: Sequence[str], convert: Callable[[str], str]) -> str:
    """Return the HTML of a page from its first raw block on; a known block by its number."""
    *_, markdown = page.split("---\n", 2)
    text, blocks = taken_out(markdown)
    places = {block: index for index, block in enumerate(known)}
    short = [
        f'<div data-dsocr-same="{places[block]}"></div>' if block in places else block
        for block in blocks
    ]
    html = convert(text)
    return put_back(html[html.index('<div id="dsocr-block-0"') :], short)
