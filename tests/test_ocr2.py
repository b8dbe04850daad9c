"""DeepSeek-OCR-2, exact: the whole model, drawn workloads and drawn dimensions; its views."""

from __future__ import annotations

import ast
import copy
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mkdocs_dsocr.build.static import distinct_shapes
from mkdocs_dsocr.inputs import Hardware, InputError, ModelConfig, Workload, load_workload
from mkdocs_dsocr.models import load_model_config, plan
from mkdocs_dsocr.models.deepseek_ocr2 import DeepSeekOCR2
from mkdocs_dsocr.models.tokens import queries
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.models import compare_models
from mkdocs_dsocr.tracing import StaticAnalyzer
from mkdocs_dsocr.verify.formulas import verify
from tests.drawn import consistent

FOLDER = Path(transformers.__file__).parent / "models/deepseek_ocr2"
drawn = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def whole() -> ModelConfig:
    return load_model_config("deepseek-ocr-2")


@pytest.fixture(scope="module")
def raw(whole: ModelConfig) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(whole.path.read_text(encoding="utf-8"))
    return content


def _workload(**fields: Any) -> Workload:
    base = {
        "profile_id": "w",
        "base_size": 1024,
        "image_size": 768,
        "crop_mode": True,
        "crop_grid": (2, 3),
        "text_tokens": 9,
        "max_new_tokens": 40,
    }
    return Workload.model_validate(consistent({**base, **fields}))


def _drawn_workload(draw: Callable[[Any], Any]) -> Workload:
    """Grids, views around both banks of queries, batches, and outputs of any length."""
    has_tiles = draw(st.booleans())
    sides = [64, 192, 640, 704, 768, 832, 1024, 1280]
    return _workload(
        base_size=draw(st.sampled_from(sides)),
        image_size=draw(st.sampled_from(sides)),
        crop_mode=has_tiles,
        crop_grid=(draw(st.integers(1, 4)), draw(st.integers(1, 3))) if has_tiles else None,
        max_new_tokens=draw(st.integers(1, 14)),
        batch_size=draw(st.integers(1, 3)),
        pages_per_prompt=(each := draw(st.integers(1, 3))),
        num_pages=each * draw(st.integers(1, 4)),
        logits_positions=draw(st.sampled_from(["all", "last"])),
        vision_batching=draw(st.sampled_from(["per_page", "batched"])),
    )


def test_the_whole_model_is_exact(whole: ModelConfig, gpu: Hardware) -> None:
    """Every module of the real sizes, in five figures, with and without local views."""
    analyses = [Analysis(whole, load_workload(w), gpu) for w in ("dsocr2-a4", "dsocr-base")]
    shapes = distinct_shapes(tuple((a,) for a in analyses))
    verdict = verify(analyses, StaticAnalyzer(whole).trace(shapes))
    assert verdict.failures == []
    assert verdict.other == ()
    assert len(verdict.rows) == 183 + 130
    assert analyses[0].root.total.num_parameters == 3_389_119_360


def test_published_figures_of_the_vision_tower(whole: ModelConfig, gpu: Hardware) -> None:
    """Products of a view of each size that the processor makes."""
    nodes = Analysis(whole, load_workload("dsocr2-a4"), gpu).nodes
    assert nodes["vision.global"].total.matmul_flops == 1_365_570_158_592
    assert nodes["vision.local"].total.matmul_flops == 6 * 727_691_821_056


@drawn
@given(data=st.data())
def test_any_workload_is_exact(ocr2: StaticAnalyzer, gpu: Hardware, data: st.DataObject) -> None:
    analysis = Analysis(ocr2.session.config, _drawn_workload(data.draw), gpu)
    assert verify([analysis], ocr2.trace(analysis.plan.shapes)).failures == []


