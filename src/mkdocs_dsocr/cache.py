"""What costs torch, kept between builds: plain JSON, checked before it is trusted."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import platformdirs

FORMAT: Final = 1
ABANDONED: Final = 3600
"""Seconds after which an entry that is still being written never will be: its build was killed."""
KEPT: Final = 20
"""Entries that stay; the ones that were not used for longest go."""


@dataclass(frozen=True)
class Cache:
    """A folder of entries, each a JSON file named after its key.

    An entry that is damaged, half written or of another key is none. Entries
    are written beside their place and moved there, so that two builds at once
    do not see each other's halves.
    """

    folder: Path

    def load(self, key: str) -> Any:
        """Return what was saved under `key`, None where nothing whole was."""
        path = self._path(key)
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            sound = (
                entry["format"] == FORMAT
                and entry["key"] == key
                and entry["digest"] == _digest(entry["content"])
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        if not sound:
            return None
        with suppress(OSError):
            os.utime(path)
        return json.loads(entry["content"])

    def save(self, key: str, content: Any) -> None:
        """Keep `content` under `key`; a folder that cannot be written keeps nothing."""
        text = json.dumps(content)
        entry = {"format": FORMAT, "key": key, "digest": _digest(text), "content": text}
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".part")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(entry, file)
                os.replace(name, self._path(key))
            except BaseException:
                os.unlink(name)
                raise
            abandoned = [p for p in self.folder.glob("*.part") if _age(p) > ABANDONED]
            self._drop([*self.entries()[KEPT:], *abandoned])

    def entries(self) -> list[Path]:
        """Return the files of all entries, the last used first."""
        return self._sorted(self.folder.glob("*.json"))

    def every(self) -> list[Path]:
        """Return the same, with the entries of folders within."""
        return self._sorted(self.folder.rglob("*.json"))

    def _sorted(self, paths: Iterable[Path]) -> list[Path]:
        found = []
        for path in paths:
            with suppress(OSError):
                found.append((path.stat().st_mtime, path))
        return [path for _, path in sorted(found, reverse=True)]

    def clear(self) -> int:
        """Remove everything and return how many entries there were."""
        entries = self.every()
        self._drop([*entries, *self.folder.rglob("*.part")])
        return len(entries)

    def _drop(self, paths: Iterable[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{_digest(key)[:32]}.json"


def _age(path: Path) -> float:
    with suppress(OSError):
        return time.time() - path.stat().st_mtime
    return 0.0


def default_cache() -> Cache:
    """Return the cache in the user's folder for such things."""
    return Cache(Path(platformdirs.user_cache_dir("mkdocs-dsocr", appauthor=False)))


def source_digest(places: Iterable[Path]) -> str:
    """Return a digest of Python files, those in folders included: an edit makes another."""
    digest = hashlib.sha256()
    for place in places:
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
