"""Servers over many edits, and builds that are ended at any moment: nothing grows, nothing stays.

``nox -s slow`` runs a part of it, ``nox -s soak`` all.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import FULL
from tests.serving import WORKLOAD, processes, project, serving, start, wait_for

pytestmark = pytest.mark.slow
EDITS: Final = 300 if FULL else 30
ENDS: Final = 20 if FULL else 4
SETTLED: Final = 10
"""Edits after which the memory is that of a server."""


def _files(folder: Path) -> list[str]:
    """Return the temporary files; PyTorch keeps a cache of its own among them."""
    names = (p.name for p in (folder / "tmp").iterdir())
    return sorted(name for name in names if not name.startswith("torch"))


def test_a_server_keeps_its_size_over_many_edits(tmp_path: Path) -> None:
    project(tmp_path)
    sizes = []
    with serving(tmp_path) as server:
        wait_for(lambda: server.shows("New tokens per page 7"))
        before = _files(tmp_path)
        for edit in range(EDITS):
            text = WORKLOAD.format(new=7) + f"num_pages: {edit + 2}\n"
            (tmp_path / "loads/mine.yaml").write_text(text)
            wait_for(lambda edit=edit: server.shows(f"Pages {edit + 2}"))  # type: ignore[misc]
            sizes.append(server.kilobytes)
        wait_for(lambda: len(processes(server.process.pid)) == 1)
        assert len(_files(tmp_path)) == len(before)
    assert max(sizes[SETTLED:]) < 1.2 * sizes[SETTLED], sizes
    assert _files(tmp_path) == []
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("command", ["build", "serve"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_build_that_is_ended_leaves_nothing(
    tmp_path: Path, command: str, number: signal.Signals
) -> None:
    project(tmp_path)
    chance = random.Random(number + len(command))
    codes = set()
    for _ in range(max(ENDS // 4, 1)):
        more = ["-a", "127.0.0.1:0"] if command == "serve" else ["--strict"]
        process = start(tmp_path, command, *more)
        # What MkDocs makes before it imports a plugin is its own.
        wait_for(lambda: "Building documentation" in (tmp_path / "log").read_text())
        time.sleep(chance.uniform(0, 7))
        os.kill(process.pid, number)
        try:
            codes.add(process.wait(30))
        finally:
            process.kill()
        wait_for(lambda pid=process.pid: processes(pid) == [], 10)  # type: ignore[misc]
        assert _files(tmp_path) == []
        left = [p for p in tmp_path.rglob("*.part") if p.is_file()]
        assert left == []
        assert "Traceback" not in (tmp_path / "log").read_text()
        for entry in (tmp_path / "cache").rglob("*.json"):
            entry.unlink()  # the next one traces again
    assert codes <= {0, 128 + number, -number}
