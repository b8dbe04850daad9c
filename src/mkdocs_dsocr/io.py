"""Files: read within limits, written whole or not at all, locks, digests, a cache of JSON."""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import logging
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

if sys.platform == "win32":
    from filelock import FileLock
else:
    import fcntl

T = TypeVar("T")
FORMAT: Final = 2
"""Version of the cache's entries."""
ABANDONED: Final = 3600
"""Seconds after which a temporary file in the cache is removed: its build was killed."""
KEPT: Final = 20
"""Entries that stay in the cache."""
TEMPORARY: Final = ".part"
"""How the name of a temporary file ends."""
LARGEST_ENTRY: Final = 200_000_000
"""Bytes of an entry of the cache."""
LARGEST_CODE: Final = 10_000_000
"""Bytes of a file of code."""
WHOLE_FOLDER: Final = ("", "pages", "tables", "twins")
"""The folders of the cache: its own, and those within."""
_ENTRY: Final = re.compile(r"[0-9a-f]{32}\.json")
_WITHOUT_WAITING: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_log: Final = logging.getLogger("mkdocs_dsocr")


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    What is not a regular file is never waited for, and no more than the limit is ever read.

    Raises
    ------
    OSError
        If there is no such file, or it is not regular, too large or unreadable.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _WITHOUT_WAITING)
    except ValueError as error:  # NUL, or letters that no file name has here
        raise OSError(errno.EINVAL, "a name that no file has", str(path)) from error
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, f"{_kind(status.st_mode)}, not a regular file", str(path))
        data = file.read(limit + 1) if status.st_size <= limit else b""
        size = max(status.st_size, len(data))
    if size > limit:
        raise OSError(errno.EFBIG, f"{size:,} bytes", str(path))
    return data


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


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
def without_collections(*, keeps_all: bool = False) -> Iterator[None]:
    """Let a short step go without looking for cycles, a tenth of its time.

    With `keeps_all`, what there is at the end is not searched before the next such step: the
    process ends soon.
    """
    was_enabled = gc.isenabled()
    if keeps_all:
        gc.unfreeze()
    gc.disable()
    try:
        yield
    finally:
        if keeps_all:
            gc.freeze()
        if was_enabled:
            gc.enable()


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
            digest.update(path.name.encode() + b"\0" + read_regular(path, LARGEST_CODE))
    return digest.hexdigest()


@dataclass(frozen=True)
class Cache:
    """A folder of entries, each a file that is named after its key: two lines of JSON.

    An entry that is damaged, incomplete, of another key or of another shape counts as absent. So
    does one that another user owns or can write. Of more than `most` entries, the least recently
    used ones are removed.
    """

    folder: Path
    most: int = KEPT

    def load(self, key: str, checked: Callable[[Any], T]) -> T | None:
        """Return what was saved under `key`, None where there is no valid entry.

        Parameters
        ----------
        key
            The name of the entry.
        checked
            Returns the content as it is used; raises a ValueError if it has another shape.
        """
        path = self._path(key)
        if not _is_own(path):
            return None
        try:
            head, _, text = read_regular(path, LARGEST_ENTRY).partition(b"\n")
            if json.loads(head) != _head(key, text):
                return None
            content = checked(json.loads(text))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        with suppress(OSError):
            os.utime(path)
        return content

    def save(self, key: str, content: Any) -> None:
        """Save `content` under `key`; where the folder cannot be written, do nothing."""
        text = json.dumps(content).encode()
        with suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            atomic_write(self._path(key), json.dumps(_head(key, text)).encode() + b"\n" + text)
            abandoned = [p for p in self._temporary() if _age(p) > ABANDONED]
            _drop([*self.entries()[self.most :], *abandoned])

    def has(self, key: str) -> bool:
        """Tell whether there is an entry, good or bad, under `key`."""
        return self._path(key).is_file()

    def entries(self) -> list[Path]:
        """Return the files of all entries, the most recently used first."""
        found = []
        for path in _regular(self.folder):
            if _ENTRY.fullmatch(path.name):
                with suppress(OSError):
                    found.append((path.stat().st_mtime, path))
        return [path for _, path in sorted(found, reverse=True)]

    def every(self) -> list[Path]:
        """Return the same, with the entries of the folders within."""
        return [path for cache in self._caches() for path in cache.entries()]

    def clear(self) -> int:
        """Remove all entries and what was left of unfinished ones; return how many entries."""
        entries = self.every()
        _drop([*entries, *(path for cache in self._caches() for path in cache._temporary())])
        return len(entries)

    def _caches(self) -> list[Cache]:
        """Return the caches in this folder: a link to a folder is none."""
        places = (self.folder / name for name in WHOLE_FOLDER)
        return [Cache(p) for p in places if p == self.folder or not p.is_symlink()]

    def _temporary(self) -> list[Path]:
        return [path for path in _regular(self.folder) if path.suffix == TEMPORARY]

    def _path(self, key: str) -> Path:
        return self.folder / f"{_digest(key)[:32]}.json"


def _head(key: str, content: bytes) -> dict[str, Any]:
    """Return the first line of an entry, which says what the second one is."""
    return {"format": FORMAT, "key": key, "digest": hashlib.sha256(content).hexdigest()}


def _regular(folder: Path) -> list[Path]:
    """Return the regular files in a folder; links are none."""
    try:
        with os.scandir(folder) as found:
            return [Path(entry) for entry in found if entry.is_file(follow_symlinks=False)]
    except OSError:
        return []


def _drop(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _is_own(path: Path) -> bool:
    """Tell whether a file and its folder are this user's and no other can write them."""
    if not hasattr(os, "geteuid"):
        return path.is_file()
    try:
        found = (path.lstat(), path.parent.stat())
    except OSError:
        return False
    if not stat.S_ISREG(found[0].st_mode):
        return False
    if all(s.st_uid == os.geteuid() and not s.st_mode & 0o022 for s in found):
        return True
    _say_foreign(path.parent)
    return False


@lru_cache
def _say_foreign(folder: Path) -> None:
    """Say once of a folder that entries in it are not used."""
    said = (
        "%s: entries that other users own or can write are ignored; use `chmod -R go-w` and `chown`"
    )
    _log.warning(said, folder)


def default_cache() -> Cache:
    """Return the cache in the user's cache folder."""
    import platformdirs

    return Cache(Path(platformdirs.user_cache_dir("mkdocs-dsocr", appauthor=False)))


def kept(cache: Cache | None, key: str, checked: Callable[[Any], T], make: Callable[[], T]) -> T:
    """Return what the cache has under `key`, or make it and save it."""
    found = cache.load(key, checked) if cache is not None else None
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
