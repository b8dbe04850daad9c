"""Models behind the door: Unlimited-OCR, exact; what the door and its configs refuse."""

from __future__ import annotations

import ast
import copy
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import transformers
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mkdocs_dsocr.build.static import distinct_shapes
from mkdocs_dsocr.build.trace_keys import cache_key
from mkdocs_dsocr.cli import main
from mkdocs_dsocr.inputs import (
    Hardware,
    InputError,
    ModelConfig,
    Workload,
    load_workload,
)
from mkdocs_dsocr.layers import memory
from mkdocs_dsocr.models import (
    Run,
    known_models,
    load_model_config,
    pass_layer,
    plan,
)
from mkdocs_dsocr.models.deepseek_ocr import DeepSeekOCR
from mkdocs_dsocr.models.deepseek_ocr2 import DeepSeekOCR2
from mkdocs_dsocr.models.got_ocr2 import GotOCR2
from mkdocs_dsocr.models.unlimited_ocr import UnlimitedOCR
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.latency import step_times
from mkdocs_dsocr.sweep import rows
from mkdocs_dsocr.tracing import StaticAnalyzer, session
from mkdocs_dsocr.tracing import unlimited_ocr as tracing_unlimited
from mkdocs_dsocr.tracing.unlimited_ocr import NEEDED
from mkdocs_dsocr.verify.formulas import verify
from tests.conftest import ROOT
from tests.drawn import consistent
from tests.test_docs import blocks

BOTH = ("deepseek-ocr-v1-base", "unlimited-ocr")


@pytest.fixture(scope="module")
def whole() -> ModelConfig:
    return load_model_config("unlimited-ocr")


@pytest.fixture(scope="module")
def raw(whole: ModelConfig) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(whole.path.read_text(encoding="utf-8"))
    return content


def _workload(**fields: Any) -> Workload:
    base = {
        "profile_id": "w",
        "base_size": 1024,
        "image_size": 640,
        "crop_mode": True,
        "crop_grid": (2, 3),
        "text_tokens": 9,
        "max_new_tokens": 150,
    }
    return Workload.model_validate(consistent({**base, **fields}))


def test_the_whole_model_is_exact(whole: ModelConfig, gpu: Hardware) -> None:
    """Every module of the real sizes, in five figures, with and without local views."""
    analyses = [Analysis(whole, load_workload(w), gpu) for w in ("dsocr-a4-gundam", "dsocr-small")]
    shapes = distinct_shapes(tuple((a,) for a in analyses))
    verdict = verify(analyses, StaticAnalyzer(whole).trace(shapes))
    assert verdict.failures == []
    assert verdict.other == ()
    assert len(verdict.rows) == 181 + 129
    assert analyses[0].root.total.num_parameters == 3_335_504_128


@pytest.fixture(scope="module")
def narrow(unlimited: StaticAnalyzer) -> dict[int, StaticAnalyzer]:
    """The same few layers, by the width of the window."""
    config, result = unlimited.session.config, {}
    for window in (1, 2, 7):
        language = config.language.model_copy(update={"sliding_window": window})
        result[window] = StaticAnalyzer(config.model_copy(update={"language": language}))
    return result


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_workload_is_exact(
    narrow: dict[int, StaticAnalyzer], gpu: Hardware, data: st.DataObject
) -> None:
    """Grids, views, batches, and outputs that end before, in and after the window."""
    draw = data.draw
    analyzer = narrow[draw(st.sampled_from(sorted(narrow)))]
    has_tiles = draw(st.booleans())
    workload = _workload(
        base_size=draw(st.sampled_from([64, 192, 640, 1024])),
        image_size=draw(st.sampled_from([64, 320, 640])),
        crop_mode=has_tiles,
        crop_grid=(draw(st.integers(1, 4)), draw(st.integers(1, 3))) if has_tiles else None,
        max_new_tokens=draw(st.integers(1, 14)),
        batch_size=draw(st.integers(1, 3)),
        pages_per_prompt=(each := draw(st.integers(1, 3))),
        num_pages=each * draw(st.integers(1, 4)),
        logits_positions=draw(st.sampled_from(["all", "last"])),
        vision_batching=draw(st.sampled_from(["per_page", "batched"])),
    )
    analysis = Analysis(analyzer.session.config, workload, gpu)
    assert verify([analysis], analyzer.trace(analysis.plan.shapes)).failures == []


