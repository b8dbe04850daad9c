"""Charts: marks are inside the frame, text is escaped, each has a title and a description."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from markupsafe import Markup

from mkdocs_dsocr.inputs import Hardware, load_hardware, load_workload, shipped
from mkdocs_dsocr.layers.layer import Layer
from mkdocs_dsocr.models import STAGES, load_model_config
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site.call_graph import call_graph
from mkdocs_dsocr.site.charts import Bar, bars, stacked, stacked_rows, strip
from mkdocs_dsocr.site.dataflow import dataflow
from mkdocs_dsocr.site.icicle import MEASURES, icicle
from mkdocs_dsocr.site.plots import Series, plot
from mkdocs_dsocr.site.roofline import points, roofline
from mkdocs_dsocr.site.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, legend

HOSTILE = '"><script>alert(1)</script>&'
MODELS = ("deepseek-ocr-v1-base", "unlimited-ocr")
AXIS = Axis(HOSTILE, lambda value: f"{value:g}{HOSTILE}")


def _parsed(markup: Markup) -> ET.Element:
    declared = str(markup).replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"')
    return ET.fromstring(f"<div>{declared}</div>")


def _page(name: str) -> str:
    return f"layers/{name}.md{HOSTILE}"


def _layer() -> Layer:
    analysis = Analysis(
        load_model_config(MODELS[0]), load_workload("dsocr-tiny"), load_hardware("rtx-5090")
    )
    return analysis.classes["DeepseekV2MLP"][0].visit.layer


def _drawn(analysis: Analysis) -> dict[str, Callable[[], Markup]]:
    bar = Bar(HOSTILE, 2.0, HOSTILE)
    series = [Series(HOSTILE, [1.0, 3.0]), Series("b", [math.nan, 2.0])]
    shown = points(analysis, STAGES)
    return {
        "bars": lambda: bars(HOSTILE, {HOSTILE: 2.0, "b": 0.0}, lambda value: f"{value}{HOSTILE}"),
        "stacked": lambda: stacked(HOSTILE, [bar, bar]),
        "rows": lambda: stacked_rows(HOSTILE, [(HOSTILE, [bar]), ("b", [])], [HOSTILE]),
        "strip": lambda: strip(HOSTILE, [1.0, 2.0], 4.0),
        "legend": lambda: legend([HOSTILE]),
        "plot": lambda: plot(HOSTILE, AXIS, AXIS, [1.0, 10.0], series, (3.0, HOSTILE)),
        "roofline": lambda: roofline(HOSTILE, shown, analysis, _page),
        "icicle": lambda: icicle(analysis.nodes, MEASURES[0], _page),
        "flow": lambda: dataflow(_layer(), HOSTILE, lambda part: _page(part.name)),
        "graph": lambda: call_graph({(HOSTILE, "b"): 3, ("b", "c"): 2}, _page),
    }


KINDS = [
    "bars",
    "stacked",
    "rows",
    "strip",
    "legend",
    "plot",
    "roofline",
    "icicle",
    "flow",
    "graph",
]


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_escaped_and_every_chart_is_described(gpu: Hardware, kind: str) -> None:
    analysis = Analysis(load_model_config(MODELS[0]), load_workload("dsocr-tiny"), gpu)
    markup = _drawn(analysis)[kind]()
    tree = _parsed(markup)
    assert "<script" not in markup
    assert tree.find(".//script") is None
    if kind in ("strip", "legend"):
        return
    svg = tree.find(".//svg")
    assert svg is not None
    assert svg.attrib["aria-label"] == svg.findtext("title")
    assert svg.findtext("desc")
    has_links = svg.find(".//a") is not None
    assert svg.attrib["role"] == ("group" if has_links else "img")


def _inside(x: float, y: float) -> bool:
    return LEFT - 0.1 <= x <= WIDTH - RIGHT + 0.1 and TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1


def _in_frame(markup: Markup) -> int:
    """Check that all ceilings and points of a roofline are inside its axes; return how many."""
    tree = _parsed(markup)
    places = [
        (float(line.attrib[f"x{end}"]), float(line.attrib[f"y{end}"]))
        for line in tree.findall(".//line[@class='dsocr-roof']")
        for end in (1, 2)
    ]
    assert len(places) == 6
    places += [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in tree.findall(".//circle")]
    assert all(_inside(x, y) for x, y in places), places
    return len(places)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("gpu_id", shipped("hardware"))
def test_ceilings_and_points_of_every_roofline_are_in_its_frame(model: str, gpu_id: str) -> None:
    hardware = load_hardware(gpu_id)
    workload = load_workload("dsocr-standard-v1")
    if hardware.peak("bf16") is None:
        pytest.skip("the GPU has no tensor cores for the workload's format")
    analysis = Analysis(load_model_config(model), workload, hardware)
    every = points(analysis, STAGES)
    groups = [every] + [[p for p in every if p.class_name == n] for n in analysis.classes]
    for shown in filter(None, groups):
        assert _in_frame(roofline("title", shown, analysis, str)) == 6 + len(shown)


def test_boxes_of_the_module_tree_stay_inside_their_parents(gpu: Hardware) -> None:
    analysis = Analysis(load_model_config(MODELS[0]), load_workload("dsocr-a4-gundam"), gpu)
    for measure in MEASURES:
        markup = icicle(analysis.nodes, measure, str)
        boxes = [
            (float(x), int(y), float(x) + float(width))
            for x, y, width in re.findall(
                r'<rect class="\S+" x="(\S+)" y="(\d+)" width="(\S+)"', markup
            )
        ]
        assert boxes
        rows: dict[int, list[tuple[float, float]]] = {}
        for left, y, right in boxes:
            rows.setdefault(y, []).append((left, right))
        for y, row in rows.items():
            above = rows.get(y - 24, [(0.0, 1000.0)])
            assert all(any(a <= x + 0.2 and r <= b + 0.2 for a, b in above) for x, r in row)


def test_a_chart_without_values_is_nothing(gpu: Hardware) -> None:
    analysis = Analysis(load_model_config(MODELS[0]), load_workload("dsocr-tiny"), gpu)
    assert plot("t", AXIS, AXIS, [1.0, 2.0], [Series("a", [math.nan, 0.0])]) == ""
    assert roofline("t", [], analysis, str) == ""
    assert "NaN" not in bars("t", {"a": 0.0}, str) + stacked("t", [Bar("a", 0.0, "0")])
