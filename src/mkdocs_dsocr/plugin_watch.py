"""Inputs of a server: what changes, appears or disappears is seen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from mkdocs.livereload import LiveReloadServer

from mkdocs_dsocr.build.settings import Settings
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.files import stamps

INTERVAL: Final = 0.5
"""Seconds between two looks at the inputs."""
PATIENCE: Final = 4
"""Looks before a build that shows more: browsers load the present pages first."""
Stamps = tuple[tuple[str, int, int], ...]


class InputWatch:
    """Asks a server for a build when an input is not what the last build saw.

    MkDocs's own watch needs a file that exists, and gives up on one that disappears. This one
    writes a file of its own, which MkDocs watches.

    Parameters
    ----------
    server
        The server.
    more
        Returns a value for what a build would show although no input changed, or None. Each value
        requests one build.
    """

    def __init__(self, server: LiveReloadServer, more: Callable[[], object]) -> None:
        self._more = more
        self._temporary = TemporaryDirectory(prefix="dsocr_watch_", ignore_cleanup_errors=True)
        self._trigger = Path(self._temporary.name) / "inputs"
        self._trigger.touch()
        self._lock = threading.Lock()
        self._settings: Settings | None = None
        self._seen: Stamps = ()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        server.watch(str(self._trigger))
        self._thread.start()

    def follow(self, settings: Settings, seen: Stamps) -> None:
        """Watch the inputs of these settings; `seen` says what the build that runs found."""
        with self._lock:
            self._settings, self._seen = settings, seen

    def stop(self) -> None:
        """Stop, and remove the file."""
        self._ended.set()
        self._thread.join()
        self._temporary.cleanup()

    def _look(self) -> None:
        before: Stamps | None = None
        awaited, looks = None, 0
        while not self._ended.wait(INTERVAL):
            with self._lock:
                found = input_stamps(self._settings) if self._settings else self._seen
                # What is being written is waited for.
                is_new, before = found == before and found != self._seen, found
                if is_new:
                    self._seen = found
            more = self._more()
            awaited, looks = more, looks + 1 if more == awaited else 0
            if is_new or (more is not None and looks == PATIENCE):
                with self._trigger.open("a") as file:
                    file.write(".")


def input_stamps(settings: Settings) -> Stamps:
    """Return what tells whether an input changed; nothing while an option names none."""
    try:
        return stamps(settings.files())
    except (InputError, OSError):
        return ()
