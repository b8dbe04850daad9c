"""Links between pages, in the style of the generator that serves them."""

from __future__ import annotations

import posixpath
from typing import Literal

LinkStyle = Literal["directory", "html", "markdown"]


class Links:
    """Builds relative links.

    Parameters
    ----------
    style
        ``directory``: ``layers/Linear/`` (MkDocs's default); ``html``:
        ``layers/Linear.html``; ``markdown``: ``layers/Linear.md``.
    """

    def __init__(self, style: LinkStyle) -> None:
        self.style = style

    def to(self, page: str, target: str, anchor: str = "") -> str:
        """Return the link from one page to another, both as ``layers/Linear.md``."""
        start, end = posixpath.dirname(self.url(page)), self.url(target)
        relative = posixpath.relpath(end or ".", start or ".")
        if end.endswith("/") or end == "":
            relative += "/"
        return f"{relative}#{anchor}" if anchor else relative

    def url(self, page: str) -> str:
        """Return where a page or file is served, relative to the plugin's folder."""
        stem, extension = posixpath.splitext(page)
        if extension != ".md" or self.style == "markdown" or page.startswith("artifacts/"):
            return page
        if self.style == "html":
            return f"{stem}.html"
        return stem.removesuffix("index") if posixpath.basename(stem) == "index" else f"{stem}/"
