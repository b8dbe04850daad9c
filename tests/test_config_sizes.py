"""Sizes of a config.json that no model has: each is refused by its key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.model_config import ModelConfig
from mkdocs_dsocr.models import load_model_config
from tests.conftest import ROOT

MODELS = ROOT / "data/models"
FILES = {
    **{path.name: path / "config.json" for path in sorted(MODELS.iterdir())},
    "published": ROOT / "tests/data/configs/hub-unlimited.json",
}
MAY_BE_0 = ("first_k_dense_replace", "global_attn_indexes.0")
WITHOUT_EFFECT = ("encoder_config.vocab_size",)
"""A key that is known and has no effect: the encoder embeds no tokens."""
Path_ = tuple[str | int, ...]


def _integers(content: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yield the place of each integer in a file."""
    inner = content.items() if isinstance(content, dict) else enumerate(content)
    for name, value in inner:
        if isinstance(value, dict | list):
            yield from _integers(value, (*path, name))
        elif type(value) is int:
            yield (*path, name)


def _with(content: dict[str, Any], path: Path_, value: int) -> dict[str, Any]:
    """Return a config with another value, also at the top level where the key is there as well."""
    result: dict[str, Any] = json.loads(json.dumps(content))
    place: Any = result
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    if path[0] == "language_config" and path[-1] in result:
        result[str(path[-1])] = value
    return result


def _load(folder: Path, content: dict[str, Any]) -> ModelConfig:
    (folder / "config.json").write_text(json.dumps(content))
    return load_model_config(f"{folder}/")


@pytest.mark.parametrize("model", FILES)
def test_no_size_is_0_or_below(tmp_path: Path, model: str) -> None:
    content = json.loads(FILES[model].read_text(encoding="utf-8"))
    for path in _integers(content):
        key = ".".join(map(str, path))
        for value in (0, -1):
            try:
                found = _load(tmp_path, _with(content, path, value))
            except InputError as error:
                assert str(error).startswith(f"{tmp_path}/config.json: ")  # noqa: PT017
                continue
            is_unused = any(key.startswith(unused) for unused in found.unused_keys)
            may_be_0 = value == 0 and key.endswith(MAY_BE_0)
            assert is_unused or may_be_0 or key.endswith(WITHOUT_EFFECT), (key, value)


@pytest.mark.parametrize(
    ("model", "section"),
    [
        ("deepseek-ocr-v1-base", "vision_config.width.clip-l-14-224"),
        ("published", "vision_config.width.clip-l-14-224"),
        ("unlimited-ocr", "vision_config.encoder_config"),
    ],
)
def test_clips_image_is_no_smaller_than_its_patch(tmp_path: Path, model: str, section: str) -> None:
    content = json.loads(FILES[model].read_text(encoding="utf-8"))
    path = (*section.split("."), "image_size")
    with pytest.raises(InputError) as error:
        _load(tmp_path, _with(content, path, 13))
    words = f"{section}.image_size: found 13; allowed: at least the patch, patch_size = 14"
    assert words in str(error.value)
    assert _load(tmp_path, _with(content, path, 14)).clip is not None


def test_a_name_without_end_is_cut(tmp_path: Path) -> None:
    """150,000 blanks in it once kept a build busy for minutes."""
    content = json.loads(FILES["deepseek-ocr-v1-base"].read_text(encoding="utf-8"))
    found = _load(tmp_path, content | {"_name_or_path": "a" + " " * 150_000 + "b"})
    assert len(found.model_id) <= 200
