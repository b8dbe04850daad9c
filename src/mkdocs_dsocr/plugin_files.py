"""Files of a site as MkDocs takes them."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from markdown import Markdown
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure import StructureItem
from mkdocs.structure.files import File, Files, file_sort_key
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page

from mkdocs_dsocr.io import atomic_path, atomic_write
from mkdocs_dsocr.site.navigation import NAV_TITLE
from mkdocs_dsocr.site.twins import LIST, listed

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


@dataclasses.dataclass(frozen=True)
class Made:
    """Files that were written for a site, and where they go.

    Attributes
    ----------
    state
        What they depend on.
    folder
        Where they lie.
    places
        Path within the folder, and within the site's sources.
    nav
        Navigation entries.
    pages
        The names of the pages.
    """

    state: tuple[Any, ...]
    folder: str
    places: tuple[tuple[str, str], ...]
    nav: list[Any]
    pages: tuple[str, ...]

    def added_to(self, files: Files, config: MkDocsConfig) -> Files:
        """Return the files of the site with these among them."""
        mine = {}
        for source, uri in self.places:
            file = WholeFile(source, self.folder, config.site_dir, config.use_directory_urls)
            file.generated_by = "dsocr"
            file.edit_uri = None
            if source != uri:
                file.dest_uri = uri
            mine[source] = file
        others = [file for file in files if file.src_uri not in mine]
        return Files(sorted([*others, *mine.values()], key=file_sort_key))


def list_twins(config: MkDocsConfig, paths: list[str]) -> None:
    """Name the ``llms.txt`` of each folder in one at the root, unless the site has its own."""
    found = [path for path in paths if Path(config.site_dir, path, LIST).exists()]
    place = Path(config.site_dir, LIST)
    if found and not place.exists():
        summary = config.site_description or config.site_name
        entries = [(path, f"{path}/{LIST}") for path in found]
        atomic_write(place, listed(config.site_name, summary, {NAV_TITLE: entries}))
