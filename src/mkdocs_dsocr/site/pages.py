"""All pages of a site as Markdown text, by path."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from importlib import resources as package_resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mkdocs_dsocr.inputs.constants import TILE_SIZE
from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.categories import CATEGORIES
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.memory import LIMIT
from mkdocs_dsocr.report.timing import CEILINGS
from mkdocs_dsocr.site import units
from mkdocs_dsocr.site.changes import amount, moved
from mkdocs_dsocr.site.content import TITLES, Site
from mkdocs_dsocr.site.layer_page import LayerPage, layer_pages
from mkdocs_dsocr.site.links import Links, LinkStyle
from mkdocs_dsocr.site.models import model_plots, written
from mkdocs_dsocr.sweep import studies
from mkdocs_dsocr.verify.formulas import METRICS

JOINERS = "\u200c\u200d"
"""Without a shape of their own, but some scripts and pictures are written with them."""
SHOWN_DIFFERENCES = 200
OWN = "mkdocs_dsocr.layers."
"""Where the layers are that this package brings."""
ASSETS = ("dsocr.css", "dsocr.js", "planner.js", "stix-two-math.woff2")


def build_pages(site: Site, style: LinkStyle = "directory") -> dict[str, str]:
    """Return the Markdown of every page by its path, such as ``layers/Linear.md``.

    Parameters
    ----------
    site
        What the pages show.
    style
        How the generator serves pages; see :class:`mkdocs_dsocr.site.links.Links`.
    """
    links = Links(style)
    # Generators that resolve links to .md files leave those to scripts that stand in data alone.
    served = Links("directory") if style == "markdown" else links
    environment, titles = _environment(), site.titles
    pages: dict[str, str] = {}

    def render(template: str, page: str, **context: Any) -> None:
        def link(target: str, anchor: str = "") -> str:
            return links.to(page, target, anchor)

        def layer_link(class_name: str) -> str:
            return links.to(page, f"layers/{class_name}.md")

        def data_link(target: str) -> str:
            return served.to(page, target)

        title = titles.get(template.partition(".")[0])
        context |= {"site": site, "link": link, "layer_link": layer_link, "title": title}
        context["data_link"] = data_link
        pages[page] = environment.get_template(template).render(context)

    for name in titles:
        if name != "layers":
            render(f"{name}.md.j2", f"{name}.md")
    render("layers.md.j2", "layers/index.md", layer_folders=_layer_folders(site))
    for layer in site.layer_pages.values():
        render("layer.md.j2", layer.uri, layer=layer)
    return pages


def prepare(analysis: Analysis) -> None:
    """Make what pages need besides a trace: its time is a gift while there is none yet."""
    for page in layer_pages(analysis).values():
        page.forms, page.code  # noqa: B018 - kept by the page
    environment = _environment()
    for name in environment.list_templates(extensions=["j2"]):
        environment.get_template(name)


def error_pages(message: str) -> dict[str, str]:
    """Return the page that says why there are none, while a server runs."""
    template = _environment().get_template("error.md.j2")
    return {"index.md": template.render(title=TITLES["index"], message=message)}


def assets() -> dict[str, bytes]:
    """Return the content of each static file that the pages use, by name."""
    folder = package_resources.files("mkdocs_dsocr.site") / "assets"
    return {name: (folder / name).read_bytes() for name in ASSETS}


def nav(site: Site) -> list[Any]:
    """Return MkDocs's navigation entries below the plugin's folder, titles equal to headings."""
    layers: list[Any] = ["layers/index.md"]
    layers += [{name: page.uri} for name, page in site.layer_pages.items()]
    titles = site.titles.items()
    return [{title: layers if name == "layers" else f"{name}.md"} for name, title in titles]


def _layer_folders(site: Site) -> dict[str, list[LayerPage]]:
    folders: dict[str, list[LayerPage]] = {}
    for page in site.layer_pages.values():
        module = type(page.nodes[0].visit.layer).__module__
        folder = module.removeprefix(OWN).partition(".")[0] if module.startswith(OWN) else "model"
        folders.setdefault(folder, []).append(page)
    last = ("vision", "decoder", "llama", "builtin")
    order = [name for name in folders if name not in last] + list(last)
    return {name: folders[name] for name in order if name in folders}


def _on_a_line(value: object) -> object:
    """Return text of an input on one line, with a name for each character that has no shape.

    A blank line in it would end the HTML block that it stands in, a mark of direction turn
    what follows.
    """
    if type(value) is not str or value.isprintable():
        return value
    return "".join(c if _has_shape(c) else f"\\u{ord(c):04x}" for c in " ".join(value.split()))


def _has_shape(character: str) -> bool:
    category = unicodedata.category(character)
    return category == "Zs" or category[0] not in "CZ" or character in JOINERS


def _prose(text: str) -> Markup:
    """Return a sentence with what stands in backticks as code."""
    return Markup(re.sub(r"`+([^`]+)`+", r"<code>\1</code>", str(escape(_on_a_line(text)))))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mkdocs_dsocr.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_on_a_line,
    )
    filters: dict[str, Callable[..., Any]] = {
        "integer": units.integer,
        "flops": units.flops,
        "bytes": units.bytes_,
        "ms": units.milliseconds,
        "percent": units.percent,
        "change": units.change,
        "amount": amount,
        "written": written,
        "plots": model_plots,
        "moved": moved,
        "significant": units.significant,
        "prose": _prose,
        "dirname": posixpath.dirname,
        "basename": posixpath.basename,
    }
    environment.filters |= filters
    environment.globals |= {
        "metric_names": METRICS,
        "ceilings": CEILINGS,
        "costs": costs.TABLE,
        "shown_differences": SHOWN_DIFFERENCES,
        "fit_limit": LIMIT,
        "families": CATEGORIES,
        "tile_size": TILE_SIZE,
        "units": units,
        "study": studies,
    }
    return environment
