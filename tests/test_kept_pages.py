"""A build in which nothing changed takes the pages of an earlier one."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from markdown.extensions.toc import TocExtension, slugify

from mkdocs_dsocr.build import kept_pages
from mkdocs_dsocr.build.settings import Settings
from mkdocs_dsocr.build.workers import Pages
from mkdocs_dsocr.io import Cache
from mkdocs_dsocr.plugin_files import converter_key
from mkdocs_dsocr.site.pages import assets
from tests.conftest import ROOT, TINY_CONFIG

SAID = "pages of an earlier build"
YML = """site_name: s
theme: material
plugins:
  - search
  - dsocr: {workloads: [w.yaml], hardware: [rtx-5090, l4]}
"""
WORKLOAD = (ROOT / "data/workloads/dsocr-standard-v1.yaml").read_text(encoding="utf-8")
MORE = WORKLOAD.replace("num_pages: 1", "num_pages: 2")


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_pages, "has_gpu", lambda: False)


def built(folder: Path) -> tuple[str, dict[str, str]]:
    """Return what a build says, and a digest of each file of the site."""
    (folder / "mkdocs.yml").write_text(YML)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    site = folder / "site"
    files = (p for p in sorted(site.rglob("*")) if p.is_file() and "sitemap" not in p.name)
    digests = {str(p.relative_to(site)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    return done.stderr, digests


UNTIL_ANALYSED = """\
import mkdocs.__main__
from mkdocs_dsocr.build.session import BuildSession

def result(*_, **__):
    raise SystemExit(9)