@drawn
@given(data=st.data())
def test_any_model_of_the_architecture_is_exact(
    raw: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
    gpu: Hardware,
    data: st.DataObject,
) -> None:
    """Other widths, depths, heads and experts; queries in groups or not."""
    draw, content = data.draw, copy.deepcopy(raw)
    layers, experts = draw(st.integers(1, 4)), draw(st.integers(2, 9))
    heads, dense = draw(st.sampled_from([2, 4])), draw(st.integers(0, layers))
    content["text_config"] |= {
        "hidden_size": heads * draw(st.sampled_from([8, 16])),
        "intermediate_size": draw(st.integers(8, 70)),
        "moe_intermediate_size": 8 * draw(st.integers(1, 5)),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "n_routed_experts": experts,
        "n_shared_experts": draw(st.integers(1, 3)),
        "num_experts_per_tok": draw(st.integers(1, experts)),
        "vocab_size": draw(st.integers(50, 300)),
        "mlp_layer_types": ["dense"] * dense + ["sparse"] * (layers - dense),
    }
    vision = content["vision_config"]
    vision["encoder_config"] |= {
        "hidden_size": 32,
        "intermediate_size": draw(st.integers(8, 70)),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": 4,
        "num_key_value_heads": draw(st.sampled_from([1, 2, 4])),
    }
    depth = draw(st.integers(1, 4))
    vision["sam_config"] |= {
        "hidden_size": 24,
        "mlp_dim": 96,
        "num_attention_heads": 3,
        "num_hidden_layers": depth,
        "global_attn_indexes": [i for i in (1, 2) if i < depth],
        "downsample_channels": [16, 32],
    }
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text(json.dumps(content))
    analysis = Analysis(load_model_config(f"{folder}/"), _drawn_workload(draw), gpu)
    trace = StaticAnalyzer(analysis.config).trace(analysis.plan.shapes)
    assert verify([analysis], trace).failures == []


