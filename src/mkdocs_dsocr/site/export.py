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

from mkdocs_dsocr.site.links import Links, LinkStyle
from mkdocs_dsocr.site.pages import assets

Flavour = Literal["zensical", "github", "myst"]
STYLES: Final[Mapping[Flavour, LinkStyle]] = {
    "zensical": "markdown",
    "github": "markdown",
    "myst": "markdown",
}
"""How the pages of each flavour are linked."""
NEEDS_SCRIPTS: Final = "planner.md"
"""The page that is nothing without scripts."""
_SVG: Final = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
_TITLE: Final = re.compile(r"<title>(.*?)</title>", re.DOTALL)
_SIZE: Final = re.compile(r'viewBox="\S+ \S+ (\S+) (\S+)"')
_COLOUR: Final = re.compile(r"dsocr-c\d")
INDENT: Final = "· "
"""A level of a tree, in a cell."""
_CHART_LINK: Final = re.compile(r'xlink:href="([^"#]+\.md)"')
_OF_CHARTS: Final = re.compile(
    r"\.dsocr-(chart|plot|roof|roofline|icicle|graph|flow|grid|wall|box|edge|call|[cs]\d)\b"
)
_VARIABLE: Final = re.compile(r"^  --dsocr-.*;$", re.MULTILINE)
_PAGE: Final = (
    "svg {{ {variables} color: #1f2328; font-family: sans-serif; }}\n"
    "@media (prefers-color-scheme: dark) {{ svg {{ --dsocr-soft: #b3b7c0; color: #e6edf3; }} }}\n"
)
"""What a chart takes from the page around it."""


def flavoured(
    pages: Mapping[str, str], others: Mapping[str, bytes], flavour: Flavour
) -> dict[str, bytes]:
    """Return every file of an export, by path.

    Parameters
    ----------
    pages, others
        What :func:`mkdocs_dsocr.outputs.site_files` made in the flavour's style of links.
    flavour
        Who is to read them.
    """
    # A Markdown artifact is a file to download: no generator must take it for a page.
    files = {f"{k}.txt" if k.endswith(".md") else k: v for k, v in others.items()}
    downloads = [posixpath.basename(k) for k in others if k.endswith(".md")]
    texts = {name: _renamed(text, downloads) for name, text in pages.items()}
    if flavour == "zensical":
        return files | {name: _with_assets(name, text).encode() for name, text in texts.items()}
    files = {k: v for k, v in files.items() if not k.startswith("assets/")}
    texts.pop(NEEDS_SCRIPTS, None)
    files |= {_key(name): _square(name).encode() for name in _colours()}
    for name, text in texts.items():
        plain, charts = _plain(name, text, flavour)
        toctree = _toctree(name, list(texts)) if flavour == "myst" else ""
        files[name] = (plain + toctree).encode()
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
    def served(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), match[1]))
        return f'xlink:href="{Links("directory", name).to(target)}"'

    # Links within charts are not resolved.
    front, body = _split(_CHART_LINK.sub(served, text))
    links = Links("markdown", name)
    style, script = (links.to(f"assets/dsocr.{kind}") for kind in ("css", "js"))
    head = f'<link rel="stylesheet" href="{style}"><script defer src="{script}"></script>'
    return f"{front}{body.rstrip()}\n\n<div>{head}</div>\n"


def _plain(name: str, text: str, flavour: Flavour) -> tuple[str, dict[str, bytes]]:
    """Return a page without HTML that is laid out, and its charts."""
    front, body = _split(text)
    up = "../" * name.count("/")
    stem = posixpath.splitext(name)[0].replace("/", "-")
    charts: dict[str, bytes] = {}

    def as_image(match: re.Match[str]) -> str:
        place = f"images/{stem}-{len(charts) + 1}.svg"
        charts[place] = _standalone(match[0]).encode()
        title = _TITLE.search(match[0])
        return f'<img src="{up}{place}" alt="{title[1] if title else ""}">'

    body = _SVG.sub(as_image, body)
    parts = (_converted(part, level, up, flavour) for level, part in _between_headings(body))
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
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return svg.replace("<svg", f"<svg {names}{fixed}", 1).replace(
        ">", f"><style>{_chart_rules()}</style>", 1
    )


@lru_cache(maxsize=1)
def _chart_rules() -> str:
    """Return the part of the style sheet that a chart needs when it stands alone."""
    sheet = assets()["dsocr.css"].decode()
    variables = " ".join(line.strip() for line in _VARIABLE.findall(sheet))
    rules = (line for line in sheet.splitlines() if _OF_CHARTS.search(line))
    return _PAGE.format(variables=variables) + "\n".join(rules)


def _colours() -> list[str]:
    """Return the names of the colours of charts."""
    return sorted(set(_COLOUR.findall(_chart_rules())))


def _key(colour: str) -> str:
    return f"images/key-{colour.removeprefix('dsocr-')}.svg"


def _square(colour: str) -> str:
    """Return a square of a colour, for a legend."""
    square = f'<svg viewBox="0 0 12 12"><rect class="{colour}" width="12" height="12"/></svg>'
    return _standalone(square)