def test_decode_is_the_sum_of_its_steps(narrow: dict[int, StaticAnalyzer], gpu: Hardware) -> None:
    """A window of 7 that fills and slides: the closed form against each step traced."""
    analyzer = narrow[7]
    analysis = Analysis(analyzer.session.config, _workload(max_new_tokens=11), gpu)
    planned = analysis.plan
    loops = [(run.steps, run.first.window, run.last.window) for run in planned.runs[-2:]]
    assert loops == [(7, 1, 7), (3, 7, 7)]
    steps = [planned.step(number) for number in range(1, planned.steps + 1)]
    assert [s.kv_len - planned.seq_len for s in steps] == [1, 2, 3, 4, 5, 6, 7, 7, 7, 7]
    counted = sum(analyzer.count(s).matmul_flops[""] for s in steps)
    assert analysis.nodes["decode"].total.matmul_flops == counted
    with pytest.raises(LookupError, match="10 steps, not 11"):
        planned.step(11)


def test_a_window_bounds_cache_and_steps(whole: ModelConfig, gpu: Hardware) -> None:
    """After the window neither a step nor the cache grows; bytes of 12 layers, 10 heads of 128."""
    results = [
        Analysis(whole, _workload(max_new_tokens=n), gpu) for n in (129, 130, 1_000, 1_000_000)
    ]
    caches = {max(m.kvcache for m in a.stage_memory.values()) for a in results}
    assert caches == {2 * 2 * 12 * 1280 * (results[0].plan.seq_len + 128)}
    times = [step_times(a.cost, gpu)["last"] for a in results]
    assert len(set(times)) == 1


def test_dimensions_are_transformers_own(whole: ModelConfig, tmp_path: Path) -> None:
    """What ships equals the defaults of transformers, written by it or left out."""
    own = transformers.UnlimitedOcrConfig()
    for name, content in (("full", own.to_dict()), ("short", own.to_diff_dict())):
        folder = tmp_path / name
        folder.mkdir()
        content["architectures"] = [whole.architecture]
        (folder / "config.json").write_text(json.dumps(content))
        assert load_model_config(f"{folder}/").dimensions == whole.dimensions


@pytest.fixture(scope="module")
def canvas() -> Callable[..., tuple[int, int]]:
    """Return transformers' own rule; its module needs torchvision, two functions of it do not."""
    folder = Path(transformers.__file__).parent / "models/unlimited_ocr"
    source = (folder / "image_processing_unlimited_ocr.py").read_text(encoding="utf-8")
    assert f"max_patches = {UnlimitedOCR.max_tiles}\n" in source
    assert "max(height, width) > tile_size" in source
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
    fits = max(width, height) <= 640
    grid = (1, 1) if fits else canvas((height, width), (640, 640), 2, UnlimitedOCR.max_tiles)
    assert plan(whole, _workload(crop_grid=None, page_size=(width, height))).grid == grid


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("text_config.num_key_value_heads", 5, "num_attention_heads = 10"),
        ("text_config.sliding_window", None, "text_config.sliding_window"),
        ("text_config.layer_types", ["full_attention"] * 12, "reference_sliding_attention for"),
        ("text_config.mlp_layer_types", ["sparse", "dense"], "dense layers, then sparse ones"),
        ("text_config.attention_bias", True, "False, as UnlimitedOcrForConditionalGeneration"),
        ("text_config.hidden_size", 1290, "even multiple of num_attention_heads"),
        ("text_config.num_experts_per_tok", 65, "at most n_routed_experts = 64"),
        ("vision_config.sam_config.window_size", 7, "14, as"),
        ("vision_config.sam_config.mlp_dim", 7, "4 × hidden_size = 3072"),
        ("vision_config.sam_config.hidden_size", 770, "mlp_dim"),
        ("vision_config.encoder_config.num_attention_heads", 3, "a multiple of heads = 3"),
        ("vision_config.encoder_config", 3, "vision_config.encoder_config"),
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
    assert "config.json" in str(error.value)


def test_what_it_does_not_model_is_refused(whole: ModelConfig, tmp_path: Path) -> None:
    """Autocast, and a checkpoint's own code."""
    with pytest.raises(InputError, match="precision_mode: found autocast"):
        plan(whole, _workload(precision_mode="autocast"))
    with pytest.raises(InputError, match="precision_mode: found autocast"):
        rows(model="unlimited-ocr", precision_mode=["module", "autocast"])
    flags = ["--model", "unlimited-ocr", "--trust-remote-code", "--output", str(tmp_path)]
    done = CliRunner().invoke(main, ["static", *flags])
    assert done.exit_code == 2
    assert "--trust-remote-code: found true" in done.output


@pytest.mark.parametrize(
    ("package", "module", "old"),
    [
        ("transformers", "importlib", SimpleNamespace(import_module=lambda name: object())),
        ("torch", "torch", SimpleNamespace(ops=SimpleNamespace(aten=object()))),
    ],
)
def test_an_old_release_is_named(
    package: str, module: str, old: object, whole: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing_unlimited, module, old)
    with pytest.raises(InputError, match=f"{package} .*; allowed: {NEEDED[package]} or newer"):
        StaticAnalyzer(whole)