def test_a_real_forward_on_the_cpu_makes_as_many_tokens(
    raw: dict[str, Any], tmp_path: Path, gpu: Hardware
) -> None:
    """Real values from pixels to logits: the features fill the places of the image tokens."""
    content = copy.deepcopy(raw)
    content["text_config"] |= {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 48,
        "moe_intermediate_size": 16,
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "vocab_size": 100,
        "mlp_layer_types": ["dense", "sparse"],
    }
    content["vision_config"]["encoder_config"] |= {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    content["vision_config"]["sam_config"] |= {
        "hidden_size": 24,
        "mlp_dim": 96,
        "num_attention_heads": 3,
        "num_hidden_layers": 1,
        "global_attn_indexes": [],
        "downsample_channels": [16, 32],
    }
    (tmp_path / "config.json").write_text(json.dumps(content))
    workload = _workload(base_size=832, image_size=64, crop_grid=(2, 1))
    analysis = Analysis(load_model_config(f"{tmp_path}/"), workload, gpu)
    assert analysis.plan.image_tokens == 2 * 144 + 256 + 1
    session = StaticAnalyzer(analysis.config, "cpu").session
    (ids,), inputs = session.page_inputs(analysis.plan)
    (token,), step = session.step_inputs(analysis.plan)
    with torch.inference_mode():
        logits = session.model(ids, **inputs).logits
        next_logits = session.model(token, **step).logits
    assert logits.shape == (1, analysis.plan.seq_len, 100)
    assert torch.isfinite(logits).all()
    assert torch.isfinite(next_logits).all()


def test_views_are_the_processors() -> None:
    """Sides, the most local views, and tokens of a view, as the installed package states them."""
    source = (FOLDER / "image_processing_deepseek_ocr2.py").read_text(encoding="utf-8")
    (processor,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "DeepseekOcr2ImageProcessor"
    )
    stated = {
        statement.targets[0].id: statement.value
        for statement in processor.body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }
    assert ast.literal_eval(stated["tile_size"]) == DeepSeekOCR2.tile_size
    assert ast.literal_eval(stated["max_patches"]) == DeepSeekOCR2.max_tiles
    assert ast.literal_eval(stated["min_patches"]) == 2
    for side in (768, ast.literal_eval(stated["size"])["height"]):
        # A token for each feature, as the processor has it, and for each query, as the model.
        assert queries(side) == math.ceil(side / 16 / 4) ** 2


@pytest.fixture(scope="module")
def canvas() -> Callable[..., tuple[int, int]]:
    """Return transformers' own rule; its module needs torchvision, two functions of it do not."""
    source = (FOLDER / "image_processing_deepseek_ocr2.py").read_text(encoding="utf-8")
    assert "max(h, w) > tile_size" in source
    functions = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
    for function in functions:
        function.decorator_list = []
    names: dict[str, Any] = {}
    exec(compile(ast.Module([*functions], []), "image_processing", "exec"), names)
    found: Callable[..., tuple[int, int]] = names["get_optimal_tiled_canvas"]
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(width=st.integers(1, 9000), height=st.integers(1, 9000))
def test_a_page_is_cut_as_transformers_cuts_it(
    whole: ModelConfig, canvas: Callable[..., tuple[int, int]], width: int, height: int
) -> None:
    fits = max(width, height) <= 768
    grid = (1, 1) if fits else canvas((height, width), (768, 768), 2, 6)
    assert plan(whole, _workload(crop_grid=None, page_size=(width, height))).grid == grid


def test_a_view_that_the_processor_does_not_make_is_noted(whole: ModelConfig) -> None:
    assert plan(whole, _workload()).notes == ()
    (note,) = plan(whole, _workload(image_size=640)).notes
    assert "640 px has 10² features and 144 queries" in note
    with pytest.raises(InputError, match="tiles of 768 px only"):
        plan(whole, _workload(image_size=640, crop_grid=None, page_size=(1654, 2339)))


def test_models_are_compared_on_the_same_page(whole: ModelConfig, gpu: Hardware) -> None:
    """A rule's local views have each model's own side; the text of the prompt is the same."""
    main = Analysis(
        load_model_config("deepseek-ocr-v1-base"), load_workload("dsocr-a4-gundam"), gpu
    )
    found = {row.name: row.values for row in compare_models(main, [whole]).rows}
    assert found["side of a local view, px"] == (640, 768)
    assert found["image tokens"] == (903, 6 * 144 + 257)
    assert found["parameters"] == (3_336_106_240, 3_389_119_360)
    tokens, images = found["tokens"], found["image tokens"]
    assert {a - b for a, b in zip(tokens, images, strict=True)} == {10}  # type: ignore[operator]
    workload = main.workload.model_copy(update={"crop_grid": (2, 3)})
    fixed = dataclasses.replace(main, workload=workload)
    assert compare_models(fixed, [whole]).analyses[1].workload.image_size == 640


def test_dimensions_are_what_transformers_writes(
    whole: ModelConfig, raw: dict[str, Any], tmp_path: Path
) -> None:
    """What ships, read by transformers and written by it in full."""
    content = transformers.DeepseekOcr2Config(**raw).to_dict()
    content["architectures"] = [whole.architecture]
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert load_model_config(f"{tmp_path}/").dimensions == whole.dimensions


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("text_config.num_key_value_heads", 5, "num_attention_heads = 10"),
        ("text_config.mlp_layer_types", ["sparse", "dense"], "dense layers, then sparse ones"),
        ("text_config.mlp_layer_types", None, "text_config.mlp_layer_types"),
        ("text_config.num_experts_per_tok", None, "text_config.num_experts_per_tok"),
        ("text_config.topk_method", "group_limited_greedy", "'greedy', as DeepseekOcr2"),
        ("vision_config.sam_config.mlp_dim", 7, "4 × hidden_size = 3072"),
        ("vision_config.sam_config.downsample_channels", [512, 1024], "the width of encoder, 896"),
        ("vision_config.encoder_config.num_key_value_heads", 3, "a divisor of heads = 14"),
        ("vision_config.encoder_config.use_sliding_window", True, "False, as DeepseekOcr2"),
        ("vision_config.encoder_config.layer_types", ["sliding_attention"], "full_attention for"),
        ("vision_config.encoder_config.num_attention_heads", 3, "a multiple of heads = 3"),
    ],
)
def test_a_config_that_makes_other_formulas_is_refused(
    raw: dict[str, Any], tmp_path: Path, key: str, value: Any, words: str
) -> None:
    content = copy.deepcopy(raw)
    *path, name = key.split(".")
    part = content
    for step in path:
        part = part[step]
    part[name] = value
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        load_model_config(f"{tmp_path}/")
    assert words in str(error.value)