def _converted(html: str, level: int, up: str, flavour: Flavour) -> str:
    if not html.strip() or html.startswith("#"):
        return html.strip()
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(html, "html.parser")
    for heading in soup.select("h3, h4"):
        heading.name = f"h{level + 1}"
    _without_scripts(soup)
    _without_styles(soup, up)
    _one_by_one(soup)
    text: str = _converter(flavour).convert_soup(soup)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _without_scripts(soup: Any) -> None:
    """Take out what is nothing without scripts."""
    for tag in soup.select("form, button, output, input, script, link, [data-cost]"):
        tag.decompose()
    for tag in soup.select("a[href*='planner.md']"):
        tag.unwrap()


def _without_styles(soup: Any, up: str) -> None:
    """Say in signs and pictures what a style sheet shows."""
    for key in soup.select(".dsocr-key"):
        colour = next(c for c in key["class"] if _COLOUR.fullmatch(c))
        key.replace_with(soup.new_tag("img", src=f"{up}{_key(colour)}", alt="■"))
    for depth in soup.select(".dsocr-depth"):
        depth.string = INDENT * int(depth["style"].rpartition(":")[2])
    for switch in soup.select(".dsocr-switch"):
        labels = [label.extract().text for label in switch.select("label")]
        for label, shown in zip(labels, switch.select("div"), strict=True):
            caption = soup.new_tag("p")
            caption.string = label
            shown.insert(0, caption)
    for tag in soup.select(".dsocr-shape, .dsocr-tag"):
        tag.name = "em"
        tag.insert_before(" ")
    for tag in soup.select(".dsocr-ok, .dsocr-bad"):
        tag.name = "strong"
        tag.insert(0, "✓ " if "dsocr-ok" in tag["class"] else "✗ ")


def _one_by_one(soup: Any) -> None:
    """Lay cells out one by one, and make a place of each id."""
    for foot in soup.select("tfoot"):
        for cell in foot.select("th"):
            cell.name = "td"
        foot.name = "tbody"
    for cell in soup.select("[rowspan]"):
        row = cell.parent
        for _ in range(int(cell["rowspan"]) - 1):
            row = row.find_next_sibling("tr")
            row.insert(0, soup.new_tag("td"))
    for tag in soup.select("[id]"):
        place = soup.new_tag("a", id=tag["id"])
        if tag.name == "tr":
            tag.td.insert(0, place)
        else:
            tag.insert_before(place)
    for tag in soup.select("td div + div"):
        tag.insert_before(soup.new_tag("br"))


@lru_cache(maxsize=2)
def _converter(flavour: Flavour) -> Any:
    """Return what writes HTML as Markdown, formulas as the flavour has them."""
    from markdownify import MarkdownConverter

    opening, closing = ("$`", "`$") if flavour == "github" else ("$", "$")

    base: Any = MarkdownConverter  # it says nothing of the methods for tags

    class Converter(base):  # type: ignore[misc]
        def escape(self, text: str, parent_tags: Any) -> str:
            return re.sub(r"([\\`*_\[\]<>|$])", r"\\\1", text.replace("&", "&amp;"))

        def convert_math(self, el: Any, text: str, parent_tags: Any) -> str:
            annotation = el.find("annotation")
            return f"{opening}{annotation.text if annotation else _latex(el['alttext'])}{closing}"

        def convert_details(self, el: Any, text: str, parent_tags: Any) -> str:
            return f"\n\n<details>\n\n{text.strip()}\n\n</details>\n\n"

        def convert_summary(self, el: Any, text: str, parent_tags: Any) -> str:
            return f"<summary>{text.strip()}</summary>\n\n"

        def convert_dt(self, el: Any, text: str, parent_tags: Any) -> str:
            return f"\n- **{text.strip()}**: "

        def convert_dd(self, el: Any, text: str, parent_tags: Any) -> str:
            return text.strip()

        def convert_dl(self, el: Any, text: str, parent_tags: Any) -> str:
            return "\n\n" + re.sub(r"\n\s*\n+", "\n", text).strip() + "\n\n"

        def convert_a(self, el: Any, text: str, parent_tags: Any) -> str:
            if el.get("id"):
                return f'<a id="{el["id"]}"></a>'
            if el.get("href", "").startswith("#"):
                return f'<a href="{el["href"]}">{text}</a>'
            link: str = super().convert_a(el, text, parent_tags)
            return link

        def convert_tr(self, el: Any, text: str, parent_tags: Any) -> str:
            row: str = super().convert_tr(el, text, parent_tags)
            sides = [
                "---:" if "n" in cell.get("class", ()) else "---"
                for cell in el.find_all(["th", "td"])
                for _ in range(int(cell.get("colspan", 1)))
            ]
            plain = " | ".join("---" for _ in sides)
            return row.replace(f"| {plain} |", f"| {' | '.join(sides)} |")

        def convert_br(self, el: Any, text: str, parent_tags: Any) -> str:
            return "<br>"

    return Converter(heading_style="ATX", sub_symbol="<sub>", code_language="python")


def _latex(text: str) -> str:
    """Return a formula's text as LaTeX: terms of a sum and symbols, which bring none."""
    text = re.sub(r"_(\w+)", r"_{\1}", text)
    text = re.sub(r"\^(\w+)", r"^{\1}", text)
    for written, tex in (("·", r" \cdot "), ("−", "-"), ("⌈", r"\lceil "), ("⌉", r" \rceil")):
        text = text.replace(written, tex)
    return text.replace("max(", r"\max(")
