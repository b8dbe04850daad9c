"""What is made once for the same inputs and kept: formulas as a script, tables, Markdown twins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from mkdocs_dsocr.build.static import Analyses, Shown
from mkdocs_dsocr.inputs import Hardware, ModelConfig, Workload
from mkdocs_dsocr.io import Cache, kept, source_digest
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.resources import PACKAGE

if TYPE_CHECKING:
    from mkdocs_dsocr.site.links import LinkStyle
    from mkdocs_dsocr.site.studies import Studies

FORMULAS_CODE: Final = (
    "layers",
    "models",
    "sweep",
    "cost",
    "cost/formulas.js",
    "quantities.py",
    "report",
    "inputs",
    "trace.py",
    "site/studies.py",
    "site/content.py",
)
"""What makes the formulas' script and the tables."""


def are_kept(analyses: Analyses, cache: Cache | None) -> bool:
    """Tell whether a cache has entries, good or bad, for the formulas and the main tables."""
    if cache is None:
        return False
    main, gpus = _tabled(analyses, (0, 0))
    has_formulas = cache.has(_formulas_key(analyses[0][0].config, _loaded(analyses)))
    return has_formulas and _tables(cache).has(_tables_key(main, gpus))


def formulas(analyses: Analyses, cache: Cache | None) -> str:
    """Return the formulas of a model as a script, from the cache where that has them."""
    config, workloads = analyses[0][0].config, _loaded(analyses)
    return _formulas(_formulas_key(config, workloads), config, workloads, cache)


def _loaded(analyses: Analyses) -> tuple[Workload, ...]:
    """Return the workloads that state the load of experts: formulas have its shares."""
    return tuple(row[0].workload for row in analyses if row[0].workload.expert_load)


def _formulas_key(config: ModelConfig, workloads: tuple[Workload, ...]) -> str:
    loads = [workload.expert_load for workload in workloads]
    return json.dumps(["formulas", _code(), config.model_dump(mode="json"), loads])


@lru_cache(maxsize=4)
def _formulas(
    key: str, config: ModelConfig, workloads: tuple[Workload, ...], cache: Cache | None
) -> str:
    """Return the formulas for a key, which changes when ``formulas.js`` is edited."""
    from mkdocs_dsocr.cost import browser

    return kept(cache, key, _text, lambda: browser.text(config, workloads))


def _text(content: Any) -> str:
    """Return text of the cache that can be written to a file.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(content, str) or not content.encode():
        raise ValueError("no text")
    return content


def studies(
    analyses: Analyses, cache: Cache | None, shown: Shown = (0, 0), made: Any = None
) -> Studies | None:
    """Return the tables of an analysis, from the cache where that has them.

    None where the workload needs more than their 64 bits. `made` are :func:`table_lists` that
    another process made.
    """
    main, gpus = _tabled(analyses, shown)
    return _studies(main, gpus, cache) if made is None else _studies_of(main, gpus, made)


def table_lists(analyses: Analyses, cache: Cache | None) -> Any:
    """Return the main tables as JSON holds them, or None: see :func:`studies`."""
    return _lists(*_tabled(analyses, (0, 0)), cache)


def _tabled(analyses: Analyses, shown: Shown) -> tuple[Analysis, tuple[Hardware, ...]]:
    """Return the analysis and the GPUs that tables are of."""
    from mkdocs_dsocr.site.content import all_gpus

    workload, gpu = shown
    return analyses[workload][gpu].predicted, tuple(all_gpus(analyses))


def _tables_key(main: Analysis, gpus: tuple[Hardware, ...]) -> str:
    inputs: tuple[BaseModel, ...] = (main.config, main.workload, main.hardware, *gpus)
    return json.dumps(["studies", _code(), *(x.model_dump(mode="json") for x in inputs)])


def _tables(cache: Cache) -> Cache:
    """Return the cache of tables, in a folder of its own: many small ones push no trace out."""
    return Cache(cache.folder / "tables")


@lru_cache(maxsize=2)
def _studies(main: Analysis, gpus: tuple[Hardware, ...], cache: Cache | None) -> Studies | None:
    found = _lists(main, gpus, cache)
    return None if found is None else _studies_of(main, gpus, found)


def _studies_of(main: Analysis, gpus: tuple[Hardware, ...], lists: Any) -> Studies:
    from mkdocs_dsocr.site.studies import Studies, as_tables

    return Studies(main, as_tables(lists, len(gpus)))


def _lists(main: Analysis, gpus: tuple[Hardware, ...], cache: Cache | None) -> Any:
    from mkdocs_dsocr.site.studies import as_lists, as_tables, tables

    try:
        return kept(
            cache and _tables(cache),
            _tables_key(main, gpus),
            lambda content: content if as_tables(content, len(gpus)) else None,
            lambda: as_lists(tables(main, gpus)),
        )
    except OverflowError:
        return None


def twins(pages: Mapping[str, str], style: LinkStyle, cache: Cache | None) -> dict[str, bytes]:
    """Return the Markdown twins of pages, from the cache where that has them."""
    from mkdocs_dsocr.site.twins import checked_twins, twins

    # In a folder of their own: many small entries push no trace out.
    store = cache and Cache(cache.folder / "twins")
    content = hashlib.sha256(json.dumps([style, dict(pages)]).encode()).hexdigest()
    key = json.dumps(["twins", source_digest([PACKAGE / "site"]), content])
    files = kept(
        store, key, lambda found: checked_twins(found, pages, style), lambda: twins(pages, style)
    )
    return {name: text.encode() for name, text in files.items()}


def _code() -> str:
    """Return a digest of the code of formulas and tables."""
    return source_digest(PACKAGE / part for part in FORMULAS_CODE)
