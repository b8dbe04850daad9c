"""The pages between which the readers of a site switch: those of its other workloads and GPUs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Self

from mkdocs_dsocr.build import prepared
from mkdocs_dsocr.build.progress import Log
from mkdocs_dsocr.build.settings import Settings
from mkdocs_dsocr.build.static import Analyses, Shown, StaticAnalysis
from mkdocs_dsocr.build.workers import PairWorker
from mkdocs_dsocr.io import Cache

if TYPE_CHECKING:
    from mkdocs_dsocr.site.content import Site
    from mkdocs_dsocr.site.links import LinkStyle

MOST_PAIRS: Final = 12
"""Pairs of a workload and a GPU between which pages switch: each takes over half a second."""
LEAST_SHARED: Final = 3
"""Other pairs from which on a second process makes half of them: it takes a second to start."""


def can_switch(analyses: Analyses) -> bool:
    """Tell whether pages switch between workloads and GPUs: there are several, but not too many."""
    return 1 < sum(map(len, analyses)) <= MOST_PAIRS


def pages_of_pair(
    site: Site, shown: Shown, style: LinkStyle, cache: Cache | None
) -> dict[str, str]:
    """Return the pages of a site that show one workload on one GPU, as they show another pair."""
    from mkdocs_dsocr.site.pages import pages_of_one

    tables = prepared.studies(site.analyses, cache, shown)
    return pages_of_one(dataclasses.replace(site, shown=shown, studies=tables), style)


class Switch:
    """Makes the scripts that switch the pages of a site to its other pairs.

    A second process begins with half of them at once, where there are many.

    Parameters
    ----------
    site, static
        What the pages show, and its trace.
    settings, style
        What is analysed, and how pages are linked.
    convert
        Turns Markdown without raw blocks into HTML, as the generator does.
    log
        Told what is done.
    """

    def __init__(
        self,
        site: Site,
        static: StaticAnalysis,
        settings: Settings,
        style: LinkStyle,
        convert: Callable[[str], str],
        log: Log,
    ) -> None:
        self._site, self._style, self._convert = site, style, convert
        self._cache = settings.store
        rows = enumerate(site.analyses)
        pairs = [(i, j) for i, row in rows for j in range(len(row)) if (i, j) != site.shown]
        shared = len(pairs) // 2 if len(pairs) >= LEAST_SHARED else 0
        self._mine, self._theirs = pairs[shared:], pairs[:shared]
        self._worker = None
        if shared:
            given = settings, static, self._theirs, site.artifacts, style
            self._worker = PairWorker(*given, log=log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.stop()

    def scripts(self, pages: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
        """Yield the path and the content of a script for each of the site's pages and each pair.

        Raises
        ------
        InputError
            If an input was changed meanwhile, and is bad now.
        """
        from mkdocs_dsocr.site.switch import scripts

        for (workload, gpu), others in self._pages():
            analysis = self._site.analyses[workload][gpu]
            pair = analysis.workload.profile_id, analysis.hardware.hardware_id
            yield from scripts(pages, others, pair, self._convert)

    def _pages(self) -> Iterator[tuple[Shown, dict[str, str]]]:
        for shown in self._mine:
            yield shown, pages_of_pair(self._site, shown, self._style, self._cache)
        if self._worker is not None:
            for shown in self._theirs:
                yield shown, self._worker.pages()


Begin = Callable[["Site", StaticAnalysis], Switch]
"""Begins with the pages of other pairs of a site."""