def test_all_models_come_through_the_door() -> None:
    points = {p.name: p.load() for p in metadata.entry_points(group="mkdocs_dsocr.models")}
    assert {type(m) for m in points.values()} == {DeepSeekOCR, UnlimitedOCR, DeepSeekOCR2, GotOCR2}
    assert set(known_models().values()) == set(points.values())


class _Point:
    """An entry point of another package."""

    name, value = "mine", "mine:MODEL"

    def __init__(self, found: Any) -> None:
        self.found = found

    def load(self) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class _Renamed(UnlimitedOCR):
    """A model that has the alias of another one, inherited from it."""

    architecture, title = "RenamedForCausalLM", "Renamed"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (ImportError("no torch here"), "raised ImportError: no torch here"),
        (3, "an instance of mkdocs_dsocr.models.Model"),
        (DeepSeekOCR(), "DeepseekOCRForCausalLM, a name of DeepSeek-OCR"),
        (_Renamed(), "UnlimitedOCRForCausalLM, a name of Renamed"),
    ],
)
def test_an_entry_point_that_is_none(
    monkeypatch: pytest.MonkeyPatch, found: Any, words: str
) -> None:
    """It names the entry point that is wrong; of two with one name, the later one."""
    own = list(metadata.entry_points(group="mkdocs_dsocr.models"))
    monkeypatch.setattr(metadata, "entry_points", lambda group: [*own, _Point(found)])
    known_models.cache_clear()
    try:
        with pytest.raises(InputError, match=r"mkdocs_dsocr\.models: [\w-]+: found") as error:
            load_model_config("unlimited-ocr")
        assert words in str(error.value)
    finally:
        known_models.cache_clear()


def test_a_package_that_is_not_installed(
    whole: ModelConfig, gpu: Hardware, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UnlimitedOCR, "packages", ("no-such-distribution",))
    analyses = ((Analysis(whole, load_workload("dsocr-small"), gpu),),)
    with pytest.raises(InputError, match="no-such-distribution: found nothing"):
        cache_key(analyses, "meta")


def test_a_session_that_is_none(whole: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UnlimitedOCR, "session", "mkdocs_dsocr.tracing.unlimited_ocr:Nothing")
    with pytest.raises(InputError, match=r"session: found '.*Nothing'"):
        session.build_session(whole, "meta")


def test_a_package_of_its_own_brings_a_model(tmp_path: Path) -> None:
    """The how-to's package, installed as pip would, seen by the commands that it shows."""
    files = {b.title: b.text for b in blocks("docs/how-to/model.md") if b.title}
    assert set(files) == {"my_ocr.py", "pyproject.toml", "letter.yaml"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    info = tmp_path / "my_ocr-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-ocr\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mkdocs_dsocr.models]\nmy-ocr = my_ocr:MODEL\n")
    content = json.loads(load_model_config(BOTH[0]).path.read_text())
    content["architectures"] = ["MyOCRForCausalLM"]
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/config.json").write_text(json.dumps(content))
    command = "compare deepseek-ocr-v1-base weights/ --workload letter.yaml"
    assert f"$ dsocr {command}" in (ROOT / "docs/how-to/model.md").read_text()
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs_dsocr.cli", *command.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("  local views"))
    assert line.split() == ["local", "views", "2", "×", "3", "3", "×", "4"]


def test_layers_of_another_package_have_a_place(
    whole: ModelConfig, gpu: Hardware, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer outside of this package stands under a heading of its own."""
    from mkdocs_dsocr.layers.unlimited import UnlimitedOcrTextModel
    from mkdocs_dsocr.site.layer_page import layer_pages
    from mkdocs_dsocr.site.views.structure import layer_folders

    monkeypatch.setattr(UnlimitedOcrTextModel, "__module__", "my_ocr.layers")
    analysis = Analysis(whole, load_workload("dsocr-small"), gpu)
    folders = layer_folders(layer_pages(analysis))
    assert [p.class_name for p in folders["model"]] == ["UnlimitedOcrTextModel"]
    assert list(folders)[-1] == "builtin"


def test_arrays_of_batches_are_each_batch_by_itself(whole: ModelConfig) -> None:
    """As pages that show many batches have them."""
    planned = plan(whole, _workload(vision_batching="batched"))
    for run in planned.runs:
        name = "batch" if run.last.part == "language" else "pages"

        def peak(size: Any, run: Run = run, name: str = name) -> Any:
            shape = dataclasses.replace(run.last, **{name: size})
            like = dataclasses.replace(run.last, **{name: 2})  # type: ignore[arg-type]
            layer = pass_layer(whole, shape, planned.workload, like=like)
            return memory.peak(layer).bytes

        if run.follows_batch:
            assert peak(np.array([2, 3, 7])).tolist() == [peak(n) for n in (2, 3, 7)]
