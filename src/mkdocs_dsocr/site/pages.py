"""All pages of a site as Markdown text, by path."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping
from functools import partial
from importlib import resources as package_resources
from typing import Any, Final, NamedTuple

from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site import tags
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.environment import environment
from mkdocs_dsocr.site.layer_page import layer_pages
from mkdocs_dsocr.site.links import Links, LinkStyle
from mkdocs_dsocr.site.views.overview import overview
from mkdocs_dsocr.site.views.results import (
    checkpoint,
    evidence,
    has_measurements,
    measured,
    strip,
    verification,
)
from mkdocs_dsocr.site.views.structure import hierarchy, layers, rooflines
from mkdocs_dsocr.site.views.sweeps import models, sweeps
from mkdocs_dsocr.site.views.workloads import gpus, memory, planner, workload

ASSETS: Final = (
    "dsocr.css",
    "dsocr.js",
    "links.js",
    "planner.js",
    "fleets.js",
    "stix-two-math.woff2",
)


CHANGED: Final = (
    '<p class="dsocr-lead"><span class="dsocr-bad">The inputs have changed since this page was '
    "built.</span> An update follows in a few seconds.</p>\n"
)
_HEADING: Final = re.compile(r"^# .*\n", re.MULTILINE)


class Page(NamedTuple):
    """A page: its heading, what it shows besides the site, and whether a site has it.

    `group` is the heading in the navigation under which it stands with others. A page that
    `is_of_one` shows one workload on one GPU, so that another pair changes it.
    """

    title: str
    view: Callable[[Site, Links], dict[str, Any]] = lambda site, links: {}
    is_shown: Callable[[Site], bool] = lambda site: True
    group: str = ""
    is_of_one: bool = False


STRUCTURE: Final = "Structure"
EXPLORE: Final = "What if"
EVIDENCE: Final = "Evidence"
DATA: Final = "Inputs and files"
PAGES: Final = {
    "index": Page("Overview", overview, is_of_one=True),
    "layers": Page("Layers", layers, is_of_one=True),
    "roofline": Page("Roofline", rooflines, group=STRUCTURE, is_of_one=True),
    "hierarchy": Page("Module tree", hierarchy, group=STRUCTURE, is_of_one=True),
    "memory": Page("Memory", memory, is_of_one=True),
    "planner": Page("What if", planner, group=EXPLORE),
    "sweeps": Page("Sweeps", sweeps, lambda site: site.studies is not None, EXPLORE, True),
    "models": Page("Models compared", models, lambda site: site.models is not None, EXPLORE),
    "gpus": Page("GPUs and workloads", gpus, is_of_one=True),
    "evidence": Page("Evidence", evidence, group=EVIDENCE),
    "verification": Page("Verification", verification, group=EVIDENCE),
    "measured": Page("Predicted and measured", measured, has_measurements, EVIDENCE),
    "checkpoint": Page(
        "Checkpoint", checkpoint, lambda site: site.checkpoint is not None, EVIDENCE
    ),
    "vendor": Page(
        "The checkpoint's own code",
        is_shown=lambda site: site.vendor is not None,
        group=EVIDENCE,
    ),
    "review": Page("Review", is_shown=lambda site: bool(site.reviews), group=EVIDENCE),
    "changes": Page("Changes", is_shown=lambda site: site.changes is not None, group=EVIDENCE),
    "workload": Page("Workload and hardware", workload, group=DATA, is_of_one=True),
    "artifacts": Page("Artifacts", group=DATA),
}
"""The pages in the order of the navigation. A page's name is that of its template and file."""


def build_pages(
    site: Site, style: LinkStyle = "directory", only: Container[str] | None = None
) -> dict[str, str]:
    """Return the Markdown of every page by its path, such as ``layers/Linear.md``.

    Parameters
    ----------
    site
        What the pages show.
    style
        How the generator serves pages; see :class:`mkdocs_dsocr.site.links.Links`.
    only
        The paths of the pages that are wanted; all where not given.
    """
    return {p: text() for p, text in _pages(site, style).items() if only is None or p in only}


