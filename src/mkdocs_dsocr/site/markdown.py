"""HTML blocks of a page as Markdown: tables, formulas between dollars, signs for styles.

Written here because it is most of a build's time otherwise: libraries that do this take several
times as long as the pages themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from mkdocs_dsocr.site.html import Element, Item, parsed

COLOUR: Final = re.compile(r"dsocr-(?:c\d|stage-\w+|bound-\d)")
"""The class of a colour of charts."""
INDENT: Final = "· "
"""A level of a tree, in a cell."""
NEEDS_SCRIPTS: Final = frozenset(("form", "button", "output", "input", "script", "link"))
"""Elements that are nothing without scripts."""
_MATHML: Final = re.compile(
    r"(<math\b[^>]*>).*?(<annotation\b.*?</annotation>)?(?:</semantics>)?</math>", re.DOTALL
)
"""A formula, and the LaTeX in it: nothing else of it is read."""
Within: TypeAlias = frozenset[str]
"""What elements around say of what is in them: ``inline``, ``verbatim``, ``pre``, ``cell``."""
_HEADINGS: Final = frozenset(("h2", "h3", "h4", "h5"))
_BLOCKS: Final = _HEADINGS | frozenset(
    ("p", "div", "ul", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "td", "th")
)
"""Elements whose white space inside and around means nothing."""
_WITHIN: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(_HEADINGS, frozenset(("inline",))),
    **dict.fromkeys(("td", "th"), frozenset(("inline", "cell"))),
    "code": frozenset(("verbatim",)),
    "kbd": frozenset(("verbatim",)),
    "pre": frozenset(("verbatim", "pre")),
}
"""What is so for all that is in an element."""
_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>|$])")
_LINES: Final = re.compile(r"(?<![\t \r\n])[\t \r\n]*[\r\n][\t \r\n]*")
"""White space with a line break. It is tried once per run of blanks, which may be long."""
_SPACES: Final = re.compile(r"[\t ]+")


def converted(html: str, level: int, up: str, *, quotes_formulas: bool) -> str:
    """Return HTML as Markdown; a heading is Markdown already.

    Parameters
    ----------
    html
        The HTML between two headings.
    level
        Level of the heading above it.
    up
        Path from the page to the folder of all pages.
    quotes_formulas
        Whether formulas are between dollars and backticks, as GitHub reads them.
    """
    if not html.strip() or html.startswith("#"):
        return html.strip()
    root = parsed(_MATHML.sub(r"\1\2</math>", html))
    _restyled(root, level, up)
    text = _Writer(quotes_formulas).written(root, frozenset())
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _restyled(parent: Element, level: int, up: str) -> None:
    """Leave out what needs scripts, and say in signs and pictures what a style sheet shows."""
    if parent.name == "tfoot":
        parent.name = "tbody"
        for cell in parent.all():
            cell.name = "td" if cell.name == "th" else cell.name
    _one_by_one([row for row in parent.elements if row.name == "tr"])
    items: list[Item] = []
    for item in parent.items:
        if isinstance(item, str):
            items.append(item)
        elif item.name not in NEEDS_SCRIPTS and "data-cost" not in item.attributes:
            _restyled(item, level, up)
            is_link = item.name == "a" and "planner.md" in item.attributes.get("href", "")
            items += item.items if is_link else _as_signs(item, level, up)
    parent.items = items
    if "dsocr-switch" in parent.classes:
        labels = [e.text for e in parent.elements if e.name == "label"]
        parent.items = [e for e in parent.items if isinstance(e, str) or e.name != "label"]
        shown = [e for e in parent.all() if e.name == "div"]
        for label, element in zip(labels, shown, strict=True):
            element.items.insert(0, Element("p", items=[label]))


def _one_by_one(rows: list[Element]) -> None:
    """Lay the cells of rows out one by one."""
    for index, row in enumerate(rows):
        for cell in row.elements:
            for below in rows[index + 1 : index + int(cell.attributes.get("rowspan", 1))]:
                below.items.insert(0, Element("td"))


def _as_signs(tag: Element, level: int, up: str) -> list[Item]:
    """Return what stands for an element: a place for its id, and itself."""
    before: list[Item] = []
    classes = tag.classes
    if "dsocr-key" in classes:
        colour = next(c for c in classes if COLOUR.fullmatch(c))
        return [Element("img", {"src": f"{up}{legend_key(colour)}", "alt": "■"})]
    if "dsocr-depth" in classes:
        tag.items = [INDENT * int(classes[-1].rpartition("-")[2])]
    elif "dsocr-shape" in classes or tag.name == "small":
        tag.name, before = "em", [" "]
    elif "dsocr-ok" in classes or "dsocr-bad" in classes:
        tag.name = "strong"
        tag.items.insert(0, "✓ " if "dsocr-ok" in classes else "✗ ")
    elif tag.name in ("h3", "h4"):
        tag.name = f"h{level + 1}"
    if "id" in tag.attributes:
        place = Element("a", {"id": tag.attributes["id"]})
        if tag.name == "tr":
            next(cell for cell in tag.elements if cell.name == "td").items.insert(0, place)
        else:
            before.append(place)
    return [*before, tag]


def legend_key(colour: str) -> str:
    """Return the file that shows a colour in a legend."""
    return f"images/key-{colour.removeprefix('dsocr-')}.svg"


class _Writer:
    """Writes elements as Markdown, with anchors, numbers on the right, and formulas.

    Parameters
    ----------
    quotes_formulas
        As in :func:`converted`.
    """

    def __init__(self, quotes_formulas: bool) -> None:
        self._formula = "$`{}`$" if quotes_formulas else "${}$"

    def written(self, parent: Element, within: Within) -> str:
        """Return what is in an element; `within` is what the elements around it say of it."""
        within |= _WITHIN.get(parent.name, frozenset())
        is_block, items = parent.name in _BLOCKS, parent.items
        text, after, last_element = "", is_block, ""
        for index, item in enumerate(items):
            if isinstance(item, str):
                following = items[index + 1] if index + 1 < len(items) else None
                before = (following is None and is_block) or _is_apart(following)
                part = _text(item, within, after=after, before=before)
                after = False
            else:
                part = self._element(item, parent, within)
                if item.name == last_element == "div" and "cell" in within:
                    part = f"<br>{part}"
                last_element, after = item.name, _is_apart(item)
            text = text + part if "pre" in within else _joined(text, part)
        return text

    def _element(self, tag: Element, parent: Element, within: Within) -> str:
        text = self.written(tag, within)
        if tag.name == "math":
            return self._math(tag)
        if tag.name == "tr":
            return _row(tag, parent, text)
        write = _WRITERS.get(tag.name)
        return text if write is None else write(tag, text, within)

    def _math(self, tag: Element) -> str:
        found = next((e.text for e in tag.all() if e.name == "annotation"), None)
        return self._formula.format(latex(tag.attributes["alttext"]) if found is None else found)


def _text(text: str, within: Within, *, after: bool, before: bool) -> str:
    """Return text as Markdown, without the white space that touches a block."""
    if not text.strip() and (after or before):
        return ""
    if "pre" not in within:
        text = _SPACES.sub(" ", _LINES.sub("\n", text))
    if "verbatim" not in within:
        text = _SPECIAL.sub(r"\\\1", text.replace("&", "&amp;"))
    text = text.lstrip() if after else text
    return text.rstrip() if before else text


def _joined(text: str, part: str) -> str:
    """Join two parts with no more than one empty line between them."""
    above, below = len(text) - len(text.rstrip("\n")), len(part) - len(part.lstrip("\n"))
    if not above or not below:
        return text + part
    return text[:-above] + "\n" * min(2, max(above, below)) + part[below:]


def _is_apart(item: Item | None) -> bool:
    """Tell whether white space around an item means nothing."""
    return isinstance(item, Element) and (item.name in _BLOCKS or item.name == "pre")


def _block(tag: Element, text: str, within: Within) -> str:
    text = text.strip()
    if "inline" in within:
        return f" {text} "
    return f"\n\n{text}\n\n" if text else ""


def _heading(tag: Element, text: str, within: Within) -> str:
    return f"\n\n{'#' * int(tag.name[1:])} {' '.join(text.split())}\n\n"


def _marked(mark: str, end: str = "") -> Callable[[Element, str, Within], str]:
    """Return a writer that puts signs around text, and no white space inside them."""

    def write(tag: Element, text: str, within: Within) -> str:
        inner = text.strip()
        if not inner or "verbatim" in within:
            return text if inner else ""
        space = " " if text[0] == " " else "", " " if text[-1] == " " else ""
        return f"{space[0]}{mark}{inner}{end or mark}{space[1]}"

    return write


def _link(tag: Element, text: str, within: Within) -> str:
    target = tag.attributes.get("href", "")
    if "id" in tag.attributes:
        return f'<a id="{tag.attributes["id"]}"></a>'
    if target.startswith("#"):
        return f'<a href="{target}">{text}</a>'
    title = f' "{tag.attributes["title"]}"' if "title" in tag.attributes else ""
    return _marked("[", f"]({target}{title})")(tag, text, within) if target else text


def _cell(tag: Element, text: str, within: Within) -> str:
    return f" {text.strip()}".replace("\n", " ") + " |" * _width(tag)


def _width(cell: Element) -> int:
    return int(cell.attributes.get("colspan", 1))


def _row(tag: Element, parent: Element, text: str) -> str:
    """Return a row; below the first one of a head, the line that makes a table of it."""
    row = f"|{text}\n"
    if parent.name != "thead" or parent.elements[0] is not tag:
        return row
    return f"{row}{_line('---:' if 'n' in c.classes else '---' for c in _columns(tag))}"


def _columns(row: Element) -> Iterator[Element]:
    """Yield the cell of each column."""
    for cell in row.elements:
        yield from [cell] * _width(cell)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _table(tag: Element, text: str, within: Within) -> str:
    """Return a table; one without a head gets an empty one, as Markdown asks."""
    head = ""
    if all(part.name != "thead" for part in tag.elements):
        columns = list(_columns(next(e for e in tag.all() if e.name == "tr")))
        head = _line("" for _ in columns) + _line("---" for _ in columns)
    return f"\n\n{head}{text.strip()}\n\n"


_WRITERS: Final[Mapping[str, Callable[[Element, str, Within], str]]] = {
    **dict.fromkeys(_HEADINGS, _heading),
    **dict.fromkeys(("p", "div"), _block),
    **dict.fromkeys(("td", "th"), _cell),
    **dict.fromkeys(("em", "i"), _marked("*")),
    **dict.fromkeys(("code", "kbd"), _marked("`")),
    **dict.fromkeys(("strong", "b"), _marked("**")),
    "sub": _marked("<sub>", "</sub>"),
    "sup": _marked("<sup>", "</sup>"),
    "a": _link,
    "img": lambda tag, text, within: (
        f"![{tag.attributes['alt']}]({tag.attributes['src']})"
        if "inline" not in within
        else tag.attributes["alt"]
    ),
    "br": lambda tag, text, within: "<br>",
    "details": lambda tag, text, within: f"\n\n<details>\n\n{text.strip()}\n\n</details>\n\n",
    "summary": lambda tag, text, within: f"<summary>{text.strip()}</summary>\n\n",
    "dt": lambda tag, text, within: f"\n- **{text.strip()}**: ",
    "dd": lambda tag, text, within: text.strip(),
    "dl": lambda tag, text, within: "\n\n" + re.sub(r"\n\s*\n+", "\n", text).strip() + "\n\n",
    "table": _table,
    "ul": lambda tag, text, within: f"\n\n{text}\n",
    "li": lambda tag, text, within: "* " + text.strip().replace("\n", "\n  ") + "\n",
    "pre": lambda tag, text, within: f"\n\n```python\n{text.strip(chr(10)).rstrip()}\n```\n\n",
}
"""How each element is written; others are what is in them."""


def latex(text: str) -> str:
    """Return a formula's text as LaTeX: terms of a sum and symbols, which bring none."""
    text = re.sub(r"_(\w+)", r"_{\1}", text)
    text = re.sub(r"\^(\w+)", r"^{\1}", text)
    for written, tex in (("·", r" \cdot "), ("−", "-"), ("⌈", r"\lceil "), ("⌉", r" \rceil")):
        text = text.replace(written, tex)
    return text.replace("max(", r"\max(")
