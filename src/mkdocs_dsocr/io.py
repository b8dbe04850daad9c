"""Files that are written whole or not at all, locks, digests of code, and a cache of JSON."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

if sys.platform == "win32":
    from filelock import FileLock
else:
    import fcntl

FORMAT: Final = 1
"""Version of the cache's entries."""
ABANDONED: Final = 3600
"""Seconds after which a temporary file in the cache is removed: its build was killed."""
KEPT: Final = 20
"""Entries that stay in the cache; the least recently used ones are removed."""
TEMPORARY: Final = ".part"
"""How the name of a temporary file ends."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a new, empty temporary file that replaces `path` at the end of the block.

    After an error or an interruption the temporary file is removed and `path` is unchanged.
    The temporary file is in the same folder, has a random name and is created exclusively.
    Permissions are those that a plain write gives. A symbolic link is followed, so the file that
    it points to is replaced. What exists and is not a regular file, such as ``/dev/stdout``, is
    yielded itself.

    Raises
    ------
    OSError
        If the file cannot be written; its ``filename`` is `path`.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    target = Path(os.path.realpath(path))
    part = target.with_name(f".{os.urandom(8).hex()}{TEMPORARY}")
    try:
        part.touch(exist_ok=False)
        try:
            if target.exists():
                part.chmod(stat.S_IMODE(target.stat().st_mode))
            yield part
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        if str(error.filename) == str(part):
            error.filename = str(path)
        raise


@contextmanager
def atomic_text(path: Path) -> Iterator[TextIO]:
    """Yield a text file (UTF-8, newlines as written) that replaces `path` at the end."""
    with atomic_path(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        yield file


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all."""
    atomic_write_all(path.parent, {path.name: content})


def atomic_write_all(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files by their paths within a folder: all are written before the first is replaced."""
    with ExitStack() as stack:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            part = stack.enter_context(atomic_path(path))
            part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process changes a file, and keep others from it within the block.

    POSIX locks the folder of the file, so that no further file appears in it.
    """
    target = Path(os.path.realpath(path))
    if sys.platform == "win32":
        with FileLock(target.with_name(f".{target.name}.lock")):
            yield
        return
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def source_digest(places: Iterable[Path]) -> str:
    """Return a digest of files and of the Python files in folders: it changes with every edit."""
    digest = hashlib.sha256()
    for place in places:
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Cache:
    """A folder of entries, each a JSON file that is named after its key.

    An entry that is damaged, incomplete or of another key counts as absent.
    """

    folder: Path

    def load(self, key: str) -> Any:
        """Return what was saved under `key`, None where there is no valid entry."""
        path = self._path(key)
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            is_valid = (
                entry["format"] == FORMAT
                and entry["key"] == key
                and entry["digest"] == _digest(entry["content"])
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        if not is_valid:
            return None
        with suppress(OSError):
            os.utime(path)
        return json.loads(entry["content"])

    def save(self, key: str, content: Any) -> None:
        """Save `content` under `key`; where the folder cannot be written, do nothing."""
        text = json.dumps(content)
        entry = {"format": FORMAT, "key": key, "digest": _digest(text), "content": text}
        with suppress(OSError):
            atomic_write(self._path(key), json.dumps(entry))
            abandoned = [p for p in self.folder.glob(f"*{TEMPORARY}") if _age(p) > ABANDONED]
            self._drop([*self.entries()[KEPT:], *abandoned])

    def entries(self, pattern: str = "*.json") -> list[Path]:
        """Return the files of all entries, the most recently used first."""
        found = []
        for path in self.folder.glob(pattern):
            with suppress(OSError):
                found.append((path.stat().st_mtime, path))
        return [path for _, path in sorted(found, reverse=True)]

    def every(self) -> list[Path]:
        """Return the same, with the entries of folders within."""
        return self.entries("**/*.json")

    def clear(self) -> int:
        """Remove everything and return how many entries there were."""
        entries = self.every()
        self._drop([*entries, *self.folder.rglob(f"*{TEMPORARY}")])
        return len(entries)

    def _drop(self, paths: Iterable[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{_digest(key)[:32]}.json"


def default_cache() -> Cache:
    """Return the cache in the user's cache folder."""
    import platformdirs

    return Cache(Path(platformdirs.user_cache_dir("mkdocs-dsocr", appauthor=False)))


def kept(cache: Cache | None, key: str, make: Callable[[], Any]) -> Any:
    """Return what the cache has under `key`, or make it and save it."""
    found = cache.load(key) if cache is not None else None
    if found is None:
        found = make()
        if cache is not None:
            cache.save(key, found)
    return found


def _age(path: Path) -> float:
    with suppress(OSError):
        return time.time() - path.stat().st_mtime
    return 0.0


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
