"""The MkDocs plugin: hooks that hand over to :mod:`mkdocs_dsocr.build.pipeline`."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.livereload import LiveReloadServer
from mkdocs.plugins import BasePlugin, event_priority
from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

from mkdocs_dsocr.build import kept_pages, prepared, sites
from mkdocs_dsocr.build.progress import log_time
from mkdocs_dsocr.build.session import EDITED, BuildSession
from mkdocs_dsocr.build.workers import Pages, pages_of_edited_code
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.errors import room_to_write
from mkdocs_dsocr.inputs.files import stamps
from mkdocs_dsocr.io import source_digest, without_collections
from mkdocs_dsocr.plugin_blocks import RawBlocks
from mkdocs_dsocr.plugin_files import (
    Made,
    State,
    add_assets,
    arranged,
    compact,
    converter,
    converter_key,
    fill_nav,
    list_twins,
    written,
)
from mkdocs_dsocr.plugin_messages import has_to_say, log, report
from mkdocs_dsocr.plugin_options import (
    DsocrConfig,
    check_path,
    check_plugins,
    is_excluded,
    settings_of,
    style_of,
)
from mkdocs_dsocr.plugin_readers import Readers
from mkdocs_dsocr.plugin_watch import InputWatch, Stamps, input_stamps
from mkdocs_dsocr.resources import PACKAGE
from mkdocs_dsocr.signals import unwind_on_signals
from mkdocs_dsocr.site.blocks import forget
from mkdocs_dsocr.site.navigation import placed, prefixed
from mkdocs_dsocr.site.pages import assets, error_pages, nav


class DsocrPlugin(RawBlocks, BasePlugin[DsocrConfig]):  # type: ignore[no-untyped-call]
    """Adds the analytic model of a model to a site: DeepSeek-OCR's, unless told otherwise."""

    supports_multiple_instances = True

    def __init__(self) -> None:
        super().__init__()
        self._results = BuildSession(log.info)
        self._watch: InputWatch | None = None
        self._readers: Readers | None = None
        self._keep: Callable[[Mapping[str, Path]], None] | None = None
        self._is_serving = self._ends_after_a_build = False
        self._builds = 0
        self._partial: int | None = None
        self._made: Made | None = None
        self._code: tuple[Stamps, str] = ((), "")
        self._seen: Stamps = ()

    def on_startup(self, *, command: Literal["build", "gh-deploy", "serve"], dirty: bool) -> None:
        """Keep this object, and with it the trace and the pages, over the rebuilds of a server."""
        unwind_on_signals()
        self._is_serving, self._ends_after_a_build = command == "serve", command != "serve"
        if self._is_serving:
            self._code = stamps([PACKAGE]), source_digest([PACKAGE])

    def on_serve(
        self, server: LiveReloadServer, /, *, config: MkDocsConfig, builder: Any
    ) -> LiveReloadServer:
        """Watch the inputs, also those that are still to come."""
        if self.config.enabled:
            self._readers = Readers(server)
            self._watch = InputWatch(server, self._more)
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
        add_assets(config, path)
        return config

    @event_priority(50)
    def on_files(self, files: Files, *, config: MkDocsConfig) -> Files:
        """Analyse, trace, verify, and add pages and artifacts to the site."""
        path, self._partial = self.config.path, None
        if not self.config.enabled:
            self.on_build_error()
            if config.nav is not None:
                config.nav, _ = placed(config.nav, path, None)
            return files
        try:
            state = self._state(files, config, path)
            made = self._made
            if made is None or made.state != state or self._results.new_trace:
                with without_collections(keeps_all=self._ends_after_a_build):
                    made = self._make(files, config, state)
        except InputError as error:
            if not self._is_serving:
                raise PluginError(f"dsocr: {error.in_mkdocs}") from error
            log.error("%s", error.in_mkdocs)
            # The error is shown in place of each page, so that the page comes back there.
            names, places = (m.pages, m.nav) if (m := self._made) else (("index.md",), ["index.md"])
            self._results.let_go()
            others = {f"assets/{name}": data for name, data in assets().items()}
            pages = error_pages(error.in_mkdocs, names)
            made = self._write(files, config, Pages(pages, others, places, []), None)
            made = dataclasses.replace(made, texts={})
        self._made = made
        fill_nav(config, path, made.nav)
        return made.added_to(files, config)

    def _state(self, files: Files, config: MkDocsConfig, path: str) -> State:
        """Return what the pages depend on: as long as it stays, they do."""
        settings = settings_of(self.config, config)
        self._seen = input_stamps(settings)
        if self._watch is not None:
            self._watch.follow(settings, self._seen)
        code = [PACKAGE] if self._is_serving else []
        authors = frozenset(f.src_uri for f in files if f.src_uri.startswith(f"{path}/"))
        options = (path, self.config.markdown_twins, config.use_directory_urls, config.exclude_docs)
        return State((settings, *options, authors), self._seen, stamps(code))

    def _make(self, files: Files, config: MkDocsConfig, state: State) -> Made:
        if (made := self._in_view(config, state)) is not None:
            return made
        settings, style = settings_of(self.config, config), style_of(config)
        cache, key = settings.store, None
        if cache is not None and not self._is_serving:
            key = kept_pages.key_of(settings, style, converter_key(config))
            if key is not None and (kept := kept_pages.load(cache, key)) is not None:
                log.info("pages of an earlier build: no input, option or code has changed since")
                return self._write(files, config, kept, state)
        if self._is_edited(state.code):
            self._results.stop()  # what the code made before its edit
            with log_time(log.info, "making the pages with edited code, in a process of its own"):
                fresh = pages_of_edited_code(settings, style, log=log.info)
            for failure in fresh.failures:
                log.warning(failure)
            return self._write(files, config, fresh, state)
        result, later = self._results.result(settings, may_be_stale=self._is_serving)
        if not result.is_stale:
            report(result, config.strict)
        with log_time(log.info, "writing pages and artifacts"):
            # A server shows edits at once: it makes no pages for other workloads and GPUs.
            convert = None if self._is_serving else converter(config)
            switch = convert and self._results.switch(settings, style, convert)
            ahead = self._results.ahead
            site, pages, others = sites.site_files(result, style, later, cache, switch, ahead)
            content = Pages(pages, others, nav(site), [])
            made = self._write(files, config, content, state, later)
        # Where all files are the site's, with those that are still to come.
        is_whole = len(made.later) == len(later)
        if cache is not None and key is not None and is_whole and not has_to_say(result):
            self._keep = partial(kept_pages.save_if_current, cache, key, content)
        return made

    def _is_edited(self, code: Stamps) -> bool:
        """Tell whether the package's code is another than this process has imported."""
        return code != self._code[0] and source_digest([PACKAGE]) != self._code[1]

    def _in_view(self, config: MkDocsConfig, state: State) -> Made | None:
        """Update the pages that are open in browsers; a further build updates the others.

        Return None if all have to be made now: no page is open, an option has changed, there is no
        trace yet, or an open page no longer exists.
        """
        made, opened = self._made, self._readers.pages() if self._readers is not None else []
        if made is None or not made.texts or not opened:
            return None
        before = made.awaited or made.state
        if before is None or before.site != state.site or before == state:
            return None
        addresses = made.addresses(config)
        shown = [addresses[page] for page in opened if page in addresses]
        pages = self._some_pages(config, shown, made.artifacts, state.code) if shown else {}
        return made.updated(pages, state) if pages is not None else None

    def _some_pages(
        self, config: MkDocsConfig, only: list[str], files: list[str], code: Stamps
    ) -> dict[str, str] | None:
        settings, style = settings_of(self.config, config), style_of(config)
        with log_time(log.info, f"updating the open pages: {', '.join(only)}"):
            if self._is_edited(code):
                self._results.stop()
                fresh = pages_of_edited_code(settings, style, log=log.info, only=only, files=files)
                return fresh.pages or None
            if (result := self._results.result_now(settings)) is None:
                return None
            return sites.some_pages(result, style, only, files)

    def _more(self) -> tuple[int | None, str | None] | None:
        """Return a value for what a further build would show: the other pages, or a new trace."""
        found = self._partial, self._results.new_trace
        return found if any(found) else None

    def on_nav(self, nav: Navigation, *, config: MkDocsConfig, files: Files) -> Navigation:
        """Order and group the pages where MkDocs makes the navigation from files."""
        if config.nav is None and self._made is not None:
            arranged(nav, path := self.config.path.strip("/"), prefixed(self._made.nav, path))
        return nav

    def on_env(self, env: Environment, *, config: MkDocsConfig, files: Files) -> None:
        """Put files in their places that were made while pages were converted."""
        later = self._made.later if self._made is not None else ()
        try:
            with self._results.taken() as made, room_to_write(config.site_dir):
                if self._is_outdated(config):
                    raise InputError(*EDITED)
                for name, target in later if made else ():  # they stay where no input changes
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.move(made[name], target)
        except InputError as error:
            if not (self._is_serving and self._is_outdated(config)):  # a further build follows
                raise PluginError(f"dsocr: {error.in_mkdocs}") from error
        if self._keep is not None:
            self._keep({f"artifacts/{name}": target for name, target in later})
            self._keep = None

    def _is_outdated(self, config: MkDocsConfig) -> bool:
        """Tell whether an input was edited after the pages were begun."""
        return (
            self._made is not None and input_stamps(settings_of(self.config, config)) != self._seen
        )

    def on_post_page(self, output: str, *, page: Page, config: MkDocsConfig) -> str:
        """Drop the theme's indentation, a tenth of a page; a server does without."""
        return output if self._is_serving or not self.is_own(page) else compact(output)

    def on_post_build(self, *, config: MkDocsConfig) -> None:
        if self.config.enabled and self.config.markdown_twins:
            instances = (p for p in config.plugins.values() if isinstance(p, DsocrPlugin))
            list_twins(config, [p.config.path.strip("/") for p in instances])
        self._builds += 1
        is_partial = self._made is not None and self._made.awaited is not None
        self._partial = self._builds if is_partial else None
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
        content: Pages,
        state: State | None,
        later: Sequence[str] = (),
    ) -> Made:
        """Write everything, and twins of the pages."""
        self._clean()
        forget()  # pages that are shown no more
        path, taken = self.config.path, {file.src_uri for file in files}
        mine = {
            name: text
            for name, text in content.pages.items()
            if (uri := f"{path}/{name}") not in taken and not is_excluded(config, uri)
        }
        if self.config.markdown_twins and mine:
            cache = settings_of(self.config, config).store
            twins = prepared.twins(mine, style_of(config), cache)
            content = dataclasses.replace(content, others=content.others | twins)
        with room_to_write(tempfile.gettempdir()):
            made = written(files, config, path, content, later)
        self.take_from(f"{path}/{name}" for name in made.texts)
        return dataclasses.replace(made, state=state)

    def _clean(self) -> None:
        if self._made is not None:
            self._made.folder.cleanup()
            self._made = None
