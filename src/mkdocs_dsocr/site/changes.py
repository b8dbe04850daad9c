"""What moved since a baseline, in words."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.report.changes import Change, Changes
from mkdocs_dsocr.site import units


def amount(value: float | None) -> str:
    """Return a figure: an integer with all its digits, others to four."""
    if value is None:
        return "none"
    return units.integer(value) if isinstance(value, int) else units.significant(value, 4)


def moved(change: Change) -> str:
    """Return by how much a figure moved."""
    if change.share is None:
        return ""
    return units.change(change.share) or "less than 0.05 %"


def change_lines(changes: Changes) -> Iterator[str]:
    """Yield the changes as lines of text."""
    if not changes.inputs and not changes.figures:
        yield "nothing moved"
    for section, key, before, now in changes.inputs:
        yield f"{section}.{key}: was {before}, is {now}"
    for c in changes.figures:
        share = f" ({moved(c)})" if moved(c) else ""
        causes = " and ".join(c.causes)
        yield f"{c.what}: {c.figure}: was {amount(c.before)}, is {amount(c.now)}{share}: {causes}"
