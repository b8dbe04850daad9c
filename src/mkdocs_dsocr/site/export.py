"""The pages for other generators: HTML blocks that bring their style, or nothing but Markdown.

``zensical``: the pages as MkDocs gets them, each with the style sheet and the scripts, for a
generator that resolves links in HTML blocks and serves ``layers/Linear.md`` as ``layers/Linear/``.
``github`` and ``myst``: Markdown tables, formulas between dollars, charts as SVG files.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Literal

import yaml

from mkdocs_dsocr.site.links import Links, LinkStyle
from mkdocs_dsocr.site.markdown import COLOUR, converted, legend_key
from mkdocs_dsocr.site.navigation import NAV_TITLE
from mkdocs_dsocr.site.pages import assets

Flavour = Literal["zensical", "github", "myst"]
Plain = Literal["github", "myst", "text"]
STYLES: Final[Mapping[Flavour, LinkStyle]] = {
    "zensical": "markdown",
    "github": "markdown",
    "myst": "markdown",
}
"""How the pages of each flavour are linked."""
NAV_FILE: Final = ".nav.yml"
"""Where Zensical (and mkdocs-awesome-nav) reads the navigation of a folder."""
NEEDS_SCRIPTS: Final = "planner.md"
"""The page that is nothing without scripts."""
_SVG: Final = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
_TITLE: Final = re.compile(r"<title>(.*?)</title>", re.DOTALL)
_WORDS: Final = re.compile(r"<title>(.*?)</title><desc>(.*?)</desc>", re.DOTALL)
_SIZE: Final = re.compile(r'viewBox="\S+ \S+ (\S+) (\S+)"')
_FIXED: Final = re.compile(r'(?<=<svg)([^>]*?) width="\d+"')
_OF_CHARTS: Final = re.compile(
    r"\.dsocr-(plot|roof|roofline|architecture|icicle|graph|flow|grid|wall|box|edge|call|idle|key"
    r"|band|off|strip|bars|legend|[cs]\d|stage-\w+|bound-\d)\b"
)
_VARIABLE: Final = re.compile(r"^  --dsocr-.*;$", re.MULTILINE)
DARK: Final = '[data-md-color-scheme="slate"]'
_PAGE: Final = (
    "svg {{ {light} color: #1f2328; font-family: sans-serif; }}\n"
    "@media (prefers-color-scheme: dark) {{ svg {{ {dark} color: #e6edf3; }} }}\n"
)
"""What a chart takes from the page around it."""


def flavoured(
    pages: Mapping[str, str], others: Mapping[str, bytes], flavour: Flavour, nav: list[Any]
) -> dict[str, bytes]:
    """Return every file of an export, by path.

    Parameters
    ----------
    pages, others
        What :func:`mkdocs_dsocr.build.sites.site_files` made in the flavour's style of links.
    flavour
        Who is to read them.
    nav
        What :func:`mkdocs_dsocr.site.pages.nav` made.
    """
    # A Markdown artifact is a file to download: no generator must take it for a page.
    files = {f"{k}.txt" if k.endswith(".md") else k: v for k, v in others.items()}
    downloads = [posixpath.basename(k) for k in others if k.endswith(".md")]
    texts = {name: _renamed(text, downloads) for name, text in pages.items()}
    if flavour == "zensical":
        entry = {"title": NAV_TITLE, "nav": nav}
        files[NAV_FILE] = yaml.safe_dump(entry, sort_keys=False, allow_unicode=True).encode()
        return files | {name: _with_assets(name, text).encode() for name, text in texts.items()}
    files = {k: v for k, v in files.items() if not k.startswith("assets/")}
    texts.pop(NEEDS_SCRIPTS, None)
    files |= {legend_key(name): _square(name).encode() for name in _colours()}
    for name, text in texts.items():
        page, charts = plain(name, text, flavour)
        toctree = _toctree(name, list(texts)) if flavour == "myst" else ""
        files[name] = (page + toctree).encode()
        files |= charts
    return files


def _renamed(text: str, downloads: Iterable[str]) -> str:
    for name in downloads:
        text = text.replace(f'{name}"', f'{name}.txt"')
    return text


def _toctree(page: str, names: Iterable[str]) -> str:
    """Return what puts the pages beside an index into Sphinx's table of contents."""
    folder, _, last = page.rpartition("/")
    if last != "index.md":
        return ""
    below = [n.removeprefix(f"{folder}/") for n in names if n.startswith(folder) and n != page]
    shown = [n for n in below if n.count("/") == 0 or n.endswith("/index.md")]
    return "\n".join(("", "```{toctree}", ":hidden:", *shown, "```", ""))


