"""A real ``mkdocs serve``: an edited input is seen, the trace is kept, nothing loops."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

import mkdocs_dsocr
from mkdocs_dsocr import resources
from tests.serving import WORKLOAD, YML, Server, project, serving, wait_for

REVIEW = """layers:
  Linear:
    status: questioned
    by: ada
    date: "2026-01-01"
    note: a note that came later
    fingerprint: 0123456789abcdef
    reviewed: {a: b}
"""
YML_WITH_REVIEWS = YML.replace("{device", "{reviews: reviews.yaml, device")


def _edit_a_layer(folder: Path, server: Server) -> None:
    """An edited layer is seen, by a process of its own."""
    layer = folder / "code/mkdocs_dsocr/layers/builtin/activations.py"
    text = layer.read_text()
    assert "class SiLU" in text
    before, name, after = text.partition("class SiLU")
    layer.write_text(before + name + after.replace('"""', '"""Edited words. ', 1))
    wait_for(lambda: "in a process of its own" in server.log)
    wait_for(lambda: server.shows("Edited words.", "dsocr/layers/SiLU/"))
    wait_for(lambda: server.builds == 9)
    layer.write_text("this is no Python\n")
    wait_for(lambda: server.shows("SyntaxError", "dsocr/"))
    layer.write_text(text)
    wait_for(lambda: server.shows("Pages 4"))


@pytest.mark.slow
def test_an_edit_of_a_workload_rebuilds_once_without_a_trace(tmp_path: Path) -> None:
    project(tmp_path)
    workload = tmp_path / "loads/mine.yaml"
    # A copy of the package, which the test may edit.
    shutil.copytree(Path(mkdocs_dsocr.__file__).parent, tmp_path / "code/mkdocs_dsocr")
    shutil.copytree(resources.data_dir(), tmp_path / "code/mkdocs_dsocr/data", dirs_exist_ok=True)
    with serving(tmp_path, PYTHONPATH=str(tmp_path / "code")) as server:
        shows = server.shows
        wait_for(lambda: shows("New tokens per page 7"))
        workload.write_text(WORKLOAD.format(new=7) + "num_pages: 3\n")
        wait_for(lambda: shows("Pages 3"))
        # A broken file is said on every page and survived; mending it heals in place.
        workload.write_text(WORKLOAD.format(new=0))
        wait_for(lambda: "max_new_tokens: found 0" in server.log)
        for page in ("", "workload/", "layers/Linear/"):
            wait_for(lambda page=page: shows("max_new_tokens: found 0", f"dsocr/{page}"))  # type: ignore[misc]
        workload.write_text(WORKLOAD.format(new=7) + "num_pages: 4\n")
        wait_for(lambda: shows("Pages 4"))
        time.sleep(2)
        assert server.builds == 4
        assert server.log.count("counting every pass") == 1
        assert not shows("The inputs changed after the last trace", "dsocr/verification/")
        # Other shapes are shown at once, and traced beside.
        workload.write_text(WORKLOAD.format(new=9))
        wait_for(lambda: shows("New tokens per page 9"))
        assert shows("The inputs changed after the last trace", "dsocr/verification/")
        wait_for(lambda: server.builds == 6)
        assert not shows("The inputs changed after the last trace", "dsocr/verification/")
        assert shows("New tokens per page 9")
        workload.write_text(WORKLOAD.format(new=7) + "num_pages: 4\n")
        wait_for(lambda: shows("Pages 4"))
        wait_for(lambda: server.builds == 7)
        # An ordinary page costs no analysis.
        (tmp_path / "docs/index.md").write_text("# Home\n\nEdited.\n")
        wait_for(lambda: shows("Edited.", ""))
        assert shows("Pages 4")
        wait_for(lambda: server.builds == 8)
        assert server.log.count("analysing") == 6
        _edit_a_layer(tmp_path, server)
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert [p.name for p in (tmp_path / "tmp").glob("*dsocr*")] == []


@pytest.mark.slow
def test_inputs_that_appear_disappear_and_move_are_seen(tmp_path: Path) -> None:
    project(tmp_path, YML_WITH_REVIEWS)
    workload = tmp_path / "loads/mine.yaml"
    with serving(tmp_path) as server:
        shows = server.shows
        wait_for(lambda: shows("New tokens per page 7"))
        (tmp_path / "reviews.yaml").write_text(REVIEW)
        wait_for(lambda: shows("a note that came later", "dsocr/review/"))
        # A workload that is away is said on its own pages, until it is back.
        text = workload.read_text()
        workload.unlink()
        wait_for(lambda: shows("mine.yaml: found No such file"))
        workload.write_text(text + "num_pages: 3\n")
        wait_for(lambda: shows("Pages 3"))
        # A workload of another name in mkdocs.yml is watched from then on.
        workload.rename(tmp_path / "loads/other.yaml")
        yml = YML_WITH_REVIEWS.replace("mine.yaml", "other.yaml")
        (tmp_path / "mkdocs.yml").write_text(yml)
        wait_for(lambda: shows("Pages 3") and "other.yaml" in (tmp_path / "mkdocs.yml").read_text())
        (tmp_path / "loads/other.yaml").write_text(text + "num_pages: 5\n")
        wait_for(lambda: shows("Pages 5"))
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert [p.name for p in (tmp_path / "tmp").glob("*dsocr*")] == []
