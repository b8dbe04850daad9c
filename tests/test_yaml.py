"""YAML 1.2 by our reader: the values of ruamel.yaml, and no bomb that goes off."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from ruamel.yaml import YAML
from ruamel.yaml.error import ReusedAnchorWarning

from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.files import read_mapping
from mkdocs_dsocr.inputs.yaml12 import YamlError, load_yaml
from tests.conftest import ROOT
from tests.fuzzing import damaged_files

VALID = {
    "a": 1,
    "b": ["x", {"c": 1.5, "d": "2026-01-01"}, [1, -2]],
    "description": "a: b # c",
    "e": True,
    "f": None,
    "g": {"h": "<<", "i": "0x1F", "k": "yes", "l": "010"},
}


def _plain(value: Any) -> Any:
    """Return values with dates as text, as ours are, and NaN equal to itself."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return "nan" if value != value else value  # noqa: PLR0124


def _ruamel(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReusedAnchorWarning)
        return _plain(YAML(typ="safe", pure=True).load(text))


@settings(max_examples=300, derandomize=True, suppress_health_check=list(HealthCheck))
@given(damaged_files(VALID, ".yaml"))
def test_what_both_read_is_the_same(data: bytes) -> None:
    try:
        text = data.decode()
        found = load_yaml(text)
    except (UnicodeDecodeError, YamlError):
        return
    if isinstance(found, dict):
        assert _plain(found) == _ruamel(text)


@pytest.mark.parametrize("file", sorted(ROOT.glob("data/*/*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_file_is_the_same(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert _plain(load_yaml(text)) == _ruamel(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0b11", -3),
        ("1_000", "1_000"),
        ("1_0.5", "1_0.5"),
        ("0x1_F", "0x1_F"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("1:30", "1:30"),
        ("yes", "yes"),
        ("2026-01-01", "2026-01-01"),
        ("~", None),
        ("TRUE", True),
        ('"1"', "1"),
        ("!!str 1", "1"),
        ("_1", "_1"),
    ],
)
def test_plain_values(text: str, value: object) -> None:
    found = load_yaml(text)
    assert found == value
    assert type(found) is type(value)


def test_aliases_and_merges() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {y: 3, <<: *a}\nc: {<<: [{x: 5}, *a]}\nd: *a\n"
    assert load_yaml(text) == _ruamel(text)


NINE = ",".join
BOMBS = {
    "lists": "a0: &a0 [x,x,x]\n"
    + "".join(f"a{i}: &a{i} [{NINE([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
    "merges": "a0: &a0 {x: 1}\n"
    + "".join(f"a{i}: &a{i} {{<<: [{NINE([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12)),
    "text": f"a: &a {'x' * 500_000}\nb: [{NINE(['*a'] * 5000)}]\n",
    "deep": "a: " + "[" * 100_000,
    "deep blocks": "- " * 100_000,
    "wide": f"a: [{'1,' * 400_000}]",
    "itself": "a: &a [*a]",
    "later": "a: *b",
    "tag": "a: !!int ''",
    "code": "a: !!python/object/apply:os.system [x]",
    "two": "a: 1\n---\nb: 2",
    "version": "%YAML 1.1\n---\na: yes",
    "twice": "a: 1\na: 2",
    "long": f"a: {'1' * 5000}",
    "key": "? [a]\n: 1",
    "merge of a number": "a: {<<: 5}",
    "control": "a: \x1b",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "f.yaml").write_text(BOMBS[name])
    started = time.process_time()
    with pytest.raises(InputError, match=r"f\.yaml.*: found .*; allowed: ") as said:
        read_mapping(tmp_path / "f.yaml")
    assert time.process_time() - started < 5
    assert len(str(said.value)) < 500
