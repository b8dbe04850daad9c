"""GOT-OCR-2.0, exact: the whole model and drawn ones; its views, its shared weights."""

from __future__ import annotations

import ast
import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mkdocs_dsocr.build.static import distinct_shapes
from mkdocs_dsocr.inputs import (
    Hardware,
    InputError,
    ModelConfig,
    Workload,
    load_hardware,
    load_workload,
)
from mkdocs_dsocr.models import load_model_config, plan
from mkdocs_dsocr.models.got_ocr2 import GotOCR2
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.changes import load_report
from mkdocs_dsocr.report.models import compare_models
from mkdocs_dsocr.report.paper import active_parameters
from mkdocs_dsocr.report.saved import as_config
from mkdocs_dsocr.sweep import api
from mkdocs_dsocr.tracing import StaticAnalyzer
from mkdocs_dsocr.verify.formulas import verify
from tests.conftest import MINIMAL, BuildSite, BuiltSite, small_got
from tests.drawn import consistent

FOLDER = Path(transformers.__file__).parent / "models/got_ocr2"
EMBEDDING = 151_860 * 1024
drawn = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def whole() -> ModelConfig:
    return load_model_config("got-ocr-2")


@pytest.fixture(scope="module")
def raw(whole: ModelConfig) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(whole.path.read_text(encoding="utf-8"))
    return content


def _load(content: dict[str, Any], folder: Path) -> ModelConfig:
    (folder / "config.json").write_text(json.dumps(content))
    return load_model_config(f"{folder}/")


def _workload(side: int = 1024, **fields: Any) -> Workload:
    base = {
        "profile_id": "w",
        "base_size": side,
        "image_size": side,
        "crop_mode": True,
        "crop_grid": (2, 3),
        "text_tokens": 9,
        "max_new_tokens": 40,
    }
    return Workload.model_validate(consistent({**base, **fields}))


