"""The list of all layers."""

from __future__ import annotations

from typing import Any, Final

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.layer_page import LayerPage
from mkdocs_dsocr.site.links import Links

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


def layers(site: Site, links: Links) -> dict[str, Any]:
    """Return the layers of each folder, and the table of costs."""
    found = layer_folders(site.layer_pages)
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
