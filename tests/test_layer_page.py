"""What a layer's page says of its class as a whole."""

from __future__ import annotations

import pytest

from mkdocs_dsocr.cost.totals import Node, merged
from mkdocs_dsocr.inputs import Hardware, load_workload
from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site.layer_page import LayerPage, layer_pages

MODELS = ("deepseek-ocr-v1-base", "unlimited-ocr")


@pytest.fixture(scope="module", params=MODELS)
def analysis(request: pytest.FixtureRequest, gpu: Hardware) -> Analysis:
    return Analysis(load_model_config(request.param), load_workload("dsocr-standard-v1"), gpu)


def _outermost(analysis: Analysis, page: LayerPage) -> dict[str, Node]:
    """Return the nodes of a class below no other node of it, found from the root downwards."""
    found: dict[str, Node] = {}

    def visit(module_id: str) -> None:
        node = analysis.nodes[module_id]
        if node.class_name == page.class_name:
            found[module_id] = node
            return
        for child in node.children:
            visit(child)

    visit(next(iter(analysis.nodes)))
    return found


def test_nested_modules_of_a_class_are_counted_once(analysis: Analysis) -> None:
    root = analysis.root.total
    for name, page in layer_pages(analysis).items():
        outermost = _outermost(analysis, page)
        expected = merged(node.total for node in outermost.values())
        assert page.total == expected, name
        assert page.share_of_time == expected.time_ms / root.time_ms <= 1 + 1e-9, name
        assert page.share_of_flops == expected.flops / root.flops <= 1, name
        assert len(page.call_groups) == len(page.nodes)


def test_lists_take_part_of_the_time(analysis: Analysis) -> None:
    """Unlimited-OCR has no ``Sequential``."""
    pages = layer_pages(analysis)
    lists = [pages[name] for name in ("ModuleList", "Sequential") if name in pages]
    assert lists
    for page in lists:
        assert 0 < page.share_of_time < 1
        by_stage = sum(n.total.time_ms for n in page.outermost if n.stage in page.stages)
        assert by_stage == pytest.approx(page.total.time_ms, rel=1e-12)


def test_some_lists_are_nested(gpu: Hardware) -> None:
    config, workload = load_model_config(MODELS[0]), load_workload("dsocr-standard-v1")
    page = layer_pages(Analysis(config, workload, gpu))["ModuleList"]
    assert len(page.outermost) < len(page.nodes)
    assert page.total.time_ms < sum(node.total.time_ms for node in page.nodes)


def test_the_whole_model_has_the_cost_of_each_stage(analysis: Analysis) -> None:
    page = layer_pages(analysis)[analysis.root.class_name]
    assert page.stages == [s for s, t in analysis.stage_times.items() if t.time_ms]
    assert sum(r.total.time_ms for r in page.stage_rows) == pytest.approx(page.time_ms, rel=1e-9)
    assert sum(r.total.flops for r in page.stage_rows) == page.total.flops
    assert not any(r.own.flops for r in page.stage_rows)
    assert [p.name for p in page.parts if p.is_own] == []
