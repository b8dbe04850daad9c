"""Analytic layers: dimensions in, exact formulas out. Needs neither NumPy nor torch."""

from mkdocs_dsocr.layers.base import BaseLayer, Group, Rationale, dim, layer
from mkdocs_dsocr.layers.parts import Child
from mkdocs_dsocr.layers.tree import walk

__all__ = ["BaseLayer", "Child", "Group", "Rationale", "dim", "layer", "walk"]
