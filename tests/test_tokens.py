"""From pages to tokens: the grid rule, views, and how a workload resolves."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkdocs_dsocr.inputs import InputError, ModelConfig, Workload, load_workload
from mkdocs_dsocr.inputs.files import validate
from mkdocs_dsocr.models import Batch, BatchPass, Model, load_model_config, model_of, plan
from mkdocs_dsocr.models.tokens import crop_grid, features_a_side, global_tokens, local_tokens
from mkdocs_dsocr.serving.steps import engine_workload

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
    resolved = plan(config, make(crop_grid=(1, 1)))
    assert [r.first.pass_id for r in resolved.runs if r.stage == "vision"] == ["vision.global"]
    assert resolved.image_tokens == 273


def test_without_crops_the_view_has_image_size(config: ModelConfig) -> None:
    resolved = plan(config, make(crop_mode=False, base_size=None, page_size=(3000, 3000)))
    assert resolved.global_view == 640
    assert resolved.image_tokens == 111
    assert "page_size is not used" in " ".join(resolved.notes)


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


@pytest.mark.parametrize(("steps", "middle"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (1000, 500)])
def test_the_middle_of_steps(config: ModelConfig, steps: int, middle: int) -> None:
    """A plan, its loop and a batch of it have the same middle."""
    resolved = plan(config, make(crop_grid=(1, 2), max_new_tokens=steps + 1))
    [loop] = [run for run in resolved.runs if run.stage == "decode"]
    assert (resolved.middle, loop.middle, resolved.of(1).middle) == (middle, middle, middle)
    assert resolved.step(resolved.middle).kv_len == resolved.seq_len + middle


def test_more_positions_than_the_model_was_made_for_are_noted(config: ModelConfig) -> None:
    (note,) = plan(config, make(crop_grid=(3, 3), text_tokens=8000)).notes
    assert "beyond the model's 8,192" in note
    assert plan(config, make(page_size=(1024, 1024), crop_grid=(2, 2))).notes == ()
    assert plan(config, make(page_size=(1024, 1024))).notes == ()


def test_a_grid_beyond_the_limit_or_of_another_page_is_refused(config: ModelConfig) -> None:
    with pytest.raises(InputError, match=r"crop_grid: found 10×10 = 100 tiles; allowed: at most 9"):
        plan(config, make(crop_grid=(10, 10)))
    with pytest.raises(InputError, match=r"crop_grid: found \[1, 2\]; allowed: \[2, 2\], into"):
        plan(config, make(page_size=(1024, 1024), crop_grid=(1, 2)))
    with pytest.raises(InputError, match="at most 6, max_tiles"):
        plan(config, make(crop_grid=(3, 3), max_tiles=6))
    assert plan(config, make(crop_grid=(10, 10), max_tiles=100)).grid == (10, 10)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "at most 9, the model's limit; max_tiles raises it"),
        ({"engine": "vllm"}, "at most 6, the engine's limit; max_tiles raises it"),
        ({"max_tiles": 6}, "at most 6, max_tiles"),
        ({"engine": "vllm", "max_tiles": 5}, "at most 5, max_tiles"),
    ],
)
def test_a_limit_on_views_says_where_it_comes_from(
    config: ModelConfig, keys: dict[str, object], words: str
) -> None:
    """Where a key that nobody set is named, what raises it is said; and it does."""
    grid = {"crop_grid": (3, 4), **keys}
    with pytest.raises(InputError) as caught:
        plan(config, make(**grid))
    assert caught.value.allowed == words
    assert plan(config, make(**{**grid, "max_tiles": 12})).grid == (3, 4)


def test_the_limit_of_an_engine_that_runs_another_engines_workload(config: ModelConfig) -> None:
    """``dsocr plan`` reads the workload as an engine runs it."""
    page = make(crop_grid=(3, 3))
    with pytest.raises(InputError) as caught:
        plan(config, engine_workload(config, page))
    assert caught.value.allowed == "at most 6, the engine's limit; max_tiles raises it"
    raised = page.model_copy(update={"max_tiles": 9})
    assert plan(config, engine_workload(config, raised)).grid == (3, 3)
    other = load_model_config("deepseek-ocr-2")
    with pytest.raises(InputError, match="at most 6, the model's limit; max_tiles raises it"):
        plan(other, engine_workload(other, page))


@pytest.mark.parametrize("limit", [2, 6, 9, 32])
def test_the_engines_limit_is_that_of_the_rule(config: ModelConfig, limit: int) -> None:
    """Integers and arrays, whose limit is an array, too."""
    sides = [(640 * w, 500 * h) for w in range(1, 8) for h in range(1, 8)]
    found = [plan(config, make(page_size=side, max_tiles=limit)).grid for side in sides]
    assert found == [crop_grid(*side, limit) for side in sides]
    assert max(w * h for w, h in found) <= limit
    widths, heights = numpy.array(sides).T
    columns = crop_grid(widths, heights, numpy.full(len(sides), limit), most=40)
    assert [tuple(row) for row in numpy.array(columns).T.tolist()] == found


def test_grids_of_engines_differ(config: ModelConfig) -> None:
    """vLLM cuts an A4 page of 3 by 3 views into fewer."""
    square = make(page_size=(2000, 2000))
    assert plan(config, square).grid == (3, 3)
    assert plan(config, square.model_copy(update={"max_tiles": 6})).grid == (2, 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 8, "num_pages": 1}, "batch_size: found 8; allowed: at most num_pages = 1"),
        ({"crop_mode": False}, "base_size: found 1024; allowed: image_size = 640, or no base_size"),
        ({"crop_mode": False, "base_size": 640, "max_tiles": 6}, "max_tiles: found a limit with"),
        ({"base_size": None}, "base_size: found nothing"),
        ({"image_size": None}, "image_size: found nothing"),
        ({"text_only": True}, "base_size: found 1024; allowed: no such key with text_only"),
    ],
)
def test_contradictions_are_refused_by_name(changes: dict[str, object], words: str) -> None:
    fields = {**BASE, "crop_grid": [1, 2], **changes}
    if changes.get("crop_mode") is False:
        del fields["crop_grid"]
    with pytest.raises(InputError, match=re.escape(words)):
        validate(Workload, fields, "w.yaml")


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_crops_without_an_image_are_refused_for_that(engine: str) -> None:
    """The message must not ask for a page, which text_only refuses, nor name a default."""
    fields = {"profile_id": "t", "text_only": True, "text_tokens": 5, "max_new_tokens": 8}
    words = "crop_mode: found true; allowed: false with text_only: true"
    with pytest.raises(InputError, match=words):
        validate(Workload, {**fields, "crop_mode": True, "engine": engine}, "w.yaml")


@pytest.mark.parametrize("model", ["deepseek-ocr-v1-base", "got-ocr-2"])
def test_an_empty_prompt_is_refused(model: str) -> None:
    fields = {"profile_id": "t", "text_only": True, "text_tokens": 0, "max_new_tokens": 8}
    workload = validate(Workload, fields, "w.yaml")
    with pytest.raises(InputError, match=r"w\.yaml: text_tokens: found 0; allowed: at least 1: a "):
        plan(load_model_config(model), workload, "w.yaml")


def test_a_request_without_an_image(config: ModelConfig) -> None:
    fields = {"profile_id": "t", "text_only": True, "text_tokens": 500, "max_new_tokens": 8}
    resolved = plan(config, validate(Workload, {**fields, "batch_size": 2}, "w.yaml"))
    assert (resolved.seq_len, resolved.image_tokens) == (500, 0)
    ran = [(run.first.pass_id, run.first.q_len) for run in resolved.runs if run.calls]
    assert ran == [("prefill", 500), ("decode", 1)]


def test_weights_without_an_image_are_counted_once(
    config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part is there once without running, whatever its passes are called."""
    model = type(model_of(config))
    passes = model.passes
    fields = {"profile_id": "t", "text_only": True, "text_tokens": 5, "max_new_tokens": 2}
    workload = validate(Workload, fields, "w.yaml")

    def idle() -> list[str]:
        return [run.stage for run in plan(config, workload).runs if not run.calls]

    def renamed(self: Model, config: ModelConfig, batch: Batch) -> Iterator[BatchPass]:
        for number, found in enumerate(passes(self, config, batch)):
            yield dataclasses.replace(found, pass_id=f"{found.stage}.{number}")

    assert idle() == ["vision", "projector"]
    monkeypatch.setattr(model, "passes", renamed)
    assert idle() == ["vision", "projector"]
