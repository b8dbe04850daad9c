"""What a build does, said as it is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

Log = Callable[[str], None]
NOTICE: Final = 2.0
"""Seconds after which a step that still runs is announced."""


@contextmanager
def log_time(log: Log, what: str) -> Iterator[None]:
    """Say what is done and how long it took; a long step is announced before it is done."""
    start = time.perf_counter()
    notice = threading.Timer(NOTICE, log, (f"{what} …",))
    notice.daemon = True
    notice.start()
    try:
        yield
    finally:
        notice.cancel()
    log(f"{what}: {time.perf_counter() - start:.1f} s")
