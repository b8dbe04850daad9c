"""A build that is killed, has no room or is not alone: the next one is right."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import FULL, TINY_CONFIG
from tests.serving import ENDS_ON_HANGUP

pytestmark = pytest.mark.slow
KILLS = 50 if FULL else 10
YML = """site_name: s
theme: mkdocs
plugins:
  - dsocr: {device: meta, model: tiny/, workloads: [dsocr-tiny]}
"""


def _project(folder: Path) -> None:
    for name, text in {
        "docs/index.md": "# Home\n",
        "mkdocs.yml": YML,
        "tiny/config.json": TINY_CONFIG,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in ("cache", "tmp"):
        (folder / name).mkdir(exist_ok=True)


def _environment(folder: Path) -> dict[str, str]:
    folders = {"XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder / "tmp")}
    return {**os.environ, **folders}


def _start(folder: Path, *more: str, site: str = "site") -> subprocess.Popen[str]:
    environment = _environment(folder)
    command = [sys.executable, "-m", "mkdocs", *(more or ("build", "--strict", "-d", site))]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _build(folder: Path, site: str = "site") -> tuple[int, str]:
    process = _start(folder, site=site)
    _, said = process.communicate()
    return process.returncode, said


def _digests(folder: Path, site: str = "site") -> dict[str, str]:
    """Return the digest of each file of ours, all JSON files of which are whole."""
    found = {}
    for file in sorted((folder / site / "dsocr").rglob("*")):
        if file.is_file() and file.suffix != ".part":
            data = file.read_bytes()
            if file.suffix == ".json":
                json.loads(data)
            found[file.relative_to(folder / site).as_posix()] = hashlib.sha256(data).hexdigest()
    return found


@contextmanager
def _mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a small file system in memory over a folder."""
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a build that nothing disturbs writes."""
    folder = tmp_path_factory.mktemp("right")
    _project(folder)
    code, said = _build(folder)
    assert code == 0, said
    return _digests(folder)


def test_killed_builds_leave_nothing_that_harms(tmp_path: Path, right: dict[str, str]) -> None:
    _project(tmp_path)
    started = time.monotonic()
    assert _build(tmp_path)[0] == 0
    longest = time.monotonic() - started
    chance = random.Random(8)
    seen = set()
    for number in range(KILLS):
        if number % 2:
            # Every other build has nothing in its cache, and traces.
            for entry in (tmp_path / "cache").rglob("*.json"):
                entry.unlink()
        process = _start(tmp_path)
        time.sleep(chance.uniform(0, longest))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        seen.add(process.returncode)
        # Pages are MkDocs's to write; what we hand to other tools is whole or absent.
        left = {k: v for k, v in _digests(tmp_path).items() if not k.endswith(".html")}
        assert {k: v for k, v in left.items() if v != right[k]} == {}
        if number % 5 == 4:
            code, said = _build(tmp_path)
            assert code == 0, said
            assert _digests(tmp_path) == right
    assert -signal.SIGKILL in seen


@pytest.mark.parametrize("number", range(20 if FULL else 5))
def test_a_signal_that_ends_a_command_leaves_nothing(tmp_path: Path, number: int) -> None:
    _project(tmp_path)
    many = ",".join(map(str, range(1, 1000)))
    fields = [f"--set={name}={many}" for name in ("batch_size", "max_new_tokens")]
    dsocr = [sys.executable, "-m", "mkdocs_dsocr.cli"]
    command = [
        [sys.executable, "-m", "mkdocs", "build", "-d", "site"],
        [*dsocr, "export", "out", "--model", "tiny"],
        [*dsocr, "static", "--model", "tiny", "--output", "out"],
        [*dsocr, "sweep", "sweep.yaml", "--output", "out.csv"],
        [*dsocr, "whatif", "rep", "--output=out.csv", *fields],
    ][number % 5]
    (tmp_path / "sweep.yaml").write_text(
        "sweep: {batch_size: {start: 1, stop: 500000}, max_new_tokens: [2, 3, 4, 5]}"
    )
    analyse = [*dsocr, "analyze", "--model", "tiny", "--output", "rep"]
    environment = _environment(tmp_path)
    subprocess.run(analyse, cwd=tmp_path, env=environment, check=True, capture_output=True)
    process = subprocess.Popen(
        [*ENDS_ON_HANGUP, *command],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(random.Random(number).uniform(1, 12))
    ending = (signal.SIGTERM, signal.SIGHUP)[number % 2]
    process.send_signal(ending)
    _, said = process.communicate(timeout=60)
    # Before the first line of ours runs, the signal itself ends the process.
    assert process.returncode in (128 + ending, -ending, 0)
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    # torch makes an empty folder for each user, and leaves it after every command.
    assert [f for f in (tmp_path / "tmp").iterdir() if "torchinductor" not in f.name] == []
    assert not list(tmp_path.rglob("*.part"))
    if process.returncode:
        assert not list(tmp_path.glob("out*"))


def test_what_runs_beside_a_killed_build_ends_too(tmp_path: Path) -> None:
    _project(tmp_path)
    process = _start(tmp_path)
    time.sleep(2)
    process.kill()
    end = time.monotonic() + 60
    # What runs beside has inherited standard error: it is at its end when all have ended.
    _, said = process.communicate()
    assert time.monotonic() < end
    assert "Traceback" not in said


@pytest.mark.parametrize("place", ["tmp", "site", "cache"])
@pytest.mark.parametrize("options", ["size=40k", "size=300k", "ro"])
def test_no_room(tmp_path: Path, right: dict[str, str], place: str, options: str) -> None:
    _project(tmp_path)
    (tmp_path / "site").mkdir()
    with _mounted(tmp_path / place, options):
        code, said = _build(tmp_path)
        if place == "cache":
            assert code == 0, said
        elif place == "tmp" and code:
            assert "Traceback" not in said, said
            assert "a place with room to write" in said or "usable temporary" in said
    code, said = _build(tmp_path)
    assert code == 0, said
    assert _digests(tmp_path) == right


def test_two_builds_and_a_server_at_once(tmp_path: Path, right: dict[str, str]) -> None:
    _project(tmp_path)
    server = _start(tmp_path, "serve", "-a", "127.0.0.1:0")
    builds = [_start(tmp_path, site=f"site{n}") for n in range(2)]
    for number, process in enumerate(builds):
        _, said = process.communicate()
        assert process.returncode == 0, said
        assert _digests(tmp_path, f"site{number}") == right
    assert server.poll() is None
    os.killpg(server.pid, signal.SIGTERM)
    server.communicate()
    code, said = _build(tmp_path)
    assert code == 0, said
    assert _digests(tmp_path) == right