def pages_of_one(site: Site, style: LinkStyle) -> dict[str, str]:
    """Return those of :func:`build_pages` that show one workload on one GPU."""
    others = {_path(name) for name, page in PAGES.items() if not page.is_of_one}
    return build_pages(site, style, paths(site) - others)


def paths(site: Site) -> set[str]:
    """Return the paths of :func:`build_pages` without making the pages."""
    return {*map(_path, titles(site)), *(layer.uri for layer in site.layer_pages.values())}


def _pages(site: Site, style: LinkStyle) -> dict[str, partial[str]]:
    """Return what makes the Markdown of each page, those of layers last, by path."""
    shared: dict[str, Any] = {"site": site, "titles": titles(site), "strip": strip(site)}
    named = {_path(name): partial(_page, name, style, shared) for name in titles(site)}
    layers = site.layer_pages.items()
    return named | {layer.uri: partial(_layer, name, style, shared) for name, layer in layers}


def _page(name: str, style: LinkStyle, shared: Mapping[str, Any]) -> str:
    links = Links(style, _path(name))
    view = PAGES[name].view(shared["site"], links)
    view |= {"title": shared["titles"][name], "tags": tags.PAGES.get(name, ())}
    if PAGES[name].is_of_one:
        view["strip"] = shared["strip"].on(links)
    return _rendered(f"{name}.md.j2", links, **{**shared, **view})


def _layer(name: str, style: LinkStyle, shared: Mapping[str, Any]) -> str:
    layer = shared["site"].layer_pages[name]
    links = Links(style, layer.uri)
    view = {"layer": layer, "tags": tags.layer_tags(name), "strip": shared["strip"].on(links)}
    return _rendered("layer.md.j2", links, **{**shared, **view})


def before_an_edit(page: str) -> str:
    """Return a page with a notice that the inputs have changed since it was built."""
    return _HEADING.sub(lambda heading: f"{heading[0]}\n{CHANGED}\n", page, count=1)


def error_pages(message: str, names: Iterable[str]) -> dict[str, str]:
    """Return the pages that a server shows while the analysis fails, in place of these."""
    title = PAGES["index"].title
    return {
        name: _rendered("error.md.j2", Links("directory", name), title=title, message=message)
        for name in names
    }


def _rendered(template: str, links: Links, **context: Any) -> str:
    found = environment().get_template(template)
    return found.render(context, link=links.to, layer_link=links.layer, to_layer=links.named)


def titles(site: Site) -> dict[str, str]:
    """Return the heading of each page of a site, by its name."""
    named = {name: page.title for name, page in PAGES.items() if page.is_shown(site)}
    return named | {"index": f"{site.model.title} overview"}


def nav(site: Site) -> list[Any]:
    """Return MkDocs's navigation entries below the plugin's folder, titles equal to headings."""
    by_cost = sorted(site.layer_pages.items(), key=lambda item: -item[1].total.time_ms)
    layer_list: list[Any] = [_path("layers"), *({name: page.uri} for name, page in by_cost)]
    entries: list[Any] = []
    groups: dict[str, list[Any]] = {}
    for name, title in titles(site).items():
        group = PAGES[name].group
        if not group:
            entries.append({title: layer_list if name == "layers" else _path(name)})
            continue
        if group not in groups:
            groups[group] = []
            entries.append({group: groups[group]})
        groups[group].append({title: _path(name)})
    return entries


def _path(name: str) -> str:
    return "layers/index.md" if name == "layers" else f"{name}.md"


def assets() -> dict[str, bytes]:
    """Return the content of each static file that the pages use, by name."""
    folder = package_resources.files("mkdocs_dsocr.site") / "assets"
    return {name: (folder / name).read_bytes() for name in ASSETS}


def prepare(analysis: Analysis) -> None:
    """Fill the caches that the pages of an analysis use, while its trace is still running."""
    for page in layer_pages(analysis).values():
        page.forms, page.code  # noqa: B018 - cached by the page
    for name in environment().list_templates(extensions=["j2"]):
        environment().get_template(name)
