"""The MkDocs plugin: hooks that hand over to :mod:`mkdocs_dsocr.build.pipeline`."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment
from mkdocs.config import base
from mkdocs.config import config_options as c
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import BasePlugin, CombinedEvent, event_priority, get_plugin_logger
from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page
from mkdocs.utils.templates import TemplateContext
from mkdocs_gen_files.editor import FilesEditor

from mkdocs_dsocr.build import artifacts, pipeline
from mkdocs_dsocr.build.session import BuildSession
from mkdocs_dsocr.build.trace_store import timed
from mkdocs_dsocr.build.worker import pages_of
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.errors import room_to_write
from mkdocs_dsocr.inputs.files import stamps
from mkdocs_dsocr.io import default_cache, source_digest
from mkdocs_dsocr.plugin_files import Made, list_twins
from mkdocs_dsocr.resources import (
    DEFAULT_HARDWARE,
    DEFAULT_MODEL,
    DEFAULT_WORKLOAD,
    PACKAGE,
)
from mkdocs_dsocr.signals import unwind_on_signals
from mkdocs_dsocr.site.blocks import as_words, put_back, taken_out
from mkdocs_dsocr.site.links import LinkStyle
from mkdocs_dsocr.site.navigation import NAV_TITLE, placed, prefixed
from mkdocs_dsocr.site.pages import error_pages, nav

log = get_plugin_logger("dsocr")

STYLE, SCRIPT = "assets/dsocr.css", "assets/dsocr.js"


class DsocrConfig(base.Config):  # type: ignore[no-untyped-call]
    """Options in ``mkdocs.yml``."""

    enabled = c.Type(bool, default=True)
    path = c.Type(str, default="dsocr")
    model = c.Type(str, default=DEFAULT_MODEL)
    workloads = c.ListOfItems(c.Type(str), default=[DEFAULT_WORKLOAD])
    hardware = c.ListOfItems(c.Type(str), default=[DEFAULT_HARDWARE])
    device = c.Choice(("auto", "cuda", "meta"), default="auto")
    measurements = c.ListOfItems(c.Type(str), default=[])
    cache = c.Type(bool, default=True)
    trust_remote_code = c.Type(bool, default=False)
    reviews = c.Type(str, default="")
    require_review = c.Type(bool, default=False)
    baseline = c.Type(str, default="")
    compared_models = c.ListOfItems(c.Type(str), default=[])
    markdown_twins = c.Type(bool, default=True)


class DsocrPlugin(BasePlugin[DsocrConfig]):  # type: ignore[no-untyped-call]
    """Adds the analytic model of a model to a site: DeepSeek-OCR's, unless told otherwise."""

    supports_multiple_instances = True

    def __init__(self) -> None:
        self._results = BuildSession(log.info)
        self._later: list[tuple[str, Path]] = []
        self._folder: str | None = None
        self._blocks: dict[str, tuple[str, ...]] = {}
        self._is_serving = False
        self._made: Made | None = None
        self._code = ""

    def on_startup(self, *, command: Literal["build", "gh-deploy", "serve"], dirty: bool) -> None:
        """Keep this object, and with it the trace and the pages, over the rebuilds of a server."""
        unwind_on_signals()
        self._is_serving = command == "serve"
        self._code = source_digest([PACKAGE]) if self._is_serving else ""

    def on_shutdown(self) -> None:
        """Remove what was kept."""
        self._clean()
        self._results.stop()

    def on_config(self, config: MkDocsConfig) -> MkDocsConfig:
        """Check the options, watch the input files, add the style sheet."""
        if not self.config.enabled:
            return config
        path = self.config.path.strip("/")
        if not path or path.startswith(".") or ".." in path.split("/"):
            raise PluginError(
                f"dsocr: mkdocs.yml: path: found {self.config.path!r}; "
                "allowed: a folder within the site, such as 'dsocr'"
            )
        instances = [p for p in config.plugins.values() if isinstance(p, DsocrPlugin)]
        others = [p.config for p in instances if p is not self and p.config.enabled]
        if path in [other.path.strip("/") for other in others]:
            raise PluginError(
                f"dsocr: mkdocs.yml: path: found {path!r} twice; "
                "allowed: a folder for each instance"
            )
        if "i18n" in config.plugins:
            raise PluginError(
                "dsocr: mkdocs.yml: plugins: found i18n, which drops the pages that other plugins "
                "make; allowed: either of the two (pages that `dsocr export` writes can be "
                "translated as your own)"
            )
        if self._is_serving:
            config.watch.append(str(PACKAGE))
        try:
            # What is not there cannot be watched: a file of reviews may be still to come.
            config.watch.extend(str(f) for f in self._settings(config).files() if f.exists())
        except InputError as error:
            if not self._is_serving:
                raise PluginError(f"dsocr: {error.in_mkdocs}") from error
        if not any(str(css).endswith(STYLE) for css in config.extra_css):
            # Several instances of the plugin share the first one's.
            config.extra_css.insert(0, f"{path}/{STYLE}")
            config.extra_javascript.append(f"{path}/{SCRIPT}")
        return config

    @event_priority(50)
    def on_files(self, files: Files, *, config: MkDocsConfig) -> Files:
        """Analyse, trace, verify, and add pages and artifacts to the site."""
        path = self.config.path.strip("/")
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
            self._made = self._write(
                files, config, path, error_pages(error.in_mkdocs), {}, nav=["index.md"]
            )
        self._fill_nav(config, path, self._made.nav)
        return self._made.added_to(files, config)

    def _state(self, files: Files, config: MkDocsConfig, path: str) -> tuple[Any, ...]:
        """Return what the pages depend on: as long as it stays, they do."""
        settings = self._settings(config)
        code = [PACKAGE] if self._is_serving else []
        authors = frozenset(f.src_uri for f in files if f.src_uri.startswith(f"{path}/"))
        return (settings, config.use_directory_urls, authors, stamps([*settings.files(), *code]))

    def _make(self, files: Files, config: MkDocsConfig, path: str, state: tuple[Any, ...]) -> Made:
        style = _style(config)
        if self._is_serving and source_digest([PACKAGE]) != self._code:
            with timed(log.info, "making the pages with edited code, in a process of its own"):
                fresh = pages_of(
                    self._settings(config), style, uses_cache=self.config.cache, log=log.info
                )
            for failure in fresh.failures:
                log.warning(failure)
            made = self._write(files, config, path, fresh.pages, fresh.others, nav=fresh.nav)
            return dataclasses.replace(made, state=state)
        result, later = self._results.result(
            self._settings(config), uses_cache=self.config.cache, may_be_stale=self._is_serving
        )
        if not result.is_stale:
            self._report_failures(result, config)
        with timed(log.info, "writing pages and artifacts"):
            cache = default_cache() if self.config.cache else None
            site, pages, others = artifacts.site_files(result, style, later, cache)
            made = self._write(files, config, path, pages, others, nav=nav(site), later=later)
        return dataclasses.replace(made, state=state)

    def on_env(self, env: Environment, *, config: MkDocsConfig, files: Files) -> None:
        """Put files in their places that were made while pages were converted."""
        try:
            folder = self._results.take()
            if folder is not None:
                with room_to_write(config.site_dir):
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
        text, self._blocks[page.file.src_uri] = taken_out(markdown)
        return text

    def on_page_content(self, html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
        """Put the raw HTML back."""
        blocks = self._blocks.get(page.file.src_uri)
        return put_back(html, blocks) if blocks else html

    @event_priority(100)
    def _before_search(
        self, context: TemplateContext, *, page: Page, config: MkDocsConfig, nav: Navigation
    ) -> TemplateContext | None:
        blocks = self._blocks.get(page.file.src_uri)
        if blocks:
            page.content = as_words(page.content or "", blocks)
        return context

    @event_priority(-100)
    def _after_search(
        self, context: TemplateContext, *, page: Page, config: MkDocsConfig, nav: Navigation
    ) -> TemplateContext | None:
        blocks = self._blocks.get(page.file.src_uri)
        if blocks:
            page.content = put_back(page.content or "", blocks)
        return context

    on_page_context = CombinedEvent(_before_search, _after_search)
    """Spare a search plugin the raw HTML too."""

    def on_post_build(self, *, config: MkDocsConfig) -> None:
        if self.config.enabled and self.config.markdown_twins:
            instances = (p for p in config.plugins.values() if isinstance(p, DsocrPlugin))
            list_twins(config, [p.config.path.strip("/") for p in instances])
        if not self._is_serving:
            self.on_shutdown()

    def on_build_error(self, *, error: Exception) -> None:
        self.on_shutdown()

    def _settings(self, config: MkDocsConfig) -> pipeline.Settings:
        return pipeline.Settings(
            model=self.config.model,
            workloads=tuple(self.config.workloads),
            hardware=tuple(self.config.hardware),
            device=self.config.device,
            measurements=tuple(self.config.measurements),
            trust_remote_code=self.config.trust_remote_code,
            reviews=self.config.reviews,
            require_review=self.config.require_review,
            baseline=self.config.baseline,
            compared_models=tuple(self.config.compared_models),
            base=Path(config.config_file_path or ".").parent,
        )

    def _report_failures(self, result: pipeline.Result, config: MkDocsConfig) -> None:
        main = result.main
        for note in (*main.config.notes, *main.config.storage.notes):
            log.info(note)
        for warning in main.warnings:
            # Stating weight_dtype settles one; an unused key is none of a build's failures.
            (log.warning if warning in main.plan.warnings else log.info)(warning)
        for failure in result.failures[: len(result.verification.failures)]:
            log.warning("verification: %s", failure)
        for failure in result.failures[len(result.verification.failures) :]:
            log.warning(failure)
        if result.verification.failures and config.strict:
            failures = "; ".join(result.failures[: len(result.verification.failures)])
            raise PluginError(f"dsocr: formula and trace differ: {failures}")
        if result.failures and config.strict:
            raise PluginError(f"dsocr: {'; '.join(result.failures)}")

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
        taken = {file.src_uri for file in files}
        mine = {name: text for name, text in pages.items() if f"{path}/{name}" not in taken}
        if self.config.markdown_twins and mine:
            cache = default_cache() if self.config.cache else None
            others = others | artifacts.twins(mine, _style(config), cache)
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
        self._folder = tempfile.mkdtemp(prefix="dsocr_")
        taken = {file.src_uri for file in files}
        self._blocks = {f"{path}/{name}": () for name in pages if f"{path}/{name}" not in taken}
        places: list[tuple[str, str]] = []
        with FilesEditor(files, config, self._folder) as editor:
            contents: dict[str, bytes | None] = {k: v.encode() for k, v in pages.items()}
            contents |= others | {f"artifacts/{name}": None for name in later}
            for name, content in contents.items():
                uri = f"{path}/{name}"
                if uri in taken:
                    log.info("%s is the author's own and stays", uri)
                    continue
                # A Markdown artifact is a file to download: MkDocs must not take it for a page.
                source = f"{uri}.txt" if uri.endswith(".md") and name not in pages else uri
                if content is None:
                    place = Path(self._folder, source)
                    self._later.append((name.removeprefix("artifacts/"), place))
                else:
                    with editor.open(source, "wb") as out:
                        out.write(content)
                places.append((source, uri))
        return Made((), self._folder, tuple(places), nav)

    def _fill_nav(self, config: MkDocsConfig, path: str, pages: list[Any]) -> None:
        """Put the pages where the navigation asks for them; say so where it does not."""
        if config.nav is None:
            return
        config.nav, is_placed = placed(config.nav, path, prefixed(pages, path))
        if not is_placed and f"{path}/" not in str(config.nav):
            log.warning(
                "the nav in mkdocs.yml does not name these pages; add the line\n"
                f"  - {NAV_TITLE}: {path}/"
            )

    def _clean(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = self._made = None


def _style(config: MkDocsConfig) -> LinkStyle:
    """Return how MkDocs serves pages."""
    return "directory" if config.use_directory_urls else "html"
