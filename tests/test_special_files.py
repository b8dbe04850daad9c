"""Pipes, devices and files of gigabytes in place of each input: refused, never waited for."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from mkdocs_dsocr.build.static import load_static
from mkdocs_dsocr.inputs import InputError, load_hardware, load_workload
from mkdocs_dsocr.inputs.checkpoint import INDEX, SINGLE, read_checkpoint, remote_code, revision
from mkdocs_dsocr.inputs.files import read_text
from mkdocs_dsocr.inputs.measurement import load_measurements
from mkdocs_dsocr.inputs.reviews import load_reviews
from mkdocs_dsocr.io import read_regular
from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.report.changes import load_report
from mkdocs_dsocr.sweep.spec import load_spec
from tests.conftest import TINY_CONFIG

HUGE = 10**11
MOST_KB = 100_000


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(HUGE)


def _zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


KINDS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "link to a device": _zeros,
    "sparse": _sparse,
    "folder": Path.mkdir,
}
READERS: dict[str, Callable[[Path], object]] = {
    "config.json": lambda p: load_model_config(f"{p.parent}/"),
    "workload.yaml": lambda p: load_workload(str(p)),
    "hardware.yaml": lambda p: load_hardware(str(p)),
    "sweep.yaml": load_spec,
    "reviews.yaml": load_reviews,
    "report.json": load_report,
    "measurement.json": lambda p: load_measurements((f"{p}",)),
    "trace.json": lambda p: load_static(p.parent),
    INDEX: lambda p: read_checkpoint(p.with_name("config.json")),
    SINGLE: lambda p: read_checkpoint(p.with_name("config.json")),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", READERS)
def test_every_reader_refuses_it(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "config.json").write_text(TINY_CONFIG)
    path = tmp_path / name
    path.unlink(missing_ok=True)
    KINDS[kind](path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as said:
        READERS[name](path)
    if not (name == "measurement.json" and kind == "folder"):
        assert name in str(said.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KB


@pytest.mark.parametrize("kind", KINDS)
def test_a_revision_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    (tmp_path / ".git").mkdir()
    KINDS[kind](tmp_path / ".git/HEAD")
    assert revision(tmp_path / "config.json", {}) is None


def test_a_head_that_names_no_file(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    for head in ("ref: refs/\0", f"ref: refs/{'x' * 300}", "ref: refs/../../x"):
        (tmp_path / ".git/HEAD").write_text(head)
        assert revision(tmp_path / "config.json", {}) is None


def test_code_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "m.M"}}')
    os.mkfifo(tmp_path / "m.py")
    with pytest.raises(InputError, match=r"m\.py: found no regular file"):
        remote_code(tmp_path / "config.json")


def test_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 10)
    assert read_regular(path, 10) == b"x" * 10
    with pytest.raises(InputError, match="found 10 bytes; allowed: at most 9"):
        read_text(path, 9)
    # A file whose size the system does not say.
    with pytest.raises(OSError, match="6 bytes"):
        read_regular(Path("/proc/self/status"), 5)
    for name in ("a\0b", "x" * 300):
        with pytest.raises(InputError):
            read_text(tmp_path / name)
