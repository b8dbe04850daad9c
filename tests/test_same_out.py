"""Same in, same out: wherever, whenever and under whatever locale a site is built."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MINIMAL

pytestmark = pytest.mark.slow
SURROUNDINGS = (
    {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "Pacific/Auckland"},
    {"PYTHONHASHSEED": "4242", "LC_ALL": "C.UTF-8", "TZ": "America/New_York", "COLUMNS": "37"},
)


def _built(folder: Path, environment: dict[str, str], *prefix: str) -> dict[str, str]:
    """Build a site in a folder, nothing in its cache, and return the digest of each file."""
    (folder / "docs").mkdir(parents=True)
    (folder / "docs/index.md").write_text("# Home\n")
    (folder / "mkdocs.yml").write_text(MINIMAL.replace("theme: material", "theme: mkdocs"))
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    site = folder / "site/dsocr"
    return {
        file.relative_to(site).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(site.rglob("*"))
        if file.is_file()
    }


def test_every_byte_is_the_same_elsewhere_and_later(tmp_path: Path) -> None:
    here = _built(tmp_path / "a", SURROUNDINGS[0])
    there = _built(tmp_path / "a longer ä path/of/another/depth", SURROUNDINGS[1])
    assert len(here) > 60
    assert [name for name in here | there if here.get(name) != there.get(name)] == []


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="needs root")
def test_a_build_needs_no_network(tmp_path: Path) -> None:
    assert len(_built(tmp_path / "offline", {}, "unshare", "--net")) > 60
