"""Signals that end a process: whatever is under way is undone first."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Final

ENDING: Final = ("SIGTERM", "SIGHUP")
"""What a service manager, a container runtime, a cancelled job or a closed terminal sends."""


def unwind_on_signals() -> None:
    """Let signals that end the process raise ``SystemExit``, so that temporary files are removed.

    What a signal does already stays if someone chose it, for example ``nohup``. Outside the main
    thread this does nothing: there, Python allows no handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ENDING:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _unwind)


def _unwind(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the clean-up
    raise SystemExit(128 + number)
