"""Files of a site as MkDocs takes them."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from markdown import Extension, Markdown
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure import StructureItem
from mkdocs.structure.files import File, Files, file_sort_key
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page
from mkdocs_gen_files.editor import FilesEditor

from mkdocs_dsocr.build.workers import Pages
from mkdocs_dsocr.inputs.errors import room_to_write
from mkdocs_dsocr.io import atomic_path, atomic_write
from mkdocs_dsocr.plugin_messages import log
from mkdocs_dsocr.plugin_options import is_excluded, is_not_in_nav
from mkdocs_dsocr.plugin_readers import plain_path
from mkdocs_dsocr.plugin_watch import Stamps
from mkdocs_dsocr.site.navigation import NAV_TITLE, is_named, only, placed, prefixed
from mkdocs_dsocr.site.pages import before_an_edit
from mkdocs_dsocr.site.twins import LIST, listed

STYLE: Final = "assets/dsocr.css"
SCRIPTS: Final = ("assets/links.js", "assets/dsocr.js")
KNOWN: Final = (
    *("markdown", "material", "mkdocs_autorefs", "mkdocs_dsocr", "mkdocstrings", "pymdownx"),
)
"""Packages whose Markdown extensions do to the pages what their version and options say."""
FILE_READING: Final = ("pymdownx.b64", "pymdownx.snippets")
"""Extensions of these packages that read further files."""
INDENT: Final = re.compile(r"(<(pre|textarea|script|style)\b.*?</\2>)|\n\s+", re.DOTALL)
"""Whitespace between lines, and what must keep its own."""


class WholeFile(File):
    """A file that is in the site whole or not at all, whenever a build is killed."""

    def copy_file(self, dirty: bool = False) -> None:
        target = Path(self.abs_dest_path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as part:
            shutil.copyfile(str(self.abs_src_path), part)


def converter(config: MkDocsConfig) -> Callable[[str], str]:
    """Return what makes HTML of Markdown with the site's extensions; links stay as they are."""

    def convert(text: str) -> str:
        extensions = config.markdown_extensions
        return str(
            Markdown(extensions=extensions, extension_configs=config.mdx_configs).convert(text)
        )

    return convert


