"""Analytic layers: dimensions in, exact formulas out. Needs neither NumPy nor torch."""

from mkdocs_dsocr.layers.base import BaseLayer, Child, Group, Rationale, dim, layer, walk

__all__ = ["BaseLayer", "Child", "Group", "Rationale", "dim", "layer", "walk"]
