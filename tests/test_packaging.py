"""Wheel and sdist carry all data and assets; the house's rules hold."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import yaml

from mkdocs_dsocr import __version__
from mkdocs_dsocr.inputs.references import KINDS
from tests.conftest import ROOT


def test_the_sdist_is_complete(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert "data/workloads/dsocr-standard-v1.yaml" in names
    assert "src/mkdocs_dsocr/site/templates/layer.md.j2" in names
    assert "LICENSE" in names


def test_the_wheel_is_the_checkout(dist: Path) -> None:
    """Code, data and assets, byte for byte: an installed wheel makes the same pages.

    Raw measurements and calibrations stay in the checkout: no page needs them.
    """
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as archive:
        names = set(archive.namelist())
        content = {name: archive.read(name) for name in names}
    for path in ROOT.joinpath("data").rglob("*"):
        if path.is_file() and path.parts[len(ROOT.parts) + 1] in KINDS:
            assert content[f"mkdocs_dsocr/{path.relative_to(ROOT).as_posix()}"] == path.read_bytes()
    for path in ROOT.joinpath("src/mkdocs_dsocr").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert content[path.relative_to(ROOT / "src").as_posix()] == path.read_bytes()
    assert not any("measurements/" in name or "calibration/" in name for name in names)
    assert not any("__pycache__" in name or name.startswith("tests") for name in names)


def test_an_index_would_take_it(dist: Path) -> None:
    files = [str(path) for path in dist.iterdir()]
    command = [sys.executable, "-m", "twine", "check", "--strict", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as archive:
        names = {Path(name).name for name in archive.namelist()}
    assert {"py.typed", "LICENSE", "THIRD_PARTY_NOTICES.md", "entry_points.txt"} <= names


def test_a_citation_and_a_tag_have_the_packages_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == __version__
    assert set(citation) >= {"cff-version", "message", "title", "authors"}
    release = (ROOT / ".github/workflows/release.yml").read_text("utf-8")
    assert "mkdocs_dsocr-${GITHUB_REF_NAME#v}.tar.gz" in release


def test_no_module_needs_scrolling() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