BuildSession.result = result
mkdocs.__main__.cli(["build", "--strict"])
"""
"""A build that ends with status 9 where it asks for an analysis."""


def asks_for_an_analysis(folder: Path, option: str) -> bool:
    """Tell whether a build with an option analyses, although pages of an earlier one are kept."""
    (folder / "mkdocs.yml").write_text(YML.replace("}", f"{option}}}"))
    command = [sys.executable, "-c", UNTIL_ANALYSED]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 9), done.stdout + done.stderr
    return done.returncode == 9


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="a GPU may be traced on")
def test_pages_are_kept_as_long_as_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# Home\n")
    (tmp_path / "w.yaml").write_text(WORKLOAD)
    words, first = built(tmp_path)
    assert SAID not in words
    words, again = built(tmp_path)
    assert SAID in words
    assert again == first
    (tmp_path / "w.yaml").write_text(MORE)
    words, other = built(tmp_path)
    assert SAID not in words
    assert other["dsocr/index.html"] != first["dsocr/index.html"]
    (tmp_path / "w.yaml").write_text(WORKLOAD)
    words, again = built(tmp_path)
    assert SAID in words
    assert again == first
    for option in (", trace: verify", ", cache: false"):
        assert asks_for_an_analysis(tmp_path, option)


def key(
    folder: Path, style: str = "directory", converter: str | None = "toc", **changes: Any
) -> str | None:
    return kept_pages.key_of(Settings(base=folder, **changes), style, converter)


def test_the_key_follows_all_that_pages_depend_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = tmp_path / "w.yaml"
    workload.write_text(WORKLOAD)
    (tmp_path / "r.yaml").write_text("layers: {}\n")
    keys = [
        key(tmp_path),
        key(tmp_path, "html"),
        key(tmp_path / "other"),
        key(tmp_path, workloads=("w.yaml",)),
        key(tmp_path, hardware=("h100-sxm",)),
        key(tmp_path, hardware=("h100-sxm", "l4")),
        key(tmp_path, hardware=("h100-sxm", "l4"), converter="other"),
        key(tmp_path, reviews="r.yaml"),
        key(tmp_path, require_review=True),
    ]
    workload.write_text(MORE)
    keys.append(key(tmp_path, workloads=("w.yaml",)))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    keys.append(key(tmp_path))
    data = tmp_path / "data"
    for name in kept_pages.DATA:
        (data / name).mkdir(parents=True)
    (data / "hardware/new.yaml").write_text("a GPU")
    monkeypatch.setattr(kept_pages, "data_dir", lambda: data)
    keys.append(key(tmp_path))
    monkeypatch.setattr(metadata, "version", lambda name: "0")
    keys.append(key(tmp_path))
    monkeypatch.setattr(sys, "version", "4")
    keys.append(key(tmp_path))
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert key(tmp_path) == keys[-1]


@pytest.mark.parametrize("model", ["own", "own/config.json"])
@pytest.mark.parametrize("option", ["model", "compared_models"])
def test_the_key_follows_every_file_of_a_checkpoint(
    tmp_path: Path, model: str, option: str
) -> None:
    changes: Any = {option: model if option == "model" else (model,)}
    keys = []
    for name, text in (
        ("config.json", TINY_CONFIG),
        ("model.safetensors.index.json", "{}"),
        ("model-1.safetensors", "one"),
        (".git/refs/heads/main", "a" * 40),
        (".git/HEAD", "ref: refs/heads/main"),
        (".git/refs/heads/main", "b" * 40),
        (".cache/huggingface/download/config.json.metadata", "c" * 40),
    ):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(text)
        keys.append(key(tmp_path, **changes))
    assert None not in keys
    # A branch that is not checked out makes no difference.
    assert len(set(keys)) == len(keys) - 1


@pytest.mark.parametrize(
    "changes",
    [
        {"trace": "verify"},
        {"device": "cuda"},
        {"trust_remote_code": True},
        {"workloads": ("dsocr-tiny", "dsocr-base"), "converter": None},
        {"hardware": ("rtx-5090", "h100-sxm"), "converter": None},
    ],
)
def test_what_is_made_anew_in_every_build_has_no_key(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert key(tmp_path, **changes) is None


@pytest.mark.parametrize(
    ("extension", "options", "is_known"),
    [
        ("toc", {"permalink": True}, True),
        ("pymdownx.highlight", {}, True),
        ("toc", {"slugify": slugify}, True),
        ("toc", {"slugify": hashlib.md5}, False),
        ("theirs.extension", {}, False),
        ("pymdownx.snippets", {}, False),
        ("pymdownx.emoji", {"options": {"custom_icons": ["icons"]}}, False),
        ("pymdownx.keys", {"key_map": {1: "One", "a": "A"}}, True),
        ("pymdownx.keys", {"key_map": {(1, 2): "One"}}, False),
        (TocExtension(), {}, True),
        (SimpleNamespace(), {}, False),
    ],
)
def test_what_converts_markdown_is_known_where_its_packages_are(
    extension: Any, options: dict[str, Any], is_known: bool
) -> None:
    config = SimpleNamespace(markdown_extensions=[extension], mdx_configs={"any": options})
    assert (converter_key(config) is not None) is is_known  # type: ignore[arg-type]


def test_options_of_extensions_that_plugins_add_make_a_difference() -> None:
    said = {
        converter_key(
            SimpleNamespace(  # type: ignore[arg-type]
                markdown_extensions=[TocExtension(permalink=is_on)], mdx_configs={}
            )
        )
        for is_on in (True, False)
    }
    assert len(said) == 2


def test_a_gpu_and_models_of_others_are_asked_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(kept_pages, "has_gpu", lambda: True)
        assert key(tmp_path) is None
    foreign = SimpleNamespace(value="theirs.model:MODEL")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [foreign])
    assert key(tmp_path) is None


def test_an_entry_is_whole_or_absent(tmp_path: Path) -> None:
    cache, made = (
        Cache(tmp_path),
        Pages({"index.md": "# One\n"}, {"a.json": b"{}"}, ["index.md"], []),
    )
    kept_pages.save(cache, "k", made, {})
    found = kept_pages.load(cache, "k")
    assert found is not None
    assert (found.pages, found.nav) == (made.pages, made.nav)
    assert found.others == {"a.json": b"{}", **{f"assets/{n}": d for n, d in assets().items()}}
    assert kept_pages.load(cache, "other") is None
    [entry] = (tmp_path / "pages").glob("*.json")
    for pages in ({}, {"a": 1}):
        Cache(tmp_path / "pages").save("k", {"pages": pages, "others": {}, "nav": []})
        assert kept_pages.load(cache, "k") is None
    entry.write_text(entry.read_text()[:-9])
    assert kept_pages.load(cache, "k") is None


def test_pages_of_inputs_that_were_edited_meanwhile_are_not_kept(tmp_path: Path) -> None:
    cache, made = Cache(tmp_path / "cache"), Pages({"index.md": "# One\n"}, {}, ["index.md"], [])
    (tmp_path / "w.yaml").write_text(WORKLOAD)
    before = key(tmp_path, workloads=("w.yaml",))
    assert before is not None
    (tmp_path / "w.yaml").write_text(MORE)
    kept_pages.save_if_current(cache, before, made, {})
    assert kept_pages.load(cache, before) is None
    (tmp_path / "w.yaml").write_text(WORKLOAD)
    kept_pages.save_if_current(cache, before, made, {})
    assert kept_pages.load(cache, before) is not None


def test_few_entries_stay(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for number in range(kept_pages.MOST + 2):
        kept_pages.save(cache, str(number), Pages({"index.md": "# One\n"}, {}, [], []), {})
    assert len(cache.every()) == kept_pages.MOST
    assert cache.clear() == kept_pages.MOST


def test_a_package_that_is_not_installed_is_part_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name == "mkdocs":  # its fork stands in for it
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(metadata, "version", version)
    found = key(tmp_path)
    assert found is not None
    assert '"mkdocs": null' in found


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_file_that_is_none_is_left_to_who_reads_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.yaml")
    assert key(tmp_path, workloads=("w.yaml",)) is not None
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# Home\n")
    (tmp_path / "mkdocs.yml").write_text(YML)
    command = [sys.executable, "-m", "mkdocs", "build"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "w.yaml: found a pipe, not a regular file" in done.stderr
    assert "Traceback" not in done.stderr