def converter_key(config: MkDocsConfig) -> str | None:
    """Return what a :func:`converter` depends on; None where something else takes part.

    That is an extension, or a function in its options, of other packages than :data:`KNOWN`, or a
    file that an extension reads.
    """
    extensions: list[object] = [*config.markdown_extensions]  # names, or objects of plugins
    points = {p.name: p.value for p in metadata.entry_points(group="markdown.extensions")}
    names = [points.get(x, x) if isinstance(x, str) else type(x).__module__ for x in extensions]

    def name_of(value: Any) -> str:
        names.append(f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', '')}")
        return names[-1]

    options = [x.getConfigs() for x in extensions if isinstance(x, Extension)]
    try:
        content = json.dumps([names, config.mdx_configs, options], default=name_of)
    except (TypeError, ValueError, RecursionError):  # options that JSON has no form for
        return None
    reads_files = "custom_icons" in content or any(name.startswith(FILE_READING) for name in names)
    is_known = all(re.split("[.:]", name)[0] in KNOWN for name in names)
    return content if is_known and not reads_files else None


def add_assets(config: MkDocsConfig, path: str) -> None:
    """Add the style sheet and the scripts; several instances of the plugin share those of one."""
    if any(str(css).endswith(STYLE) for css in config.extra_css):
        return
    if not is_excluded(config, f"{path}/{STYLE}"):
        config.extra_css.insert(0, f"{path}/{STYLE}")
    for script in SCRIPTS:
        if not is_excluded(config, f"{path}/{script}"):
            config.extra_javascript.append(f"{path}/{script}")


def compact(page: str) -> str:
    """Return a whole page without empty lines and indentation: a tenth of its bytes."""
    return INDENT.sub(lambda match: match[1] or "\n", page)


def arranged(nav: Navigation, path: str, entries: list[Any]) -> None:
    """Give the pages of a folder the order and the groups of navigation entries.

    For a site without a ``nav``, where MkDocs lists files by name. Pages that the entries do not
    name, such as an author's own, follow them.
    """
    pages = {page.file.src_uri: page for page in nav.pages}
    mine = [uri for uri in pages if uri.startswith(f"{path}/")]

    def grown(items: list[Any]) -> list[StructureItem]:
        result: list[StructureItem] = []
        for item in items:
            ((name, target),) = item.items() if isinstance(item, dict) else ((None, item),)
            if isinstance(target, list):
                result.append(Section(name or NAV_TITLE, grown(target)))
            elif target in pages:
                result.append(pages[target])
                mine.remove(target)
        return result

    found = [s for s in nav.items if isinstance(s, Section) and _below(s, path)]
    if len(found) != 1:
        return
    section = found[0]
    section.title, section.children = NAV_TITLE, grown(entries)
    section.children += [pages[uri] for uri in mine]
    _joined(nav)


def _below(section: Section, path: str) -> bool:
    """Tell whether all pages of a section are in a folder."""
    return all(
        _below(item, path)
        if isinstance(item, Section)
        else item.file.src_uri.startswith(f"{path}/")
        for item in section.children
        if isinstance(item, Section | Page)
    )


def _joined(nav: Navigation) -> None:
    """Set parents, and previous and next pages, by the order of the navigation."""
    ordered: list[Page] = []

    def visit(items: list[StructureItem], parent: Section | None) -> None:
        for item in items:
            item.parent = parent
            if isinstance(item, Section):
                visit(item.children, item)
            elif isinstance(item, Page):
                ordered.append(item)

    visit(nav.items, None)
    nav.pages[:] = ordered
    for page, before, after in zip(ordered, [None, *ordered], [*ordered[1:], None], strict=False):
        page.previous_page, page.next_page = before, after


def fill_nav(config: MkDocsConfig, path: str, pages: list[Any]) -> None:
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


class State(NamedTuple):
    """What pages depend on: options of the site, input files, and the package's code."""

    site: tuple[object, ...]
    inputs: Stamps
    code: Stamps


@dataclasses.dataclass(frozen=True)
class Made:
    """Files that were written for a site, and where they go.

    Attributes
    ----------
    state
        What they depend on.
    path
        The folder of the site that they are in.
    folder
        Where they lie.
    places
        Path within the folder, and within the site's sources.
    nav
        Navigation entries.
    pages
        The names of the pages.
    texts
        The Markdown of those that are not the author's own; nothing where they show an error.
    later
        The artifacts that are to come: path under ``artifacts/``, and where it goes.
    awaited
        What all pages will depend on after the next build, if so far only some are up to date.
    """

    state: State | None
    path: str
    folder: TemporaryDirectory[str]
    places: tuple[tuple[str, str], ...]
    nav: list[Any]
    pages: tuple[str, ...]
    texts: dict[str, str]
    later: tuple[tuple[str, Path], ...]
    awaited: State | None = None

    def added_to(self, files: Files, config: MkDocsConfig) -> Files:
        """Return the files of the site with these among them."""
        mine = {}
        for source, uri in self.places:
            file = WholeFile(source, self.folder.name, config.site_dir, config.use_directory_urls)
            file.generated_by = "dsocr"
            file.edit_uri = None
            if source != uri:
                file.dest_uri = uri
            mine[source] = file
        others = [file for file in files if file.src_uri not in mine]
        return Files(sorted([*others, *mine.values()], key=file_sort_key))

    def addresses(self, config: MkDocsConfig) -> dict[str, str]:
        """Return the names of the pages by their addresses on a server."""
        root = urlsplit(config.site_url or "/").path
        places = {f"{self.path}/{name}": name for name in self.texts}
        files = (File(uri, None, "", config.use_directory_urls) for uri in places)
        return {plain_path(f"{root}{file.url}"): places[file.src_uri] for file in files}

    @property
    def artifacts(self) -> list[str]:
        """The paths under ``artifacts/`` of the files that are there."""
        folder = f"{self.path}/artifacts/"
        return [uri.removeprefix(folder) for _, uri in self.places if uri.startswith(folder)]

    def updated(self, pages: dict[str, str], state: State) -> Made:
        """Write new pages, and mark all others as older than the inputs."""
        with room_to_write(self.folder.name):
            for name, text in self.texts.items():
                content = pages[name] if name in pages else before_an_edit(text)
                Path(self.folder.name, self.path, name).write_bytes(content.encode())
        return dataclasses.replace(
            self, state=None, texts=self.texts | pages, later=(), awaited=state
        )


def written(
    files: Files, config: MkDocsConfig, path: str, content: Pages, later: Sequence[str]
) -> Made:
    """Write everything through one editor; an author's own file of the same name wins.

    Parameters
    ----------
    files, config
        The site's.
    path
        The folder of the site.
    content
        What is written.
    later
        Paths under ``artifacts/`` of files that something else makes.
    """
    folder = TemporaryDirectory(prefix="dsocr_", ignore_cleanup_errors=True)
    taken = {file.src_uri for file in files}
    shown = [name for name in content.pages if not is_excluded(config, f"{path}/{name}")]
    if shown and (missing := sorted({*content.pages} - {*shown})):
        log.warning("exclude_docs leaves out pages to which others link: %s", ", ".join(missing))
    texts = {n: content.pages[n] for n in shown if f"{path}/{n}" not in taken}
    places: list[tuple[str, str]] = []
    awaited: list[tuple[str, Path]] = []
    with FilesEditor(files, config, folder.name) as editor:
        contents: dict[str, bytes | None] = {k: v.encode() for k, v in content.pages.items()}
        contents |= content.others | {f"artifacts/{name}": None for name in later}
        for name, data in contents.items():
            uri = f"{path}/{name}"
            if is_excluded(config, uri):
                continue
            if uri in taken:
                log.info("%s is the author's own and stays", uri)
                continue
            # A Markdown artifact is a file to download: MkDocs must not take it for a page.
            is_file = uri.endswith(".md") and name not in content.pages
            source = f"{uri}.txt" if is_file else uri
            if data is None:
                awaited.append((name.removeprefix("artifacts/"), Path(folder.name, source)))
            else:
                with editor.open(source, "wb") as out:
                    out.write(data)
            places.append((source, uri))
    nav = only(content.nav, shown)
    return Made(None, path, folder, tuple(places), nav, tuple(shown), texts, tuple(awaited))


def list_twins(config: MkDocsConfig, paths: list[str]) -> None:
    """Name the ``llms.txt`` of each folder in one at the root, unless the site has its own."""
    found = [path for path in paths if Path(config.site_dir, path, LIST).exists()]
    place = Path(config.site_dir, LIST)
    if found and not place.exists():
        summary = config.site_description or config.site_name
        entries = [(path, f"{path}/{LIST}") for path in found]
        atomic_write(place, listed(config.site_name, summary, {NAV_TITLE: entries}))
