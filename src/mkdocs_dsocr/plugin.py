"""The MkDocs plugin: hooks that hand over to :mod:`mkdocs_dsocr.build.pipeline`."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.livereload import LiveReloadServer
from mkdocs.plugins import BasePlugin, CombinedEvent, event_priority
from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page
from mkdocs.utils.templates import TemplateContext
from mkdocs_gen_files.editor import FilesEditor

from mkdocs_dsocr.build import artifacts, kept_pages
from mkdocs_dsocr.build.session import BuildSession
from mkdocs_dsocr.build.trace_store import timed
from mkdocs_dsocr.build.worker import Pages, pages_of
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.errors import room_to_write
from mkdocs_dsocr.inputs.files import stamps
from mkdocs_dsocr.io import default_cache, source_digest, without_collections
from mkdocs_dsocr.plugin_files import Made, arranged, compact, converter, list_twins
from mkdocs_dsocr.plugin_messages import has_to_say, log, report
from mkdocs_dsocr.plugin_options import (
    DsocrConfig,
    check_path,
    check_plugins,
    is_excluded,
    is_not_in_nav,
    settings_of,
    style_of,
)
from mkdocs_dsocr.plugin_watch import InputWatch, input_stamps
from mkdocs_dsocr.resources import PACKAGE
from mkdocs_dsocr.signals import unwind_on_signals
from mkdocs_dsocr.site.blocks import as_text, as_words, description, forget, put_back, taken_out
from mkdocs_dsocr.site.navigation import NAV_TITLE, is_named, only, placed, prefixed
from mkdocs_dsocr.site.pages import assets, error_pages, nav

STYLE, SCRIPTS = "assets/dsocr.css", ("assets/links.js", "assets/dsocr.js")


class DsocrPlugin(BasePlugin[DsocrConfig]):  # type: ignore[no-untyped-call]
    """Adds the analytic model of a model to a site: DeepSeek-OCR's, unless told otherwise."""

    supports_multiple_instances = True

    def __init__(self) -> None:
        self._results = BuildSession(log.info)
        self._later: list[tuple[str, Path]] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._watch: InputWatch | None = None
        self._blocks: dict[str, tuple[str, ...]] = {}
        self._is_serving = False
        self._made: Made | None = None
        self._code = ""
        self._seen: tuple[tuple[str, int, int], ...] = ()

    def on_startup(self, *, command: Literal["build", "gh-deploy", "serve"], dirty: bool) -> None:
        """Keep this object, and with it the trace and the pages, over the rebuilds of a server."""
        unwind_on_signals()
        self._is_serving = command == "serve"
        self._code = source_digest([PACKAGE]) if self._is_serving else ""

    def on_serve(
        self, server: LiveReloadServer, /, *, config: MkDocsConfig, builder: Any
    ) -> LiveReloadServer:
        """Watch the inputs, also those that are still to come."""
        if self.config.enabled:
            self._watch = InputWatch(server)
            self._watch.follow(settings_of(self.config, config), self._seen)
        return server

    def on_shutdown(self) -> None:
        """Remove what was kept."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        self.on_build_error()

    def on_config(self, config: MkDocsConfig) -> MkDocsConfig:
        """Check the options, watch the input files, add the style sheet."""
        if not self.config.enabled:
            return config
        path = self.config.path
        instances = [p for p in config.plugins.values() if isinstance(p, DsocrPlugin)]
        others = [p.config.path for p in instances if p is not self and p.config.enabled]
        try:
            check_path(path, others)
            check_plugins(config.plugins)
        except InputError as error:
            raise PluginError(f"dsocr: {error}") from error
        if self._is_serving:
            config.watch.append(str(PACKAGE))
        if not any(str(css).endswith(STYLE) for css in config.extra_css):
            # Several instances of the plugin share the first one's.
            if not is_excluded(config, f"{path}/{STYLE}"):
                config.extra_css.insert(0, f"{path}/{STYLE}")
            for script in SCRIPTS:
                if not is_excluded(config, f"{path}/{script}"):
                    config.extra_javascript.append(f"{path}/{script}")
        return config

    @event_priority(50)
    def on_files(self, files: Files, *, config: MkDocsConfig) -> Files:
        """Analyse, trace, verify, and add pages and artifacts to the site."""
        path = self.config.path
        if not self.config.enabled:
            if config.nav is not None:
                config.nav, _ = placed(config.nav, path, None)
            return files
        try:
            state = self._state(files, config, path)
            if self._made is None or self._made.state != state:
                self._made = self._make(files, config, path, state)
        except InputError as error:
            if not self._is_serving:
                raise PluginError(f"dsocr: {error.in_mkdocs}") from error
            log.error("%s", error.in_mkdocs)
            # The error is shown in place of each page, so that the page comes back there.
            made = self._made
            names = made.pages if made is not None else ["index.md"]
            places = made.nav if made is not None else ["index.md"]
            others = {f"assets/{name}": data for name, data in assets().items()}
            pages = error_pages(error.in_mkdocs, names)
            self._made = self._write(files, config, path, pages, others, nav=places)
        self._fill_nav(config, path, self._made.nav)
        return self._made.added_to(files, config)

    def _state(self, files: Files, config: MkDocsConfig, path: str) -> tuple[Any, ...]:
        """Return what the pages depend on: as long as it stays, they do."""
        settings = settings_of(self.config, config)
        self._seen = input_stamps(settings)
        if self._watch is not None:
            self._watch.follow(settings, self._seen)
        code = [PACKAGE] if self._is_serving else []
        authors = frozenset(f.src_uri for f in files if f.src_uri.startswith(f"{path}/"))
        return (settings, config.use_directory_urls, authors, self._seen, stamps(code))

    @without_collections()
    def _make(self, files: Files, config: MkDocsConfig, path: str, state: tuple[Any, ...]) -> Made:
        settings, style = settings_of(self.config, config), style_of(config)
        uses_cache = self.config.cache
        cache = default_cache() if uses_cache else None
        key = None
        if cache is not None and not self._is_serving:
            key = kept_pages.key_of(settings, style)
            kept = kept_pages.load(cache, key) if key is not None else None
            if kept is not None:
                log.info("pages of an earlier build: no input, option or code has changed since")
                made = self._write(files, config, path, kept.pages, kept.others, nav=kept.nav)
                return dataclasses.replace(made, state=state)
        if self._is_serving and source_digest([PACKAGE]) != self._code:
            with timed(log.info, "making the pages with edited code, in a process of its own"):
                fresh = pages_of(settings, style, uses_cache=uses_cache, log=log.info)
            for failure in fresh.failures:
                log.warning(failure)
            made = self._write(files, config, path, fresh.pages, fresh.others, nav=fresh.nav)
            return dataclasses.replace(made, state=state)
        result, later = self._results.result(
            settings, uses_cache=uses_cache, may_be_stale=self._is_serving
        )
        if not result.is_stale:
            report(result, config.strict)
        with timed(log.info, "writing pages and artifacts"):
            # A server shows edits at once: it makes no pages for other workloads and GPUs.
            convert = None if self._is_serving else converter(config)
            site, pages, others = artifacts.site_files(result, style, later, cache, convert)
            made = self._write(files, config, path, pages, others, nav=nav(site), later=later)
        if cache is not None and key is not None and not later and not has_to_say(result):
            kept_pages.save(cache, key, Pages(pages, others, nav(site), []))
        return dataclasses.replace(made, state=state)

    def on_nav(self, nav: Navigation, *, config: MkDocsConfig, files: Files) -> Navigation:
        """Order and group the pages where MkDocs makes the navigation from files."""
        if config.nav is None and self._made is not None:
            arranged(nav, path := self.config.path.strip("/"), prefixed(self._made.nav, path))
        return nav

    def on_env(self, env: Environment, *, config: MkDocsConfig, files: Files) -> None:
        """Put files in their places that were made while pages were converted."""
        try:
            with self._results.taken() as folder, room_to_write(config.site_dir):
                if folder is not None:
                    for name, target in self._later:
                        target.parent.mkdir(parents=True, exist_ok=True)
                        shutil.move(folder / name, target)
        except InputError as error:
            raise PluginError(f"dsocr: {error.in_mkdocs}") from error
        self._later = []

    def on_page_markdown(
        self, markdown: str, *, page: Page, config: MkDocsConfig, files: Files
    ) -> str:
        """Spare Markdown the raw HTML of our own pages."""
        if page.file.src_uri not in self._blocks:
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

    def on_post_page(self, output: str, *, page: Page, config: MkDocsConfig) -> str:
        """Drop the theme's indentation: it is a tenth of a page."""
        return compact(output) if page.file.src_uri in self._blocks else output

    def on_post_build(self, *, config: MkDocsConfig) -> None:
        if self.config.enabled and self.config.markdown_twins:
            instances = (p for p in config.plugins.values() if isinstance(p, DsocrPlugin))
            list_twins(config, [p.config.path.strip("/") for p in instances])
        if not self._is_serving:
            self.on_shutdown()

    def on_build_error(self, **_: Exception) -> None:
        """Remove what the build made."""
        self._clean()
        self._results.stop()

    def _write(
        self,
        files: Files,
        config: MkDocsConfig,
        path: str,
        pages: dict[str, str],
        others: dict[str, bytes],
        *,
        nav: list[Any],
        later: Sequence[str] = (),
    ) -> Made:
        """Write everything through one editor; an author's own file of the same name wins."""
        self._clean()
        self._later = []
        forget()  # pages that are shown no more
        taken = {file.src_uri for file in files}
        mine = {name: text for name, text in pages.items() if f"{path}/{name}" not in taken}
        if self.config.markdown_twins and mine:
            cache = default_cache() if self.config.cache else None
            others = others | artifacts.twins(mine, style_of(config), cache)
        with room_to_write(tempfile.gettempdir()):
            return self._written(files, config, path, pages, others, nav, later)

    def _written(
        self,
        files: Files,
        config: MkDocsConfig,
        path: str,
        pages: dict[str, str],
        others: dict[str, bytes],
        nav: list[Any],
        later: Sequence[str],
    ) -> Made:
        self._folder = tempfile.TemporaryDirectory(prefix="dsocr_", ignore_cleanup_errors=True)
        folder = self._folder.name
        taken = {file.src_uri for file in files}
        shown = [name for name in pages if not is_excluded(config, f"{path}/{name}")]
        self._blocks = {f"{path}/{name}": () for name in shown if f"{path}/{name}" not in taken}
        places: list[tuple[str, str]] = []
        with FilesEditor(files, config, folder) as editor:
            contents: dict[str, bytes | None] = {k: v.encode() for k, v in pages.items()}
            contents |= others | {f"artifacts/{name}": None for name in later}
            for name, content in contents.items():
                uri = f"{path}/{name}"
                if is_excluded(config, uri):
                    continue
                if uri in taken:
                    log.info("%s is the author's own and stays", uri)
                    continue
                # A Markdown artifact is a file to download: MkDocs must not take it for a page.
                source = f"{uri}.txt" if uri.endswith(".md") and name not in pages else uri
                if content is None:
                    place = Path(folder, source)
                    self._later.append((name.removeprefix("artifacts/"), place))
                else:
                    with editor.open(source, "wb") as out:
                        out.write(content)
                places.append((source, uri))
        return Made((), folder, tuple(places), only(nav, shown), tuple(shown))

    def _fill_nav(self, config: MkDocsConfig, path: str, pages: list[Any]) -> None:
        """Put the pages where the navigation asks for them; say so where it does not."""
        if config.nav is None:
            return
        entries = prefixed(pages, path) or None
        config.nav, is_placed = placed(config.nav, path, entries)
        is_known = is_placed or entries is None or is_named(config.nav, path)
        if not is_known and not is_not_in_nav(config, f"{path}/index.md"):
            log.warning(
                "the nav in mkdocs.yml does not name these pages; add the line\n"
                f"  - {NAV_TITLE}: {path}/\n"
                f"or, where they are in no navigation on purpose, not_in_nav: {path}/"
            )

    def _clean(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = self._made = None
