"""The quantization_config of a foreign config.json: it is read, refused by key, or warned about."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mkdocs_dsocr.inputs import InputError, ModelConfig
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.models import load_model_config
from tests.conftest import TINY_CONFIG

COMPRESSED: dict[str, Any] = {
    "quant_method": "compressed-tensors",
    "config_groups": {"a": {"targets": ["Linear"], "weights": {"num_bits": 8}}},
}


def load(folder: Path, section: dict[str, Any]) -> ModelConfig:
    """Return a small model whose checkpoint is quantised in some way."""
    content = json.loads(TINY_CONFIG) | {"quantization_config": section}
    (folder / "config.json").write_text(json.dumps(content))
    return load_model_config(f"{folder}/")


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        (r"re:.*lm_head", ("lm_head",)),
        (r"re:^lm_head$", ("lm_head",)),
        (r"re:lm_head.+", ()),
        (r"re:visual.*", ()),
        (r"re:model.sam_model.*", ("sam_model",)),
        (r"re:model\.(sam|vision)_model", ()),
        (r"re:.*vision_model.*", ("vision_model",)),
        (r"re:.*_model\..*", ("sam_model", "vision_model")),
        (r"re:.*self_attn\.q_proj$", ("self_attn",)),
        (r"re:.*self_attn$", ()),
        (r"re:.*\.projector\.", ("projector",)),
        (r"re:projector", ()),
    ],
)
def test_simple_expressions_keep_what_they_match(
    tmp_path: Path, expression: str, kept: tuple[str, ...]
) -> None:
    storage = load(tmp_path, COMPRESSED | {"ignore": [expression]}).storage
    assert storage.kept == kept
    assert bool(storage.warnings) == (not kept)


@pytest.mark.parametrize("expression", [r"re:.*\.mlp\.gate$", "re:.*gate$", "re:.*mlp.gate$"])
def test_the_router_is_in_16_bits_anyway(tmp_path: Path, expression: str) -> None:
    assert load(tmp_path, COMPRESSED | {"ignore": [expression]}).storage.warnings == ()


@pytest.mark.parametrize(
    "expression",
    [r"re:([\w.]+)+!", "re:(.*a){30}", "re:" + ".*.*a" * 1000, "re:(", "re:[", "re:\\"],
)
def test_expressions_of_a_file_are_never_run(tmp_path: Path, expression: str) -> None:
    """The first two take years with Python's `re`."""
    storage = load(tmp_path, COMPRESSED | {"ignore": [expression]}).storage
    assert storage.kept == ()
    assert any("in 16 bits: they are counted in" in w for w in storage.warnings)


ODD: tuple[Any, ...] = (
    *(None, True, False, "x", "128", [], ["x"], [0, 0], [-1, 128], [128], [True, 1], {}, {"x": 1}),
    *(-2, -1, 0, 1.5, 10**9),
)
"""Values of a damaged file."""
ABSENT: tuple[Any, ...] = (None,)
FLAG: tuple[Any, ...] = (None, True, False)
TEXT: tuple[Any, ...] = (None, "x", "128")
NAMES: tuple[Any, ...] = (None, [], ["x"])
SECTION: tuple[Any, ...] = (None, {}, {"x": 1})
WEIGHTS = {"num_bits": 4, "group_size": 128, "type": "int", "symmetric": True, "strategy": "group"}
GROUP = {"targets": ["Linear"], "weights": WEIGHTS, "input_activations": None}
VALID: dict[str, dict[str, Any]] = {
    "gptq": {"bits": 4, "group_size": 128, "lm_head": False},
    "awq": {"bits": 4, "group_size": 128, "zero_point": True, "modules_to_not_convert": None},
    "bitsandbytes": {
        "load_in_4bit": True,
        "load_in_8bit": False,
        "llm_int8_skip_modules": None,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
    },
    "fp8": {
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": [128, 128],
        "modules_to_not_convert": None,
    },
    "compressed-tensors": {"ignore": ["lm_head"], "config_groups": {"a": GROUP}},
    "mlx": {"bits": 4, "group_size": 64, "mode": "affine"},
}
READ: dict[str, tuple[Any, ...]] = {
    "bits": (),
    "group_size": (-1,),
    "num_bits": (),
    "config_groups.a.weights.group_size": (None, -1),
    "type": ABSENT,
    "strategy": TEXT,
    "symmetric": FLAG,
    "targets": NAMES,
    "weights": ABSENT,  # a mapping has num_bits
    "input_activations": ABSENT,
    "config_groups": (None, {}),  # a mapping has groups
    "ignore": NAMES,
    "lm_head": FLAG,
    "zero_point": FLAG,
    "modules_to_not_convert": NAMES,
    "llm_int8_skip_modules": NAMES,
    "load_in_4bit": FLAG,
    "load_in_8bit": (None, False),  # with load_in_4bit
    "bnb_4bit_quant_type": TEXT,
    "bnb_4bit_use_double_quant": FLAG,
    "fmt": TEXT,
    "activation_scheme": TEXT,
    "weight_block_size": ABSENT,
    "mode": TEXT,
}
"""Which of the odd values are read under a key; all others are refused."""


def _keys(section: dict[str, Any], prefix: str = "") -> list[str]:
    inner = [
        k for n, v in section.items() if isinstance(v, dict) for k in _keys(v, f"{prefix}{n}.")
    ]
    return [f"{prefix}{name}" for name in section] + inner


@pytest.mark.parametrize(
    ("method", "key"),
    [(m, k) for m, section in VALID.items() for k in _keys(section) if k != "config_groups.a"],
)
def test_odd_values_are_refused_by_key(tmp_path: Path, method: str, key: str) -> None:
    allowed = READ[key] if key in READ else READ[key.rpartition(".")[2]]
    for value in ODD:
        section: dict[str, Any] = json.loads(json.dumps(VALID[method])) | {"quant_method": method}
        *parents, last = key.split(".")
        place = section
        for parent in parents:
            place = place[parent]
        place[last] = value
        if repr(value) in map(repr, allowed):
            assert load(tmp_path, section).storage.weight_dtype in FORMATS
        else:
            with pytest.raises(InputError, match=rf"json: quantization_config\.{re.escape(key)}"):
                load(tmp_path, section)


@pytest.mark.parametrize("value", ODD)
def test_an_odd_method_is_refused_or_not_modelled(tmp_path: Path, value: Any) -> None:
    section = {"quant_method": value, "load_in_4bit": True}
    if isinstance(value, str):
        assert "is not modelled" in load(tmp_path, section).storage.warnings[0]
    else:
        with pytest.raises(InputError, match=r"quantization_config\.quant_method: found "):
            load(tmp_path, section)


def test_bitsandbytes_without_a_format_is_no_quantisation(tmp_path: Path) -> None:
    section = {"quant_method": "bitsandbytes", "load_in_4bit": False, "load_in_8bit": False}
    storage = load(tmp_path, section).storage
    assert (storage.is_quantised, storage.weight_dtype, storage.notes) == (False, "bf16", ())


def test_activations_have_a_format_of_their_own(tmp_path: Path) -> None:
    """4-bit weights and fp8 activations: the sentence names fp8."""
    group = GROUP | {"input_activations": {"num_bits": 8, "type": "float"}}
    section = {"quant_method": "compressed-tensors", "config_groups": {"a": group}}
    storage = load(tmp_path, section).storage
    assert storage.weight_dtype == "int4"
    assert any("Set activation_dtype: fp8 in the workload" in w for w in storage.warnings)