def _drawn_workload(draw: Callable[[Any], Any], side: int) -> Workload:
    """Grids, batches, and outputs of any length."""
    has_tiles = draw(st.booleans())
    return _workload(
        side,
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
    analyses = [Analysis(whole, load_workload(w), gpu) for w in ("got-a4", "dsocr-base")]
    shapes = distinct_shapes(tuple((a,) for a in analyses))
    verdict = verify(analyses, StaticAnalyzer(whole).trace(shapes))
    assert verdict.failures == []
    assert verdict.other == ()
    assert len(verdict.rows) == 2 * 76


def test_tied_weights_are_held_once_and_read_twice(whole: ModelConfig, gpu: Hardware) -> None:
    """The LM head reads the embedding's rows: no parameters, and a product with all of them."""
    with torch.device("meta"):
        real = transformers.GotOcr2ForConditionalGeneration(transformers.GotOcr2Config())
    analysis = Analysis(whole, load_workload("got-a4"), gpu)
    head = analysis.nodes["decode/lm_head"].total
    assert analysis.root.total.num_parameters == sum(p.numel() for p in real.parameters())
    assert head.num_parameters == 0
    assert head.matmul_flops == 511 * 2 * EMBEDDING
    products = 24 * (4 * 1024**2 + 3 * 1024 * 2816 + 3 * 1024)
    assert active_parameters(whole) == EMBEDDING + products
    # It stays in 16 bits where the linears do not: the embedding does.
    narrow = Analysis(
        whole, load_workload("got-a4").model_copy(update={"weight_dtype": "fp8"}), gpu
    )
    assert narrow.nodes["decode/lm_head"].total.io_bytes == head.io_bytes


@drawn
@given(data=st.data())
def test_any_model_of_the_architecture_is_exact(
    raw: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
    gpu: Hardware,
    data: st.DataObject,
) -> None:
    """Other widths, depths, heads and sides of views: some that windows divide, one of a window."""
    draw = data.draw
    heads = draw(st.sampled_from([2, 4]))
    side = draw(st.sampled_from([64, 192, 256, 448]))
    content = small_got(
        side,
        hidden_size=heads * draw(st.sampled_from([8, 16])),
        intermediate_size=draw(st.integers(8, 70)),
        num_hidden_layers=draw(st.integers(1, 3)),
        num_attention_heads=heads,
        num_key_value_heads=heads,
        vocab_size=draw(st.integers(50, 300)),
    )
    depth = draw(st.integers(1, 4))
    content["vision_config"] |= {
        "num_hidden_layers": depth,
        "global_attn_indexes": [i for i in (1, 2) if i < depth],
    }
    config = _load(content, tmp_path_factory.mktemp("model"))
    analysis = Analysis(config, _drawn_workload(draw, side), gpu)
    trace = StaticAnalyzer(config).trace(analysis.plan.shapes)
    assert verify([analysis], trace).failures == []


def test_a_real_forward_on_the_cpu_makes_as_many_tokens(
    raw: dict[str, Any], tmp_path: Path, gpu: Hardware
) -> None:
    """Real values from pixels to logits: the features fill the places of the image tokens."""
    config = _load(small_got(), tmp_path)
    workload = _workload(256, crop_grid=(2, 1), pages_per_prompt=2)
    analysis = Analysis(config, workload, gpu)
    assert analysis.plan.image_tokens == 2 * 3 * 4**2
    session = StaticAnalyzer(config, "cpu").session
    (ids,), inputs = session.page_inputs(analysis.plan)
    (token,), step = session.step_inputs(analysis.plan)
    with torch.inference_mode():
        logits = session.model(ids, **inputs).logits
        next_logits = session.model(token, **step).logits
    assert logits.shape == (1, analysis.plan.seq_len, 100)
    assert torch.isfinite(logits).all()
    assert torch.isfinite(next_logits).all()


@pytest.fixture(scope="module")
def source() -> ast.Module:
    """Return transformers' image processor; its module needs torchvision, parts of it do not."""
    return ast.parse((FOLDER / "image_processing_got_ocr2.py").read_text(encoding="utf-8"))


def test_views_are_the_processors(source: ast.Module) -> None:
    """The limits of local views, as the installed package states them."""
    (processor,) = (
        node
        for node in source.body
        if isinstance(node, ast.ClassDef) and node.name == "GotOcr2ImageProcessor"
    )
    stated = {
        statement.targets[0].id: statement.value
        for statement in processor.body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }
    assert ast.literal_eval(stated["min_patches"]) == GotOCR2.min_tiles
    assert ast.literal_eval(stated["max_patches"]) == GotOCR2.max_tiles
    words = (FOLDER / "processing_got_ocr2.py").read_text(encoding="utf-8")
    assert "self.image_token * num_image_tokens * num_patches" in words
    assert "num_image_tokens: int = 256" in words


@pytest.fixture(scope="module")
def canvas(source: ast.Module) -> Callable[..., tuple[int, int]]:
    """Return transformers' own rule."""
    functions = [n for n in source.body if isinstance(n, ast.FunctionDef)]
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
    """Also a page that is smaller than a local view; one local view is none beside the page."""
    found = plan(whole, _workload(crop_grid=None, page_size=(width, height)))
    grid = canvas((height, width), (1024, 1024), 1, 12)
    assert found.grid == grid
    views = grid[0] * grid[1]
    assert found.image_tokens == 256 * (views + 1 if views > 1 else 1)


@pytest.mark.parametrize("key", ["base_size", "image_size"])
def test_views_of_another_side_are_refused(whole: ModelConfig, gpu: Hardware, key: str) -> None:
    """The table of positions is added as it is: other sides do not run."""
    with pytest.raises(InputError, match=f"{key}: found 640; allowed: 1,024 only for GOT-OCR-2.0"):
        plan(whole, _workload(**{key: 640}))
    dimensions: dict[str, Any] = {key: np.array([1024, 640])}
    with pytest.raises(InputError, match=f"{key}: found 640; allowed: 1,024 only"):
        api.rows_of(whole, plan(whole, _workload()), [gpu], **dimensions)
    with pytest.raises(InputError, match="expert_load: found 2 numbers; allowed: none"):
        plan(whole, _workload(expert_load=(1.0, 1.0)))


def test_a_format_that_the_gpu_lacks_is_refused_for_every_model(whole: ModelConfig) -> None:
    fp16 = load_model_config("deepseek-ocr-v1-base")
    fp16 = fp16.model_copy(update={"storage": fp16.storage.model_copy(update={"dtype": "fp16"})})
    main = Analysis(fp16, load_workload("dsocr-a4-gundam"), load_hardware("t4"))
    main.check_formats()
    with pytest.raises(InputError, match="products in bf16; allowed: what the tensor cores of t4"):
        compare_models(main, [whole])


def test_models_are_compared_on_the_same_page(whole: ModelConfig, gpu: Hardware) -> None:
    """Other towers, other views, no experts."""
    main = Analysis(
        load_model_config("deepseek-ocr-v1-base"), load_workload("dsocr-a4-gundam"), gpu
    )
    found = {row.name: row.values for row in compare_models(main, [whole]).rows}
    assert found["side of a local view, px"] == (640, 1024)
    assert found["image tokens"] == (903, 7 * 256)
    assert found["experts per token"] == ("6 of 64", "none")


def test_dimensions_are_what_transformers_writes(
    whole: ModelConfig, raw: dict[str, Any], tmp_path: Path
) -> None:
    """What ships, read by transformers and written by it in full; and transformers' defaults."""
    for made in (transformers.GotOcr2Config(**raw), transformers.GotOcr2Config()):
        content = made.to_dict() | {"architectures": [whole.architecture]}
        assert _load(content, tmp_path).dimensions == whole.dimensions


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("text_config.num_key_value_heads", 8, "16, as GotOcr2"),
        ("text_config.tie_word_embeddings", False, "True, as GotOcr2"),
        ("text_config.use_sliding_window", True, "False, as GotOcr2"),
        ("text_config.layer_types", ["sliding_attention"], "full_attention"),
        ("text_config.hidden_size", None, "text_config.hidden_size"),
        ("text_config.hidden_size", 1000, "an even multiple of num_attention_heads = 16"),
        ("text_config.model_type", "llama", "'qwen2', as GotOcr2"),
        ("vision_config.mlp_dim", 7, "3072, as GotOcr2"),
        ("vision_config.image_size", 1000, "a multiple of 64"),
        ("vision_config.use_rel_pos", False, "True, as GotOcr2"),
        ("vision_config.num_attention_heads", 5, "a multiple of heads = 5"),
    ],
)
def test_a_config_that_makes_other_formulas_is_refused(
    raw: dict[str, Any], tmp_path: Path, key: str, value: Any, words: str
) -> None:
    content = copy.deepcopy(raw)
    section, name = key.split(".")
    content[section][name] = value
    with pytest.raises(InputError) as error:
        _load(content, tmp_path)
    assert words in str(error.value)


