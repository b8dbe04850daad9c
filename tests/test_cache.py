"""The cache between builds: used when whole, never trusted when not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.build.pipeline import Settings
from mkdocs_dsocr.build.trace_keys import cache_key
from mkdocs_dsocr.build.trace_store import static_analysis
from mkdocs_dsocr.cli import main
from mkdocs_dsocr.io import KEPT, Cache, source_digest
from tests.conftest import TINY_CONFIG


def as_is(content: Any) -> Any:
    return content


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "deep/er")
    assert cache.load("k", as_is) is None
    cache.save("k", {"a": [1, "ü"]})
    assert cache.load("k", as_is) == {"a": [1, "ü"]}
    assert cache.load("another", as_is) is None
    assert [p.suffix for p in cache.folder.iterdir()] == [".json"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("[1", "[2"),
        lambda text: text.replace('"format": 2', '"format": 1'),
        lambda text: text.replace('"key": "k"', '"key": "foreign"'),
        lambda text: text.partition("\n")[0],
        lambda text: text.replace("\n", " "),
        lambda text: "[]",
        lambda text: "",
        lambda text: "[" * 100_000,
    ],
)
def test_a_damaged_entry_is_none(tmp_path: Path, damage: object) -> None:
    cache = Cache(tmp_path)
    cache.save("k", {"a": [1]})
    (path,) = cache.entries()
    text = path.read_text()
    path.write_text(damaged := damage(text))  # type: ignore[operator]
    assert damaged != text
    assert cache.load("k", as_is) is None
    cache.save("k", {"a": [3]})
    assert cache.load("k", as_is) == {"a": [3]}


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file/folder")
    cache.save("k", 1)
    assert cache.load("k", as_is) is None
    assert cache.entries() == []


def test_old_entries_go(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for n in range(KEPT + 5):
        cache.save(f"k{n}", n)
    assert len(cache.entries()) == KEPT
    assert cache.load(f"k{KEPT + 4}", as_is) == KEPT + 4
    (tmp_path / "x.part").write_text("half")
    assert cache.clear() == KEPT
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_build_left_goes(tmp_path: Path) -> None:
    for name, seconds in (("old.part", 7200), ("new.part", 60)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - seconds,) * 2)
    Cache(tmp_path).save("key", 1)
    assert [p.name for p in tmp_path.glob("*.part")] == ["new.part"]


def test_an_edit_of_the_code_makes_another_key(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.py").write_text("1")
    (tmp_path / "b.py").write_text("2")
    places = [tmp_path / "a", tmp_path / "b.py"]
    before = source_digest(places)
    assert source_digest(places) == before
    (tmp_path / "a/x.py").write_text("3")
    assert source_digest(places) != before


def test_a_hit_is_the_same_analysis_without_torch(tmp_path: Path) -> None:
    """In a process of its own: the second one never imports torch."""
    (tmp_path / "config.json").write_text(TINY_CONFIG)
    settings = Settings(model=f"{tmp_path}/", workloads=("dsocr-tiny",), device="meta")
    cache, said = Cache(tmp_path / "cache"), list[str]()
    first = static_analysis(pipeline.analyse(settings), "meta", said.append, cache)
    for step in ("importing torch", "building the model", "counting every pass"):
        assert any(re.fullmatch(rf"{step}: \d+\.\d s", line) for line in said)
    assert any(line.startswith("static analysis on") for line in said)
    code = f"""
import sys
from pathlib import Path
from typing import Any
from mkdocs_dsocr.build import pipeline, sites
from mkdocs_dsocr.build.trace_keys import cache_key
from mkdocs_dsocr.build.trace_store import static_analysis
from mkdocs_dsocr.io import Cache
settings = pipeline.Settings(model={f"{tmp_path}/"!r}, workloads=("dsocr-tiny",), device="meta")
analyses = pipeline.analyse(settings)
static = static_analysis(analyses, "meta", print, Cache(Path({str(cache.folder)!r})))
result = pipeline.complete(analyses, static)
sites.site_files(result, "directory")
assert "torch" not in sys.modules
print(result.verification.failures, len(static.trace.to_json()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    size = len(first.trace.to_json())
    assert done.stdout == f"static analysis from the cache\n[] {size}\n"
    # Another device or workload is another key.
    other = Settings(model=f"{tmp_path}/", workloads=("dsocr-small",), device="meta")
    keys = {
        cache_key(pipeline.analyse(s), device)
        for s in (settings, other)
        for device in ("meta", "auto")
    }
    assert len(keys) == 4


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Cache(tmp_path / "mkdocs-dsocr").save("k", "x" * 1000)
    assert "1 entries, 0.0 MB" in CliRunner().invoke(main, ["cache", "info"]).output
    assert CliRunner().invoke(main, ["cache", "clear"]).output == "1 entries removed\n"
    assert "0 entries" in CliRunner().invoke(main, ["cache", "info"]).output
