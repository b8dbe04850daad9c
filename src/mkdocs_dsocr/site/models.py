"""Models set side by side, in lines of text and as pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from markupsafe import Markup

from mkdocs_dsocr.report.models import GROWING, LENGTHS, Kind, ModelsCompared, Value
from mkdocs_dsocr.site import units
from mkdocs_dsocr.site.frame import Axis
from mkdocs_dsocr.site.plots import Series, plot

_WRITERS: Final[dict[Kind, Callable[[Any], str]]] = {
    "text": str,
    "integer": units.integer,
    "flops": units.flops,
    "bytes": units.bytes_,
    "ms": units.milliseconds,
    "number": units.significant,
}


def written(value: Value, kind: Kind) -> str:
    """Return a figure with its unit."""
    return "–" if value is None else _WRITERS[kind](value)


def model_lines(models: ModelsCompared) -> Iterator[str]:
    """Yield a table as lines of text."""
    table = [("", *models.titles, "ratio")]
    for section, rows in models.sections.items():
        table.append((section,))
        for row in rows:
            ratio = "" if row.ratio is None else units.significant(row.ratio)
            values = (written(value, row.kind) for value in row.values)
            table.append((f"  {row.name}", *values, ratio))
    full = [line for line in table if len(line) > 1]
    widths = [max(len(line[i]) for line in full) for i in range(len(full[0]))]
    for name, *cells in table:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=False))
        yield "  ".join((name.ljust(widths[0]), *padded)).rstrip()


def model_plots(models: ModelsCompared) -> Iterator[Markup]:
    """Yield lines over the length of the output, one for each model."""
    axis = Axis("new tokens", units.scaled_count)
    for section, (kind, _) in GROWING.items():
        rows = [row for row in models.sections[section] if None not in row.values]
        lines = [
            Series(title, [row.values[i] for row in rows])  # type: ignore[misc]
            for i, title in enumerate(models.titles)
        ]
        writer: Callable[[float], str] = _WRITERS[kind]
        yield plot(section, axis, Axis(section, writer), LENGTHS[: len(rows)], lines)
