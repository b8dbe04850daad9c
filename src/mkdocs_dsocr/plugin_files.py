"""Files of a site as MkDocs takes them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, file_sort_key

from mkdocs_dsocr.io import atomic_path, atomic_write
from mkdocs_dsocr.site.navigation import NAV_TITLE
from mkdocs_dsocr.site.twins import LIST, listed


class WholeFile(File):
    """A file that is in the site whole or not at all, whenever a build is killed."""

    def copy_file(self, dirty: bool = False) -> None:
        target = Path(self.abs_dest_path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as part:
            shutil.copyfile(str(self.abs_src_path), part)


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
