"""HTML blocks of a page as Markdown: tables, formulas between dollars, signs for styles."""

from __future__ import annotations

import re
from typing import Any, Final

from bs4 import BeautifulSoup
from markdownify import MarkdownConverter

OPTIONS: Final = {
    "heading_style": "ATX",
    "sub_symbol": "<sub>",
    "sup_symbol": "<sup>",
    "code_language": "python",
}
COLOUR: Final = re.compile(r"dsocr-(?:c\d|stage-\w+|bound-\d)")
"""The class of a colour of charts."""
INDENT: Final = "· "
"""A level of a tree, in a cell."""
_MATHML: Final = re.compile(
    r"(<math\b[^>]*>).*?(<annotation\b.*?</annotation>)?(?:</semantics>)?</math>", re.DOTALL
)
"""A formula, and the LaTeX in it: nothing else of it is read."""


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
    soup = BeautifulSoup(_MATHML.sub(r"\1\2</math>", html), "html.parser")
    for heading in soup.select("h3, h4"):
        heading.name = f"h{level + 1}"
    _without_scripts(soup)
    _without_styles(soup, up)
    _one_by_one(soup)
    text: str = _Converter(quotes_formulas=quotes_formulas, **OPTIONS).convert_soup(soup)
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
        colour = next(c for c in key["class"] if COLOUR.fullmatch(c))
        key.replace_with(soup.new_tag("img", src=f"{up}{legend_key(colour)}", alt="■"))
    for depth in soup.select(".dsocr-depth"):
        depth.string = INDENT * int(depth["class"][-1].rpartition("-")[2])
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


def legend_key(colour: str) -> str:
    """Return the file that shows a colour in a legend."""
    return f"images/key-{colour.removeprefix('dsocr-')}.svg"


_Base: Any = MarkdownConverter  # without types for the methods of its tags


class _Converter(_Base):  # type: ignore[misc]
    """Writes HTML as Markdown, with anchors, numbers on the right, and formulas."""

    def escape(self, text: str, parent_tags: Any) -> str:
        return re.sub(r"([\\`*_\[\]<>|$])", r"\\\1", text.replace("&", "&amp;"))

    def convert_math(self, el: Any, text: str, parent_tags: Any) -> str:
        annotation = el.find("annotation")
        formula = annotation.text if annotation else latex(el["alttext"])
        return f"$`{formula}`$" if self.options["quotes_formulas"] else f"${formula}$"

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
        if "| --- |" not in row:
            return row
        sides = [
            "---:" if "n" in cell.get("class", ()) else "---"
            for cell in el.find_all(["th", "td"])
            for _ in range(int(cell.get("colspan", 1)))
        ]
        plain = " | ".join("---" for _ in sides)
        return row.replace(f"| {plain} |", f"| {' | '.join(sides)} |")

    def convert_br(self, el: Any, text: str, parent_tags: Any) -> str:
        return "<br>"


def latex(text: str) -> str:
    """Return a formula's text as LaTeX: terms of a sum and symbols, which bring none."""
    text = re.sub(r"_(\w+)", r"_{\1}", text)
    text = re.sub(r"\^(\w+)", r"^{\1}", text)
    for written, tex in (("·", r" \cdot "), ("−", "-"), ("⌈", r"\lceil "), ("⌉", r" \rceil")):
        text = text.replace(written, tex)
    return text.replace("max(", r"\max(")
