"""Where pages stand in MkDocs's navigation, which is lists and mappings of one entry."""

from __future__ import annotations

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
