"""A page's HTML as a tree: no more than the Markdown of pages needs, and quick."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final, Union

Item = Union["Element", str]
EMPTY: Final = frozenset(("br", "hr", "img", "input", "link"))
"""Elements that have no end tag."""


@dataclass(eq=False, slots=True)
class Element:
    """An element: its attributes, and what is in it."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()

    @property
    def elements(self) -> list[Element]:
        """The elements directly in it."""
        return [item for item in self.items if isinstance(item, Element)]

    @property
    def text(self) -> str:
        return "".join(item if isinstance(item, str) else item.text for item in self.items)

    def all(self) -> Iterator[Element]:
        """Yield every element in it, parents first."""
        for element in self.elements:
            yield element
            yield from element.all()


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.path = [Element("")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.path[-1].items.append(element)
        if tag not in EMPTY:
            self.path.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.path[-1].items.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        for depth in range(len(self.path) - 1, 0, -1):
            if self.path[depth].name == tag:
                del self.path[depth:]
                return

    def handle_data(self, data: str) -> None:
        self.path[-1].items.append(data)


def parsed(html: str) -> Element:
    """Return an element without a name that holds everything of an HTML text."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    return builder.path[0]
