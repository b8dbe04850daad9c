"""Models compared, as lines of text for a shell."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.report.models import ModelsCompared
from mkdocs_dsocr.site import units


def model_lines(models: ModelsCompared) -> Iterator[str]:
    """Yield a table as lines of text."""
    table = [("", *models.titles, "ratio")]
    for section, rows in models.sections.items():
        table.append((section,))
        for row in rows:
            ratio = "" if row.ratio is None else units.significant(row.ratio)
            values = (units.written(value, row.kind) for value in row.values)
            table.append((f"  {row.name}", *values, ratio))
    full = [line for line in table if len(line) > 1]
    widths = [max(len(line[i]) for line in full) for i in range(len(full[0]))]
    for name, *cells in table:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=False))
        yield "  ".join((name.ljust(widths[0]), *padded)).rstrip()
