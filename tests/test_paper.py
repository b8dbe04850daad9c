"""The paper's figures against the formulas."""

from __future__ import annotations

import pytest

from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.report.paper import ACTIVE_PARAMETERS, compare_with_paper, is_the_papers_model


def test_visual_tokens_of_every_mode(config: ModelConfig) -> None:
    modes = compare_with_paper(config).modes
    assert [row.name for row in modes] == ["Tiny", "Small", "Base", "Large", "Gundam", "Gundam-M"]
    assert all(row.stated == row.by_formula for row in modes)


def test_parameters(config: ModelConfig) -> None:
    paper = compare_with_paper(config)
    assert paper.active_parameters == 574_095_360
    assert paper.active_parameters == pytest.approx(ACTIVE_PARAMETERS, rel=0.01)
    assert paper.parameters == 3_336_106_240


def test_published_rates_are_below_the_ceilings(config: ModelConfig) -> None:
    """On one A100 with 40 GB, for weights and caches that fit it."""
    paper = compare_with_paper(config)
    assert [row.what for row in paper.ceilings] == [
        "pages per day, all stages",
        "output tokens per second, all stages",
        "output tokens per second, decode alone",
    ]
    pages, tokens_per_s, decode = (row.ceiling for row in paper.ceilings)
    assert tokens_per_s == pytest.approx(1_000 * pages / 86_400)
    assert tokens_per_s < decode
    assert all(row.factor > 1 for row in paper.ceilings)
    tokens = 273 + 10 + paper.workload.max_new_tokens
    cache = paper.workload.batch_size * tokens * 2 * 12 * 1280 * 2
    assert 2 * paper.parameters + cache < paper.gpu.room_bytes


def test_another_model_is_not_the_papers(config: ModelConfig) -> None:
    assert is_the_papers_model(config)
    other = config.language.model_copy(update={"hidden_size": 640})
    assert not is_the_papers_model(config.model_copy(update={"language": other}))