@pytest.fixture(scope="module")
def site(build_site: BuildSite, raw: dict[str, Any]) -> BuiltSite:
    """A site of a small model, whose views are of 256 px."""
    workload = yaml.safe_dump(_workload(256).model_dump(mode="json", exclude_none=True))
    settings = "model: got, workloads: [w.yaml]"
    files = {"got/config.json": json.dumps(small_got()), "w.yaml": workload}
    built = build_site(MINIMAL.replace("dsocr]", f"dsocr: {{{settings}}}]"), files)
    assert built.returncode == 0, built.output
    return built


def test_pages_say_nothing_of_experts(site: BuiltSite) -> None:
    """Nor of newline tokens: what a page says of a model is of that model."""
    pages = {p: p.read_text(encoding="utf-8") for p in (site.site / "dsocr").rglob("index.html")}
    assert len(pages) > 30
    # Code that it shares with other models is shown as it is.
    texts = {p: re.sub("<code>.*?</code>", "", text, flags=re.S) for p, text in pages.items()}
    assert {p for p, text in texts.items() if re.search("expert|newline", text, re.I)} == set()
    words = (site.site / "dsocr/workload/index.html").read_text(encoding="utf-8")
    assert "gives ⌈<i>s</i> / 16 / 4⌉<sup>2</sup> tokens" in words
    form = (site.site / "dsocr/planner/index.html").read_text(encoding="utf-8")
    for key in ("base_size", "image_size"):
        [field] = re.findall(f'<input [^>]*name="{key}"[^>]*>', form)
        assert 'min="256" max="256"' in field
        assert 'data-allowed="256 only"' in field


def test_a_saved_report_is_of_the_same_model(site: BuiltSite) -> None:
    """And a report that says that it has a tower is refused."""
    place = site.site / "dsocr/artifacts/w/report.json"
    report = load_report(place)
    config = as_config(report, place)
    assert config.dimensions == load_model_config(f"{site.folder}/got/").dimensions
    clip = load_model_config("unlimited-ocr").clip
    assert report.model.dimensions is not None
    other = report.model.dimensions.model_copy(update={"clip": clip})
    model = report.model.model_copy(update={"dimensions": other})
    with pytest.raises(InputError, match=r"model\.dimensions\.clip: found a tower; allowed: none"):
        as_config(report.model_copy(update={"model": model}), place)
