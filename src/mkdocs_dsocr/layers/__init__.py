"""Analytic layers: dimensions in, exact formulas out. Needs neither NumPy nor torch."""

from mkdocs_dsocr.layers.layer import Child, Rationale, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.tree import walk

__all__ = ["BaseLayer", "Child", "Rationale", "dim", "layer", "walk"]
