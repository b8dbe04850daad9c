"""The module tree as a table, and which class calls which."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mkdocs_dsocr.cost.totals import Node
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site.call_graph import call_graph, edges
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.links import Links


def hierarchy(site: Site, links: Links) -> dict[str, Any]:
    """Return the tree of the main analysis and the calls between its classes."""
    found = edges(site.main.nodes)
    root = next(iter(site.main.nodes))
    return {
        "tree": list(_tree(site.main, root, 0)),
        "edges": found,
        "call_graph": call_graph(found, links.layer),
    }


def _tree(main: Analysis, module_id: str, depth: int) -> Iterator[tuple[str, Node, int, float]]:
    """Yield a node and all below it: id, node, depth, and its share of the device time."""
    node, whole = main.nodes[module_id], main.root.total.time_ms
    yield module_id, node, depth, node.total.time_ms / whole if whole else 0.0
    for child in node.children:
        yield from _tree(main, child, depth + 1)
