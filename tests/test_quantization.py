"""The quantization_config of a foreign config.json: it is read, refused by key, or warned about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mkdocs_dsocr.inputs import ModelConfig
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
