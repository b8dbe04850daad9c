"""The one error that bad input raises."""

from __future__ import annotations

from pathlib import Path


class InputError(ValueError):
    """Bad input, said in one line: which file, which key, what was found, what is allowed.

    Parameters
    ----------
    source
        The file, option or argument that holds the value.
    key
        The key within it; empty where the whole of it is wrong.
    found
        What was found, in words.
    allowed
        What would be right.
    """

    def __init__(self, source: str | Path, key: str, found: str, allowed: str) -> None:
        self.source, self.key, self.found, self.allowed = str(source), key, found, allowed
        place = f"{source}: {key}" if key else str(source)
        super().__init__(f"{place}: found {found}; allowed: {allowed}")


class ContradictionError(ValueError):
    """Values that do not fit each other, raised while a file is validated.

    Parameters
    ----------
    key, found, allowed
        As in :class:`InputError`, whose message it becomes.
    """

    def __init__(self, key: str, found: str, allowed: str) -> None:
        self.key, self.found, self.allowed = key, found, allowed
        super().__init__(f"found {found}; allowed: {allowed}")


def shown(value: object, limit: int = 60) -> str:
    """Return `value` as it should stand in a message: printable and short."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
