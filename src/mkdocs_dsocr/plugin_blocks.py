"""Hooks that spare Markdown and search plugins the raw HTML of our own pages."""

from __future__ import annotations

from collections.abc import Iterable

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import CombinedEvent, event_priority
from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page
from mkdocs.utils.templates import TemplateContext

from mkdocs_dsocr.site.blocks import as_text, as_words, description, put_back, taken_out


class RawBlocks:
    """Takes raw HTML out of pages before it would be parsed, and puts it back."""

    def __init__(self) -> None:
        self._blocks: dict[str, tuple[str, ...]] = {}

    def take_from(self, pages: Iterable[str]) -> None:
        """Set which pages have raw HTML, by their paths in the docs folder."""
        self._blocks = dict.fromkeys(pages, ())

    def is_own(self, page: Page) -> bool:
        """Tell whether a page is one of them."""
        return page.file.src_uri in self._blocks

    def on_page_markdown(
        self, markdown: str, *, page: Page, config: MkDocsConfig, files: Files
    ) -> str:
        """Spare Markdown the raw HTML of our own pages."""
        if not self.is_own(page):
            return markdown
        if text := description(markdown):
            page.meta.setdefault("description", text)
        text, self._blocks[page.file.src_uri] = taken_out(markdown)
        return text

    @event_priority(100)
    def _before_markdown(self, html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
        blocks = self._blocks.get(page.file.src_uri, ())
        if "llmstxt" in config.plugins:
            blocks = tuple(map(as_text, blocks))
        return put_back(html, blocks)

    @event_priority(-100)
    def _after_markdown(self, html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
        if "llmstxt" in config.plugins:
            for block in self._blocks.get(page.file.src_uri, ()):
                html = html.replace(as_text(block), block, 1)
        return html

    on_page_content = CombinedEvent(_before_markdown, _after_markdown)
    """Put the raw HTML back; llmstxt, which makes Markdown of it, sees formulas as TeX."""

    @event_priority(100)
    def _before_search(
        self, context: TemplateContext, *, page: Page, config: MkDocsConfig, nav: Navigation
    ) -> TemplateContext | None:
        page.content = as_words(page.content or "", self._blocks.get(page.file.src_uri, ()))
        return context

    @event_priority(-100)
    def _after_search(
        self, context: TemplateContext, *, page: Page, config: MkDocsConfig, nav: Navigation
    ) -> TemplateContext | None:
        page.content = put_back(page.content or "", self._blocks.get(page.file.src_uri, ()))
        return context

    on_page_context = CombinedEvent(_before_search, _after_search)
    """Spare a search plugin the raw HTML too."""
