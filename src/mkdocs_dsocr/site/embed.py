"""A figure, formula or chart of a report as HTML for any page, by name."""

from __future__ import annotations

from typing import Any, Final

from markupsafe import Markup

from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.layers import tree
from mkdocs_dsocr.layers.figures import FIGURES, keys
from mkdocs_dsocr.quantities import total
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site import notation, units
from mkdocs_dsocr.site.export import DARK, chart_style
from mkdocs_dsocr.site.forms import forms
from mkdocs_dsocr.site.layer_page import layer_pages
from mkdocs_dsocr.site.views.overview import CHARTS

SUMS: Final = tuple(key for key in keys("calls", "modules") if key != "dispatches")
"""Figures whose formula adds up over the layers within a layer."""


def embedded(analysis: Analysis, kind: str, *names: str) -> str:
    """Return HTML for a page.

    Parameters
    ----------
    analysis
        What the figures are of.
    kind, names
        ``figure``: a key of the report (``latency.ttft_ms``), or a stage, class or ``module_id``
        and its key. ``formula``: a class and a key in :data:`SUMS`;
        the formula is of one call, children included. ``chart``: a name in
        :data:`mkdocs_dsocr.site.views.overview.CHARTS`, or a class.

    Raises
    ------
    InputError
        If there is nothing of this name.
    """
    if kind == "figure" and len(names) in (1, 2):
        return _figure(analysis, *names)
    if kind == "formula" and len(names) == 2:
        return _formula(analysis, *names)
    if kind == "chart" and len(names) == 1:
        return _chart(analysis, *names)
    raise _refused(" ".join((kind, *names)), "figure [OWNER] KEY, formula CLASS KEY, or chart NAME")


def _figure(analysis: Analysis, *names: str) -> str:
    report, (*owner, path) = analysis.report, names
    owners: list[Any] = [report]
    if owner:
        stages = {str(stage): metrics for stage, metrics in report.stages.items()}
        classes = {layer.class_name: layer for layer in report.layers}
        modules = {m.module_id: m for m in report.module_metrics}
        # A stage and its module have the same name, and keys of their own.
        owners = [known[owner[0]] for known in (stages, classes, modules) if owner[0] in known]
        if not owners:
            raise _refused(owner[0], f"a stage, class or module_id: {', '.join(stages)}, …")
    for found in owners:
        number = _number(found, path)
        if number is not None:
            return _written(path, number)
    keys = [key for found in owners for key, value in found if isinstance(value, int | float)]
    known = ", ".join(dict.fromkeys(("latency.ttft_ms", *keys)))
    raise _refused(path, f"the key of a number in report.json: {known}")


def _number(found: Any, path: str) -> int | float | None:
    """Return the number that a path of keys leads to, None if it leads to none."""
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else getattr(found, key, None)
    return found if isinstance(found, int | float) else None


def _written(key: str, value: float) -> str:
    """Return a figure with the unit that its key names."""
    for suffix, write in (
        ("_ms", units.milliseconds),
        ("_bytes", units.bytes_),
        ("flops", units.flops),
        ("share_of_model_time", units.percent),
    ):
        if key.endswith(suffix):
            return write(value)
    return units.integer(value) if isinstance(value, int) else units.significant(value)


def _formula(analysis: Analysis, class_name: str, key: str) -> str:
    _check(class_name, analysis.classes)
    _check(key, SUMS)
    layer = forms(analysis.classes[class_name])[0].example.layer
    if not layer.dimensions():
        raise _refused(class_name, "a class with dimensions of its own; this one holds others")
    parts = []
    for visit in tree.walk(layer.symbolic()):
        times = visit.modules * (visit.calls if key in keys("calls") else 1)
        own = FIGURES[key].metric(visit.layer)
        parts.append(own if times == 1 else times * own)
    return notation.mathml(total(parts))


def _chart(analysis: Analysis, name: str) -> str:
    pages = layer_pages(analysis)
    _check(name, [*CHARTS, *pages])
    drawn = CHARTS[name](analysis) if name in CHARTS else pages[name].by_family
    light, dark, rules = chart_style()
    style = Markup(f".dsocr {{ {light} }}\n{DARK} .dsocr {{ {dark} }}\n{rules}")
    return Markup('<div class="dsocr"><style>{}</style>{}</div>').format(style, drawn)


def _check(name: str, known: Any) -> None:
    if name not in known:
        raise _refused(name, ", ".join(known))


def _refused(found: str, allowed: str) -> InputError:
    return InputError("Markdown", "[dsocr: …]", repr_short(found), allowed)
