"""From pages to tokens: the grid rule, views, and how a workload resolves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkdocs_dsocr.inputs import InputError, ModelConfig, Workload, load_workload
from mkdocs_dsocr.models import plan
from mkdocs_dsocr.models.tokens import crop_grid, features_a_side, global_tokens, local_tokens

SIDES = st.integers(1, 5000)


@pytest.mark.parametrize(
    ("sides", "grid"),
    [
        ((640, 640), (1, 1)),
        ((100, 640), (1, 1)),
        ((640, 1280), (1, 2)),
        ((641, 641), (2, 2)),
        ((1024, 1024), (2, 2)),
        ((1300, 1300), (2, 2)),
        ((1400, 1400), (3, 3)),
        ((1654, 2339), (2, 3)),
        ((2339, 1654), (3, 2)),
        ((6000, 600), (9, 1)),
    ],
)
def test_grid_rule(sides: tuple[int, int], grid: tuple[int, int]) -> None:
    assert crop_grid(*sides) == grid


def test_the_larger_of_two_equal_grids_needs_more_than_half_its_area() -> None:
    # 3×3 has the ratio of 2×2: half the area of nine tiles is 1,843,200 px.
    assert crop_grid(1357, 1357) == (2, 2)
    assert crop_grid(1358, 1358) == (3, 3)


@given(SIDES, SIDES)
def test_a_grid_is_a_candidate_and_turns_with_the_page(width: int, height: int) -> None:
    w, h = crop_grid(width, height)
    assert (w, h) == (1, 1) if max(width, height) <= 640 else 2 <= w * h <= 9
    if width == height:
        assert w == h


@pytest.mark.parametrize(("view", "side"), [(512, 8), (640, 10), (1024, 16), (1280, 20), (64, 1)])
def test_features_a_side(view: int, side: int) -> None:
    assert features_a_side(view) == side
    # The paper counts tokens without newlines and separator.
    assert global_tokens(view) - side - 1 == side * side


def test_tokens_of_the_reference_page() -> None:
    assert global_tokens(1024) == 273
    assert local_tokens(640, 2, 2) == 420


@pytest.mark.parametrize(
    ("workload", "grid", "image", "text"),
    [
        ("dsocr-standard-v1", (1, 2), 493, 19),
        ("dsocr-snapshot-2x2", (2, 2), 693, 10),
        ("dsocr-a4-gundam", (2, 3), 903, 10),
        ("dsocr-tiny", (1, 1), 73, 10),
        ("dsocr-small", (1, 1), 111, 10),
        ("dsocr-base", (1, 1), 273, 10),
        ("dsocr-large", (1, 1), 421, 10),
    ],
)
def test_shipped_workloads(
    config: ModelConfig, workload: str, grid: tuple[int, int], image: int, text: int
) -> None:
    resolved = plan(config, load_workload(workload))
    assert (resolved.grid, resolved.image_tokens, resolved.text_tokens) == (grid, image, text)


BASE = {
    "profile_id": "w",
    "base_size": 1024,
    "image_size": 640,
    "crop_mode": True,
    "max_new_tokens": 4,
    "text_tokens": 10,
}


def make(**changes: object) -> Workload:
    return Workload.model_validate({**BASE, **changes})


def test_a_given_grid_wins_and_one_by_one_is_the_global_view(config: ModelConfig) -> None:
    resolved = plan(config, make(page_size=(1024, 1024), crop_grid=(1, 1)))
    assert [r.first.pass_id for r in resolved.runs if r.stage == "vision"] == ["vision.global"]
    assert resolved.image_tokens == 273


def test_without_crops_the_view_has_image_size(config: ModelConfig) -> None:
    resolved = plan(config, make(crop_mode=False, page_size=(3000, 3000)))
    assert resolved.global_view == 640
    assert resolved.image_tokens == 111


def test_contradicting_tokens_show_the_sum(config: ModelConfig) -> None:
    with pytest.raises(InputError, match=r"693 image tokens \+ 10 text tokens = 703"):
        plan(config, make(page_size=(1024, 1024), seq_len=700))
    with pytest.raises(InputError, match="at least the 693 image tokens"):
        plan(config, make(page_size=(1024, 1024), text_tokens=None, seq_len=692))


def test_the_rule_speaks_for_640_only(config: ModelConfig) -> None:
    with pytest.raises(InputError, match="tiles of 640 px only"):
        plan(config, make(page_size=(1024, 1024), image_size=512))
    assert plan(config, make(crop_grid=(2, 1), image_size=512)).image_tokens == 273 + 17 * 8


def test_rounds(config: ModelConfig) -> None:
    resolved = plan(config, make(crop_grid=(1, 2), batch_size=4, num_pages=10, max_new_tokens=3))
    runs = [(r.first.pass_id, r.calls, r.steps, r.first.batch) for r in resolved.runs]
    assert runs == [
        ("vision.global", 10, 1, 0),
        ("vision.local", 10, 1, 0),
        ("projector.global", 10, 1, 0),
        ("projector.local", 10, 1, 0),
        ("prefill", 2, 1, 4),
        ("prefill", 1, 1, 2),
        ("decode", 2, 2, 4),
        ("decode", 1, 2, 2),
    ]


def test_one_new_token_needs_no_decode(config: ModelConfig) -> None:
    resolved = plan(config, make(crop_grid=(1, 2), max_new_tokens=1))
    assert all(r.stage != "decode" for r in resolved.runs)


def test_notes_on_what_the_model_was_not_made_for(config: ModelConfig) -> None:
    notes = plan(config, make(crop_grid=(10, 10), max_new_tokens=100)).notes
    assert any("beyond the model's 8,192" in n for n in notes)
    assert any("100 tiles is off the model's rule" in n for n in notes)
    (note,) = plan(config, make(page_size=(1024, 1024), crop_grid=(1, 2))).notes
    assert "1×2 is off the model's rule, which cuts this page into 2×2" in note
    assert plan(config, make(page_size=(1024, 1024), crop_grid=(2, 2))).notes == ()
    assert plan(config, make(page_size=(1024, 1024))).notes == ()
