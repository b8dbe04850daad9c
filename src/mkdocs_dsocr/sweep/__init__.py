"""Many scenarios at once: grids and rows of workloads, formats and GPUs as NumPy columns.

The formulas of the layers, evaluated on arrays: every integer is the report's.
"""

from mkdocs_dsocr.sweep.api import Sweep, grid, grid_chunks, rows

__all__ = ["Sweep", "grid", "grid_chunks", "rows"]
