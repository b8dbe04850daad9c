"""The error for bad input, and how values are shown in its message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mkdocs_dsocr.text import printable


class InputError(ValueError):
    """Bad input, as one line: file, key, the value found, and what is allowed.

    Parameters
    ----------
    source
        The file, option or argument that holds the value.
    key
        The key in it; empty if the whole file is wrong.
    found
        The value found, in words.
    allowed
        What is allowed, and what to do.
    """

    def __init__(self, source: str | Path, key: str, found: str, allowed: str) -> None:
        self.source, self.allowed = str(source), allowed
        self.key, self.found = plain(key), plain(found, 400)
        place = f"{source}: {self.key}" if key else str(source)
        super().__init__(printable(f"{place}: found {self.found}; allowed: {allowed}"))

    def at(self, source: str, key: str) -> InputError:
        """Return the same error with another name for the place."""
        return InputError(source, key, self.found, self.allowed)

    @property
    def in_mkdocs(self) -> str:
        """The message, with an option named as it stands in ``mkdocs.yml``."""
        return str(self.at("mkdocs.yml", self.key) if self.source == "option" else self)


class ContradictionError(ValueError):
    """A value that does not fit a limit or other values; raised while a file is validated.

    Parameters
    ----------
    key, found, allowed
        As in :class:`InputError`; :func:`~mkdocs_dsocr.inputs.files.validate` turns one into the
        other.
    """

    def __init__(self, key: str, found: str, allowed: str) -> None:
        self.key, self.found, self.allowed = key, found, allowed
        super().__init__(f"found {found}; allowed: {allowed}")


@contextmanager
def room_to_write(place: str | Path) -> Iterator[None]:
    """Say of what cannot be written where that was, and why.

    Raises
    ------
    InputError
        Instead of an :class:`OSError`.
    """
    try:
        yield
    except OSError as error:
        found = (error.strerror or str(error)).lower()
        raise InputError(
            error.filename or place, "", found, "a place with room to write"
        ) from error


def repr_short(value: object, limit: int = 60) -> str:
    """Return the ``repr`` of a value, cut to `limit` characters, for a message."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__} that is too long"  # repr of integers has a limit
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def plain(text: str, limit: int = 200) -> str:
    """Return text of a file, printable and cut to `limit` characters, for a message."""
    text = printable(text[: limit + 1])
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def suggestion(value: str, known: Iterable[str]) -> str:
    """Return a question with the known names that a mistyped one is close to; empty if none is."""
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(value.lower(), names, n=2)
    return f" (did you mean {' or '.join(names[name] for name in close)}?)" if close else ""
