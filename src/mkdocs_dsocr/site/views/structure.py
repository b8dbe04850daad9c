"""The pages about the model's structure: layers, module tree, roofline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mkdocs_dsocr.cost.totals import Node
from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site import svg
from mkdocs_dsocr.site.call_graph import call_graph, edges
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.layer_page import LayerPage
from mkdocs_dsocr.site.links import Links
from mkdocs_dsocr.site.roofline import of_batches, points, roofline

OWN: Final = "mkdocs_dsocr.layers."
"""The package of the layers that this product ships."""
LAST: Final = ("vision", "decoder", "llama", "builtin")
HEADINGS: Final = {
    "core": "The whole model",
    "vision": "Vision",
    "decoder": "Decoder",
    "llama": "Attention",
    "builtin": "PyTorch's own",
}
SECTIONS: Final = {
    "Vision, projector and prefill": ("vision", "projector", "prefill"),
    "Decode": ("decode",),
}


def layers(site: Site, links: Links) -> dict[str, Any]:
    """Return the layers of each folder, the costliest first, and the table of costs."""
    found = layer_folders(site.layer_pages)
    for pages in found.values():
        pages.sort(key=lambda page: -page.total.time_ms)
    sections = [
        (HEADINGS.get(name, "Modules of the model"), pages) for name, pages in found.items()
    ]
    return {"sections": sections, "costs": costs.TABLE}


def layer_folders(pages: dict[str, LayerPage]) -> dict[str, list[LayerPage]]:
    """Return the pages by the folder of their layers; ``model`` for those of other packages."""
    folders: dict[str, list[LayerPage]] = {}
    for page in pages.values():
        module = type(page.nodes[0].visit.layer).__module__
        folder = module.removeprefix(OWN).partition(".")[0] if module.startswith(OWN) else "model"
        folders.setdefault(folder, []).append(page)
    order = [name for name in folders if name not in LAST] + list(LAST)
    return {name: folders[name] for name in order if name in folders}


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
    node, whole = main.nodes[module_id], main.root.total.device_time_ms
    yield module_id, node, depth, node.total.device_time_ms / whole if whole else 0.0
    for child in node.children:
        yield from _tree(main, child, depth + 1)


def rooflines(site: Site, links: Links) -> dict[str, Any]:
    """Return heading, chart, legend, points and batches of each section that has points."""
    sections = []
    for heading, stages in SECTIONS.items():
        if shown := points(site.main, stages):
            batches = of_batches(site.main) if stages == ("decode",) else {}
            title = f"Roofline: {', '.join(stages)}"
            chart = roofline(title, shown, site.main, links.layer, batches)
            gpu, dtype = site.main.hardware, site.main.activation_dtype
            rows = [(p, p.bound(gpu, dtype)) for p in shown]
            keys = svg.legend({s: svg.stage_colour(s) for s in stages})
            sections.append((heading, svg.wide(heading, chart), keys, rows, list(batches)))
    return {"sections": sections}