def _split(text: str) -> tuple[str, str]:
    """Return the front matter of a page, and the rest."""
    _, front, body = text.split("---\n", 2)
    return f"---\n{front}---\n", body


def _with_assets(name: str, text: str) -> str:
    front, body = _split(text)
    links = Links("markdown", name)
    style, script = (links.to(f"assets/dsocr.{kind}") for kind in ("css", "js"))
    head = f'<link rel="stylesheet" href="{style}"><script defer src="{script}"></script>'
    return f"{front}{body.rstrip()}\n\n<div>{head}</div>\n"


def plain(name: str, text: str, flavour: Plain) -> tuple[str, dict[str, bytes]]:
    """Return a page without HTML that is laid out, and its charts; ``text`` has their words."""
    front, body = _split(text)
    up = "../" * name.count("/")
    stem = posixpath.splitext(name)[0].replace("/", "-")
    charts: dict[str, bytes] = {}

    def as_image(match: re.Match[str]) -> str:
        place = f"images/{stem}-{len(charts) + 1}.svg"
        charts[place] = _standalone(match[0]).encode()
        title = _TITLE.search(match[0])
        return f'<img src="{up}{place}" alt="{title[1] if title else ""}">'

    def as_words(match: re.Match[str]) -> str:
        return "<p>{}: {}</p>".format(*found[0]) if (found := _WORDS.findall(match[0])) else ""

    body = _SVG.sub(as_words if flavour == "text" else as_image, body)
    parts = [
        converted(part, level, up, quotes_formulas=flavour == "github")
        for level, part in _between_headings(body)
    ]
    return front + "\n" + "\n\n".join(part for part in parts if part) + "\n", charts


def _between_headings(body: str) -> Iterator[tuple[int, str]]:
    """Yield headings, which stay, and the HTML between them, with the level that it is below."""
    html: list[str] = []
    level = 0
    for line in body.splitlines():
        if heading := re.match(r"(#+) ", line):
            yield level, "\n".join(html)
            yield level, line
            html, level = [], len(heading[1])
        else:
            html.append(line)
    yield level, "\n".join(html)


def _standalone(svg: str) -> str:
    """Return an inline chart as a file, with its style and its size."""
    size = _SIZE.search(svg)
    fixed = f' width="{size[1]}" height="{size[2]}"' if size else ""
    svg = _FIXED.sub(r"\1", svg, count=1)
    return svg.replace("<svg", f'<svg xmlns="http://www.w3.org/2000/svg"{fixed}', 1).replace(
        ">", f"><style>{_chart_rules()}</style>", 1
    )


@lru_cache(maxsize=1)
def chart_style() -> tuple[str, str, str]:
    """Return what a chart needs alone: the variables, those of a dark page, and the rules."""
    sheet = assets()["dsocr.css"].decode()
    light, dark = (
        " ".join(line.strip() for line in _VARIABLE.findall(part))
        for part in sheet.split(DARK, 2)[:2]
    )
    rules = "\n".join(line for line in sheet.splitlines() if _OF_CHARTS.search(line))
    return light, dark, rules


def _chart_rules() -> str:
    light, dark, rules = chart_style()
    return _PAGE.format(light=light, dark=dark) + rules


def _colours() -> list[str]:
    """Return the names of the colours of charts."""
    return sorted(set(COLOUR.findall(_chart_rules())))


def _square(colour: str) -> str:
    """Return a square of a colour, for a legend."""
    square = f'<svg viewBox="0 0 12 12"><rect class="{colour}" width="12" height="12"/></svg>'
    return _standalone(square)
