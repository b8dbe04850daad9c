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
from mkdocs_dsocr.site.architecture import architecture, components
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
    return ET.fromstring(f"<div>{markup}</div>")


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
        "bars": lambda: bars(HOSTILE, [bar, Bar("b", 0.0, HOSTILE)]),
        "stacked": lambda: stacked(HOSTILE, [bar, bar]),
        "rows": lambda: stacked_rows(HOSTILE, [(HOSTILE, [bar]), ("b", [])], {HOSTILE: HOSTILE}),
        "strip": lambda: strip(HOSTILE, [bar, bar], 4.0),
        "legend": lambda: legend({HOSTILE: HOSTILE}),
        "plot": lambda: plot(HOSTILE, AXIS, AXIS, [1.0, 10.0], series, (3.0, HOSTILE)),
        "roofline": lambda: roofline(HOSTILE, shown, analysis, _page),
        "icicle": lambda: icicle(analysis.nodes, MEASURES[0], _page),
        "architecture": lambda: architecture(analysis, _page),
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
    "architecture",
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
    if kind in ("bars", "stacked", "rows", "strip"):
        assert all(part.attrib["aria-label"] for part in tree.findall(".//svg"))
    if kind in ("bars", "stacked", "rows", "strip", "legend"):
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
    assert "NaN" not in bars("t", [Bar("a", 0.0, "0")]) + stacked("t", [Bar("a", 0.0, "0")])


@pytest.mark.parametrize("model", MODELS)
def test_every_roofline_of_an_analysis_has_the_same_axes(gpu: Hardware, model: str) -> None:
    analysis = Analysis(load_model_config(model), load_workload("dsocr-standard-v1"), gpu)
    every = points(analysis, STAGES)
    frames = set()
    for name in analysis.classes:
        if shown := [p for p in every if p.class_name == name]:
            lines = _parsed(roofline("t", shown, analysis, str)).findall(".//line")
            frames.add(tuple(tuple(line.attrib.values()) for line in lines))
    assert len(frames) == 1


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("gpu_id", ["rtx-5090", "h100-sxm", "a100-80gb-sxm", "l40s"])
def test_what_binds_a_point_agrees_with_its_place(model: str, gpu_id: str) -> None:
    """Where kernels of both sides of the ridge are summed up, the words say so."""
    hardware, config = load_hardware(gpu_id), load_model_config(model)
    for workload in ("dsocr-standard-v1", "dsocr-a4-gundam"):
        analysis = Analysis(config, load_workload(workload), hardware)
        for point in points(analysis, STAGES):
            ceiling = point.own.binding_ceiling
            words = point.bound(hardware, "bf16")
            ridge = 1000 * hardware.peak_tflops("bf16") / hardware.bandwidth_gb_s
            is_left = point.flops_per_byte < ridge
            if (ceiling == "memory" and not is_left) or (ceiling == "tensor cores" and is_left):
                assert "different ceilings" in words, (point.class_name, words)
            assert words.startswith(ceiling)
            assert math.isclose(sum(point.own.device_by_ceiling), point.own.device_time_ms)


def test_an_axis_has_several_ticks() -> None:
    for low, high in ((0.83, 1.26), (1.0, 3.0), (2.0, 9.0), (7.0, 800.0), (1e-3, 1e9)):
        ticks = Axis("x", str).ticks(low, high)
        assert 2 <= len(ticks) <= 7, (low, high, ticks)
        assert all(low * 0.99 <= t <= high * 1.01 for t in ticks)


def test_an_amount_of_nothing_has_no_bar() -> None:
    assert "<rect" not in bars("t", [Bar("a", 0, "0 B")])
    widths = re.findall(r'width="([\d.]+)"', bars("t", [Bar("a", 0, "0 B"), Bar("b", 2, "2 B")]))
    assert widths == ["100"]


@pytest.mark.parametrize("model", MODELS)
def test_components_take_the_time_of_their_stage(gpu: Hardware, model: str) -> None:
    analysis = Analysis(load_model_config(model), load_workload("dsocr-standard-v1"), gpu)
    for stage, totals in analysis.stage_totals.items():
        found = components(analysis, stage)
        assert len(found) == len({c.class_name for c in found})
        shown = sum(c.total.device_time_ms for c in found)
        assert 0.5 * totals.device_time_ms < shown <= totals.device_time_ms * (1 + 1e-9)


def test_a_long_row_of_the_architecture_keeps_its_boxes_inside(gpu: Hardware) -> None:
    for model in MODELS:
        analysis = Analysis(load_model_config(model), load_workload("dsocr-a4-gundam"), gpu)
        markup = architecture(analysis, str)
        boxes = re.findall(r'class="dsocr-box" x="(\S+)" y="\S+" width="(\S+)"', markup)
        assert len(boxes) >= 7
        assert max(float(x) + float(width) for x, width in boxes) <= 1000
