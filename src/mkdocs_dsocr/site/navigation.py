"""Where pages stand in MkDocs's navigation, which is lists and mappings of one entry."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

NAV_TITLE: Final = "Analytic model"
"""What pages stand under where a navigation gives them a place and no name."""


def prefixed(entries: list[Any], path: str) -> list[Any]:
    """Return navigation entries with `path` before every page."""
    result: list[Any] = []
    for entry in entries:
        if isinstance(entry, str):
            result.append(f"{path}/{entry}")
        else:
            ((title, target),) = entry.items()
            inner = f"{path}/{target}" if isinstance(target, str) else prefixed(target, path)
            result.append({title: inner})
    return result


def only(entries: list[Any], pages: Collection[str]) -> list[Any]:
    """Return navigation entries without the pages that are not among `pages`."""
    result: list[Any] = []
    for entry in entries:
        target = next(iter(entry.values())) if isinstance(entry, dict) else entry
        if isinstance(target, list):
            inner = only(target, pages)
            if inner:
                result.append({next(iter(entry)): inner})
        elif target in pages:
            result.append(entry)
    return result


def is_named(nav: list[Any], path: str) -> bool:
    """Tell whether a navigation names a page in the folder `path`: a link elsewhere is none."""
    targets = (next(iter(i.values())) if isinstance(i, dict) else i for i in nav)
    return any(
        is_named(t, path) if isinstance(t, list) else str(t).startswith(f"{path}/") for t in targets
    )


def placed(nav: list[Any], path: str, entries: list[Any] | None) -> tuple[list[Any], bool]:
    """Return a navigation whose ``Title: path/`` became entries, and whether there was any.

    Parameters
    ----------
    nav, path
        The navigation, and the folder that stands in it for the pages.
    entries
        What takes its place; None removes it.
    """
    found = False

    def walk(items: list[Any]) -> list[Any]:
        nonlocal found
        result: list[Any] = []
        for item in items:
            ((title, target),) = item.items() if isinstance(item, dict) else ((None, item),)
            if isinstance(target, list):
                result.append({title: walk(target)})
            elif isinstance(target, str) and target.rstrip("/") == path:
                found = True
                if entries is not None:
                    result.append({title or NAV_TITLE: entries})
            else:
                result.append(item)
        return result

    return walk(nav), found
