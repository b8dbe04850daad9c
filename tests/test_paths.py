"""No file's content makes a build read or write elsewhere; only the user's own options can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.report import report_files
from tests.conftest import ROOT, TINY_CONFIG

pytestmark = pytest.mark.slow
WATCH = """
import os, sys
def _note(event, args):
    if event in ("open", "os.mkdir", "os.rename", "os.symlink", "os.remove"):
        path, mode = args[0], args[1] if event == "open" else "w"
        writes = event != "open" or (isinstance(mode, str) and set(mode) & set("wax+")) or (
            mode is None and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR))
        if isinstance(path, str):
            line = f"{'w' if writes else 'r'} {os.path.abspath(path)}\\n"
            os.write(LOG, line.encode(errors="replace"))
LOG = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
sys.addaudithook(_note)
"""
YML = """
site_name: s
theme: mkdocs
plugins:
  - dsocr: {model: ./model/, workloads: [w.yaml], baseline: before.json}
"""


def _project(folder: Path, outside: Path) -> None:
    """Write a site whose files name `outside` wherever they can."""
    up = os.path.relpath(outside, folder / "model")
    for name in ("docs", "model/.git", "cache", "tmp"):
        (folder / name).mkdir(parents=True)
    config = json.loads(TINY_CONFIG) | {"_name_or_path": f"{up}/", "base": str(outside)}
    config["auto_map"] = {"AutoModel": f"{up}/secret.Model"}
    (folder / "model/config.json").write_text(json.dumps(config))
    (folder / "model/.git/HEAD").write_text(f"ref: refs/../{up}/secret")
    (folder / "docs/index.md").write_text("# Home\n")
    (folder / "mkdocs.yml").write_text(YML)
    workload = yaml.safe_load((ROOT / "data/workloads/dsocr-tiny.yaml").read_text("utf-8"))
    workload |= {"profile_id": "w", "description": f"{up}/secret {outside}/secret"}
    (folder / "w.yaml").write_text(json.dumps(workload))
    settings = pipeline.Settings("./model/", ("w.yaml",), base=folder)
    report = json.loads(report_files(pipeline.analyse(settings)[0][0])["report.json"])
    report["model"] |= {"model_variant": f"{outside}/", "config_path": f"{outside}/config.json"}
    (folder / "before.json").write_text(json.dumps(report))
    (outside / "config.json").write_text(TINY_CONFIG)
    (outside / "secret").write_text("0" * 40)


def _run(folder: Path, *command: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a command; return it and every place that it or a child opened."""
    (folder / "sitecustomize.py").write_text(WATCH)
    log = folder / "cache/opened.txt"
    # torch hands its own folder for temporary files on to the processes of a test.
    inherited = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"}
    environment = {
        **inherited,
        "PYTHONPATH": str(folder),
        "WATCHED": str(log),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, log.read_text("utf-8").splitlines()


def _stays(opened: list[str], folder: Path, outside: Path) -> None:
    assert [line for line in opened if line[2:].startswith(str(outside))] == []
    allowed = (str(folder), "/dev/", "/proc/", "/sys/")
    written = {line[2:] for line in opened if line[0] == "w"}
    assert written
    assert {path for path in written if not path.startswith(allowed)} == set()


def test_a_build_stays_in_its_folders(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "project"
    outside.mkdir()
    _project(folder, outside)
    done, opened = _run(folder, "mkdocs", "build")
    assert done.returncode == 0, done.stderr
    _stays(opened, folder, outside)


def test_a_diff_reads_no_model_that_a_report_names(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "project"
    outside.mkdir()
    _project(folder, outside)
    report = json.loads((folder / "before.json").read_text("utf-8"))
    report["workload"]["max_new_tokens"] += 1
    (folder / "now.json").write_text(json.dumps(report))
    done, opened = _run(folder, "mkdocs_dsocr.cli", "diff", "before.json", "now.json")
    assert "max_new_tokens" in done.stdout, done.stderr
    assert [line for line in opened if line[2:].startswith(str(outside))] == []


@pytest.mark.parametrize("name", ["../outside/x.safetensors", "/etc/passwd", "..\\x.safetensors"])
def test_an_index_names_files_beside_it(tmp_path: Path, name: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "project"
    outside.mkdir()
    _project(folder, outside)
    (outside / "x.safetensors").write_bytes(save({"a": np.zeros(1, np.float32)}))
    index = json.dumps({"weight_map": {"a": name}})
    (folder / "model/model.safetensors.index.json").write_text(index)
    done, opened = _run(folder, "mkdocs", "build")
    assert done.returncode == 1
    assert "allowed: the name of a file in the same folder" in done.stderr
    assert [line for line in opened if line[2:].startswith((str(outside), "/etc/passwd"))] == []
    assert not (folder / "site/dsocr").exists()
