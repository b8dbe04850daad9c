"""A real ``mkdocs serve`` in a folder of its own: what it shows, says, needs and leaves."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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

ENDS_ON_HANGUP = ("env", "--default-signal=HUP")
"""Before a command: SIGHUP ends it, also where ``nohup`` runs the tests."""


def project(folder: Path, yml: str = YML) -> None:
    """Write a small site."""
    for name, text in {
        "docs/index.md": "# Home\n",
        "mkdocs.yml": yml,
        "loads/mine.yaml": WORKLOAD.format(new=7),
        "tiny/config.json": TINY_CONFIG,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in ("cache", "tmp"):
        (folder / name).mkdir()


def start(folder: Path, *command: str, **more: str) -> subprocess.Popen[str]:
    """Run MkDocs with a cache and a folder of temporary files in the site's folder."""
    own = {"XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder / "tmp"), **more}
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [*ENDS_ON_HANGUP, sys.executable, "-m", "mkdocs", *command],
            cwd=folder,
            env={**os.environ, "NO_PROXY": "127.0.0.1", **own},
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def processes(group: int) -> list[int]:
    """Return the processes of a session that have not ended."""
    found = subprocess.run(
        ["ps", "-o", "pid=,stat=", "-s", str(group)], capture_output=True, text=True, check=False
    )
    rows = (line.split() for line in found.stdout.splitlines())
    return [int(pid) for pid, state in rows if not state.startswith("Z")]


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)


class Server:
    """A server that runs."""

    def __init__(self, folder: Path, process: subprocess.Popen[str], url: str) -> None:
        self.folder, self.process, self._url = folder, process, url

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def builds(self) -> int:
        """How many builds ended well."""
        # MkDocs leaves out a "Documentation built" that took as long as one before.
        return 1 + self.log.count("Reloading browsers")

    @property
    def kilobytes(self) -> int:
        """Memory of the server."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
        return int(line)

    def shows(self, words: str, page: str = "dsocr/workload/") -> bool:
        """Tell whether a page has these words."""
        try:
            with urllib.request.urlopen(self._url + page, timeout=5) as response:
                text = re.sub(r"<[^>]+>", " ", response.read().decode())
                return words in " ".join(text.split())
        except OSError:
            return False


@contextmanager
def serving(folder: Path, **more: str) -> Iterator[Server]:
    """Serve the site of a folder meanwhile, and end the server as a service manager does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(folder, "serve", "-a", f"127.0.0.1:{port}", **more)
    try:
        yield Server(folder, process, f"http://127.0.0.1:{port}/")
    finally:
        process.terminate()
        process.wait()
