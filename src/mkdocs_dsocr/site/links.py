"""Links between pages, in the style of the generator that serves them."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from typing import Literal

from markupsafe import Markup

LinkStyle = Literal["directory", "html", "markdown"]


@dataclass(frozen=True)
class Links:
    """Relative links from one page.

    Attributes
    ----------
    style
        ``directory``: ``layers/Linear/`` (MkDocs's default); ``html``:
        ``layers/Linear.html``; ``markdown``: ``layers/Linear.md``.
    page
        The page, such as ``layers/Linear.md``.
    """

    style: LinkStyle
    page: str

    def to(self, target: str, anchor: str = "") -> str:
        """Return the link to another page or file."""
        start, end = posixpath.dirname(self._url(self.page)), self._url(target)
        relative = posixpath.relpath(end or ".", start or ".")
        if end.endswith("/") or end == "":
            relative += "/"
        return f"{relative}#{anchor}" if anchor else relative

    def layer(self, class_name: str) -> str:
        """Return the link to the page of a module class."""
        return self.to(f"layers/{class_name}.md")

    def named(self, class_name: str) -> Markup:
        """Return the name of a module class as a link to its page."""
        return Markup('<a href="{}">{}</a>').format(self.layer(class_name), class_name)

    def data(self, target: str) -> str:
        """Return a link that a script reads: no generator resolves it, so it is as served."""
        return replace(self, style="directory").to(target) if self._is_source else self.to(target)

    @property
    def _is_source(self) -> bool:
        return self.style == "markdown"

    def _url(self, page: str) -> str:
        """Return where a page or file is served, relative to the plugin's folder."""
        stem, extension = posixpath.splitext(page)
        if extension != ".md" or self._is_source or page.startswith("artifacts/"):
            return page
        if self.style == "html":
            return f"{stem}.html"
        return stem.removesuffix("index") if posixpath.basename(stem) == "index" else f"{stem}/"


def script_path(page: str, *pair: str) -> str:
    """Return the path of the script with a page for a workload and a GPU."""
    return "/".join(("scenarios", *pair, page.removesuffix(".md") + ".js"))
