"""A real ``mkdocs serve``: an edited input is seen, the trace is kept, nothing loops."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

import mkdocs_dsocr
from mkdocs_dsocr import resources
from tests.conftest import TINY_CONFIG

WORKLOAD = """profile_id: mine
base_size: 512
image_size: 512
crop_mode: false
text_tokens: 3
max_new_tokens: {new}
"""
YML = """site_name: s
theme: mkdocs
plugins:
  - dsocr: {device: meta, model: tiny/, workloads: [loads/mine.yaml]}
"""


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)


def _edit_a_layer(
    tmp_path: Path, log: Path, shows: Callable[..., bool], builds: Callable[[], int]
) -> None:
    """An edited layer is seen, by a process of its own."""
    layer = tmp_path / "code/mkdocs_dsocr/layers/builtin/activations.py"
    text = layer.read_text()
    assert "class SiLU" in text
    before, name, after = text.partition("class SiLU")
    layer.write_text(before + name + after.replace('"""', '"""Edited words. ', 1))
    wait_for(lambda: "in a process of its own" in log.read_text())
    wait_for(lambda: shows("Edited words.", "dsocr/layers/SiLU/"))
    wait_for(lambda: builds() == 8)
    layer.write_text("this is no Python\n")
    wait_for(lambda: shows("SyntaxError", "dsocr/"))
    layer.write_text(text)
    wait_for(lambda: shows("Pages 4"))


def test_an_edit_of_a_workload_rebuilds_once_without_a_trace(tmp_path: Path) -> None:
    for name, text in {
        "docs/index.md": "# Home\n",
        "mkdocs.yml": YML,
        "loads/mine.yaml": WORKLOAD.format(new=7),
        "tiny/config.json": TINY_CONFIG,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    # A copy of the package, which the test may edit.
    shutil.copytree(Path(mkdocs_dsocr.__file__).parent, tmp_path / "code/mkdocs_dsocr")
    shutil.copytree(resources.data_dir(), tmp_path / "code/mkdocs_dsocr/data", dirs_exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log"
    with (
        log.open("w") as out,
        subprocess.Popen(
            [sys.executable, "-m", "mkdocs", "serve", "-a", f"127.0.0.1:{port}"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "code")},
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        try:
            site = f"http://127.0.0.1:{port}/"

            def shows(words: str, page: str = "dsocr/workload/") -> bool:
                try:
                    with urllib.request.urlopen(site + page, timeout=5) as response:
                        text = re.sub(r"<[^>]+>", " ", response.read().decode())
                        return words in " ".join(text.split())
                except OSError:
                    return False

            def builds() -> int:
                # MkDocs leaves out a "Documentation built" that took as long as one before.
                return 1 + log.read_text().count("Reloading browsers")

            wait_for(lambda: shows("New tokens a page 7"))
            (tmp_path / "loads/mine.yaml").write_text(WORKLOAD.format(new=7) + "num_pages: 3\n")
            wait_for(lambda: shows("Pages 3"))
            # A broken file is said and survived; mending it heals.
            (tmp_path / "loads/mine.yaml").write_text(WORKLOAD.format(new=0))
            wait_for(lambda: "max_new_tokens: found 0" in log.read_text())
            wait_for(lambda: shows("max_new_tokens: found 0", "dsocr/"))
            (tmp_path / "loads/mine.yaml").write_text(WORKLOAD.format(new=7) + "num_pages: 4\n")
            wait_for(lambda: shows("Pages 4"))
            time.sleep(2)
            assert builds() == 4
            assert log.read_text().count("counting every pass") == 1
            assert not shows("Edited since the last trace", "dsocr/verification/")
            # Other shapes are shown at once, and traced beside.
            (tmp_path / "loads/mine.yaml").write_text(WORKLOAD.format(new=9))
            wait_for(lambda: shows("New tokens a page 9"))
            assert shows("Edited since the last trace", "dsocr/verification/")
            (tmp_path / "loads/mine.yaml").write_text(WORKLOAD.format(new=7) + "num_pages: 4\n")
            wait_for(lambda: shows("Pages 4"))
            assert not shows("Edited since the last trace", "dsocr/verification/")
            wait_for(lambda: builds() == 6)
            # An ordinary page costs no analysis.
            (tmp_path / "docs/index.md").write_text("# Home\n\nEdited.\n")
            wait_for(lambda: shows("Edited.", ""))
            assert shows("Pages 4")
            wait_for(lambda: builds() == 7)
            assert log.read_text().count("analysing") == 5
            _edit_a_layer(tmp_path, log, shows, builds)
        finally:
            server.terminate()
    assert "Traceback" not in log.read_text()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
