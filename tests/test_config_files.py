"""Published and quantised configs: every key is used, refused by name, or reported."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mkdocs_dsocr.cli import main
from mkdocs_dsocr.inputs import Hardware, InputError, ModelConfig, load_workload
from mkdocs_dsocr.inputs.config_file import unexpected
from mkdocs_dsocr.layers import tree
from mkdocs_dsocr.models import load_model_config, plan
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.sweep import rows
from mkdocs_dsocr.sweep.whatif import evaluated
from tests.conftest import ROOT

CONFIGS = ROOT / "tests/data/configs"
DSOCR = ROOT / "data/models/deepseek-ocr-v1-base/config.json"
UNLIMITED = ROOT / "data/models/unlimited-ocr/config.json"
PATCH_CONVOLUTION = 602_112


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def changed(content: dict[str, Any], *keys: str, value: Any) -> dict[str, Any]:
    """Return a config with dotted keys that have a value."""
    result: dict[str, Any] = json.loads(json.dumps(content))
    for key in keys:
        *parents, last = key.split(".")
        place = result
        for parent in parents:
            place = place[parent]
        place[last] = value
    return result


def without(content: dict[str, Any], *keys: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(json.dumps(content))
    for key in keys:
        *parents, last = key.split(".")
        place = result
        for parent in parents:
            place = place[parent]
        del place[last]
    return result


def load(folder: Path, content: dict[str, Any]) -> ModelConfig:
    (folder / "config.json").write_text(json.dumps(content))
    return load_model_config(f"{folder}/")


def refused(folder: Path, content: dict[str, Any], *words: str) -> None:
    with pytest.raises(InputError) as error:
        load(folder, content)
    for part in words:
        assert part in str(error.value)


# Layouts.


def test_the_published_layout_has_the_figures_of_the_port(tmp_path: Path, gpu: Hardware) -> None:
    config, port = (
        load(tmp_path, read(CONFIGS / "hub-unlimited.json")),
        load_model_config("unlimited-ocr"),
    )
    assert config.dimensions == port.dimensions
    (note,) = config.notes
    assert f"{PATCH_CONVOLUTION:,} parameters more than transformers' port" in note
    ours = Analysis(config, load_workload("dsocr-a4-gundam"), gpu)
    assert ours.root.total.num_parameters + PATCH_CONVOLUTION == 3_336_106_240
    assert ours.predicted_ms == Analysis(port, load_workload("dsocr-a4-gundam"), gpu).predicted_ms


def test_the_files_sizes_are_used_whatever_name_the_class_has(tmp_path: Path) -> None:
    content = read(CONFIGS / "hub-unl-renamed.json")
    for name in ("UnlimitedOcrForConditionalGeneration", "UnlimitedOCRForCausalLM"):
        language = load(tmp_path, {**content, "architectures": [name]}).language
        assert (language.num_hidden_layers, language.n_routed_experts) == (6, 32)
        assert language.sliding_window == 128


@pytest.mark.parametrize(
    ("path", "section"),
    [
        (CONFIGS / "hub-unlimited.json", "language_config"),
        (DSOCR, "language_config"),
        (UNLIMITED, "text_config"),
    ],
    ids=["published", "deepseek-ocr", "port"],
)
@pytest.mark.parametrize(
    "key", ["hidden_size", "num_hidden_layers", "n_routed_experts", "vocab_size"]
)
def test_a_missing_key_is_named_and_has_no_default(
    tmp_path: Path, path: Path, section: str, key: str
) -> None:
    content = read(path)
    places = [f"{section}.{key}", *([key] if key in content else [])]
    refused(tmp_path, without(content, *places), f"{key}: found nothing", "the key is required")


def test_every_missing_key_is_named(tmp_path: Path) -> None:
    content = read(CONFIGS / "unl-empty.json")
    refused(tmp_path, content, "vision_config: found nothing", "and so are text_config")
    both = ("sliding_window", "sliding_window_size", "language_config.sliding_window_size")
    published = without(read(CONFIGS / "hub-unlimited.json"), *both)
    refused(tmp_path, published, "sliding_window: found nothing")


def test_a_class_of_another_model_is_refused(tmp_path: Path) -> None:
    content = read(CONFIGS / "unlimited-as-dsocr.json")
    refused(tmp_path, content, "model_type: found 'unlimited-ocr'", "UnlimitedOCRForCausalLM")
    renamed = {**content, "model_type": "deepseek_vl_v2"}
    refused(tmp_path, renamed, "sliding_window", "found 128; allowed: None")
    mixed = {**content, "architectures": ["UnlimitedOCRForCausalLM"], "text_config": {}}
    refused(tmp_path, mixed, "text_config", "one layout")


# Contradictions, and keys that change the computation.


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("conflict-top6", ("num_hidden_layers: found 12, but num_hidden_layers = 6",)),
        ("conflict-nested6", ("num_hidden_layers: found 6, but num_hidden_layers = 12",)),
        ("kvconf", ("language_config.num_key_value_heads: found 2", "= 10 at the top level")),
        ("headdim", ("head_dim: found 64; allowed: 128",)),
    ],
)
def test_conflicts_show_both_values(tmp_path: Path, name: str, words: tuple[str, ...]) -> None:
    refused(tmp_path, read(CONFIGS / f"{name}.json"), *words)


@pytest.mark.parametrize("place", ["", "language_config."])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("use_mla", True),
        ("sliding_window", 128),
        ("head_dim", 64),
        ("n_group", 8),
        ("topk_group", 4),
        ("topk_method", "noaux_tc"),
        ("norm_topk_prob", True),
        ("scoring_func", "sigmoid"),
        ("routed_scaling_factor", 2.5),
        ("rope_scaling", {"type": "yarn", "factor": 40}),
        ("rope_theta", 1_000_000),
        ("rope_parameters", {"rope_type": "linear", "factor": 2.0}),
        ("partial_rotary_factor", 0.5),
        ("attention_bias", True),
        ("tie_word_embeddings", True),
        ("hidden_act", "gelu"),
        ("num_nextn_predict_layers", 1),
        ("lm_head", False),
    ],
)
def test_what_would_change_the_computation_is_refused_wherever_it_stands(
    tmp_path: Path, place: str, key: str, value: Any
) -> None:
    content = without(read(DSOCR), *(p for p in (key, f"language_config.{key}") if _has(p)))
    wrong = changed(content, f"{place}{key}", value=value)
    with pytest.raises(InputError, match=re.escape(f"{place}{key}: found ")):
        load(tmp_path, wrong)


def _has(key: str) -> bool:
    content: Any = read(DSOCR)
    for name in key.split("."):
        if name not in content:
            return False
        content = content[name]
    return True


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("text_config.n_group", 2),
        ("text_config.head_dim", 64),
        ("text_config.rope_scaling", {"rope_type": "yarn"}),
        ("text_config.use_mla", True),
        ("tie_word_embeddings", True),
        ("vision_config.sam_config.window_size", 7),
        ("vision_config.sam_config.hidden_act", "relu"),
        ("vision_config.encoder_config.hidden_act", "gelu"),
    ],
)
def test_the_ports_keys_are_refused_as_well(tmp_path: Path, key: str, value: Any) -> None:
    refused(tmp_path, changed(read(UNLIMITED), key, value=value), f"{key}: found ")


def test_what_is_not_used_is_reported(tmp_path: Path) -> None:
    content = changed(
        read(DSOCR),
        "language_config.mystery",
        "vision_config.odd",
        value=3,
    )
    config = load(tmp_path, content)
    keys = ("language_config.mystery", "vision_config.odd")
    assert unexpected(config.unused_keys) == keys
    arguments = ["analyze", "--model", f"{tmp_path}/", "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(main, arguments)
    sentence = f"Keys of config.json that are not used: {', '.join(keys)}."
    assert f"warning: {sentence}" in done.output
    report = read(tmp_path / "out/report.json")
    assert report["warnings"] == [sentence]
    assert {"bos_token_id", *keys} <= set(report["model"]["unused_keys"])


@pytest.mark.parametrize("model", ["deepseek-ocr-v1-base", "unlimited-ocr"])
def test_the_shipped_configs_have_no_unexpected_key(model: str) -> None:
    config = load_model_config(model)
    assert unexpected(config.unused_keys) == ()
    assert config.notes == config.storage.notes == config.storage.warnings == ()


# Quantised checkpoints.

TOWERS = ("sam_model", "vision_model", "projector", "lm_head")
STORED = {
    "mlx-4bit": ("mlx4", ()),
    "bnb4": ("nf4", TOWERS),
    "gptq4": ("int4", TOWERS),
    "awq4": ("int4", ("sam_model", "vision_model", "lm_head")),
    "fp8block": ("fp8", ("lm_head",)),
    "ct-fp8": ("fp8", ("lm_head",)),
}
"""The format and the modules that stay in 16 bits."""


@pytest.mark.parametrize("name", sorted(STORED))
def test_quantised_checkpoints_are_read_and_counted(
    tmp_path: Path, gpu: Hardware, name: str
) -> None:
    """In the report, a sweep, and a saved report evaluated again."""
    config = load(tmp_path, read(CONFIGS / f"{name}.json"))
    dtype, kept = STORED[name]
    assert (config.storage.weight_dtype, config.storage.kept) == (dtype, kept)
    analysis = Analysis(config, load_workload("dsocr-a4-gundam"), gpu)
    assert analysis.report.workload.weight_dtype == dtype
    assert "The checkpoint stores its weights in" in analysis.report.notes
    swept = rows(f"{tmp_path}/", workload="dsocr-a4-gundam", hardware="rtx-5090")
    assert swept["footprint_bytes"][0] == analysis.footprint_bytes
    assert swept["time_ms"][0] == pytest.approx(analysis.predicted_ms, rel=1e-9)
    (again,) = evaluated(analysis.report, Path("report.json"), [{}])
    assert again.figures["footprint_bytes"] == analysis.footprint_bytes
    for module in ("vision.global/model.sam_model", "vision.global/model.vision_model"):
        narrow = _bits(analysis, module) < 16
        assert narrow == (module.rpartition(".")[2] not in kept), module
    assert _bits(analysis, "prefill/lm_head") == 16 or "lm_head" not in kept
    assert _bits(analysis, "prefill/model.layers.0.mlp") < 8.2


def _bits(analysis: Analysis, module_id: str) -> float:
    """Return the bits of the linears of a module, per weight."""
    node = analysis.nodes[module_id]
    layers = [v for v in tree.walk(node.visit.layer) if v.layer.class_name() == "Linear"]
    weights = [p for v in layers or [node.visit] for p in v.layer.parameters() if p.is_linear]
    precision = (layers or [node.visit])[0].layer.precision
    assert precision is not None
    stored: Any = sum(precision.stored(p.tensor).bytes for p in weights)
    elements: Any = sum(p.elements for p in weights)
    return float(8 * stored / elements)


def test_a_workload_decides_over_the_checkpoint(tmp_path: Path, gpu: Hardware) -> None:
    config = load(tmp_path, read(CONFIGS / "fp8block.json"))
    workload = load_workload("dsocr-a4-gundam")
    assert any("activation_dtype: fp8" in w for w in plan(config, workload).warnings)
    chosen = workload.model_copy(update={"weight_dtype": "bf16"})
    assert plan(config, chosen).warnings == ()
    assert plan(config, chosen).workload.weight_dtype == "bf16"


def _quantised(section: dict[str, Any]) -> dict[str, Any]:
    return {**read(DSOCR), "quantization_config": section}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"quant_method": "hqq", "bits": 4}, "'hqq' is not modelled: weights are counted in bf16"),
        (
            {"quant_method": "gptq", "bits": 3, "group_size": 128},
            "3-bit GPTQ, groups of 128 is not",
        ),
        (
            {"quant_method": "gptq", "bits": 4, "group_size": 32},
            "counted as int4, 4.12 bits per weight: weights have 11% fewer bytes",
        ),
        ({"bits": 6, "group_size": 64}, "6-bit mlx (affine), groups of 64 is not modelled"),
        (
            {
                "quant_method": "awq",
                "bits": 4,
                "group_size": 128,
                "modules_to_not_convert": ["model.layers.3.mlp.up_proj"],
            },
            "leaves 'model.layers.3.mlp.up_proj' in 16 bits",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"a": {"targets": ["re:.*mlp.*"], "weights": {"num_bits": 8}}},
            },
            "of some modules only, is not modelled",
        ),
    ],
)
def test_what_is_not_modelled_is_said(tmp_path: Path, section: dict[str, Any], words: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(_quantised(section)))
    arguments = ["analyze", "--model", f"{tmp_path}/", "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "warning: " in done.output
    assert words in done.output
    assert any(words in w for w in read(tmp_path / "out/report.json")["warnings"])


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"quant_method": "awq", "bits": 4}, "quantization_config.group_size: found nothing"),
        ({"quant_method": "gptq", "group_size": 128}, "quantization_config.bits: found nothing"),
        ({"load_in_4bit": True}, "quantization_config.quant_method: found nothing"),
        ("awq", "quantization_config: found 'awq'"),
        (
            {"quant_method": "awq", "bits": 4, "group_size": 128, "modules_to_not_convert": "all"},
            "modules_to_not_convert: found 'all'; allowed: a list of module names",
        ),
    ],
)
def test_a_quantisation_that_is_not_readable_is_refused(
    tmp_path: Path, section: Any, words: str
) -> None:
    refused(tmp_path, _quantised(section), words)


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_the_checkpoints_dtype_is_the_models(tmp_path: Path, gpu: Hardware, dtype: str) -> None:
    content = changed(read(DSOCR), "torch_dtype", "language_config.torch_dtype", value=dtype)
    config = load(tmp_path, content)
    analysis = Analysis(config, load_workload("dsocr-tiny"), gpu)
    name = {"float16": "fp16", "float32": "fp32", "bfloat16": "bf16"}[dtype]
    found = analysis.report.workload
    assert (found.weight_dtype, found.activation_dtype, found.kv_dtype) == (name,) * 3
    wide = 4 if dtype == "float32" else 2
    weights = analysis.report.memory.stages["prefill"].weight_bytes
    router = 11 * 64 * 1280
    assert weights == pytest.approx(wide * 3_336_106_240, abs=4 * router)
    swept = rows(f"{tmp_path}/", workload="dsocr-tiny", hardware="rtx-5090")
    assert swept["footprint_bytes"][0] == analysis.footprint_bytes
    assert swept["time_ms"][0] == pytest.approx(analysis.predicted_ms, rel=1e-9)


def test_two_dtypes_are_a_contradiction(tmp_path: Path) -> None:
    content = changed(read(DSOCR), "dtype", value="float16")
    refused(tmp_path, content, "dtype: found 'float16'", "torch_dtype, bfloat16")
    unknown = changed(read(DSOCR), "torch_dtype", "language_config.torch_dtype", value="float8")
    refused(tmp_path, unknown, "torch_dtype: found 'float8'", "bfloat16, float16, float32")


def test_fp4_checkpoints_have_the_format_of_their_groups(tmp_path: Path, gpu: Hardware) -> None:
    """In compressed-tensors; a 4-bit float with other groups is not modelled."""
    for group, dtype in ((16, "nvfp4"), (32, "mxfp4"), (64, None)):
        weights = {"num_bits": 4, "type": "float", "group_size": group}
        groups = {"a": {"targets": ["Linear"], "weights": weights}}
        section = {"quant_method": "compressed-tensors", "config_groups": groups}
        config = load(tmp_path, _quantised(section))
        assert config.storage.weight_dtype == (dtype or "bf16")
        found = Analysis(config, load_workload("dsocr-a4-gundam"), gpu).plan.warnings
        assert bool(found) == (dtype is None), found
