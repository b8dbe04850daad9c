"""Exported pages in a folder that may have other files: which of them are an export's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Final

from pydantic import Field

from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.errors import room_to_write
from mkdocs_dsocr.inputs.fields import Strict
from mkdocs_dsocr.inputs.files import read_mapping, validate
from mkdocs_dsocr.io import atomic_write_all

MANIFEST: Final = ".dsocr-export.json"
"""The file that says which files an export wrote."""
NAMED: Final = 5
"""Files that a message names."""


class Manifest(Strict):
    """The files of an export: a digest of each, by its path in the folder."""

    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]


@dataclass(frozen=True)
class Exported:
    """What was done to earlier files that are not needed any more.

    Attributes
    ----------
    removed
        Files of an earlier export.
    edited
        Files of an earlier export that someone edited: they stay.
    """

    removed: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()


def write_export(folder: Path, files: Mapping[str, bytes], *, force: bool = False) -> Exported:
    """Write the files of an export, and remove those of an earlier one.

    Parameters
    ----------
    folder, files
        Where they go, and their content by path.
    force
        Whether files that no export wrote may be overwritten.

    Raises
    ------
    InputError
        If a file is there that no export wrote, or the folder cannot be written.
    """
    known = _known(folder)
    foreign = [
        name
        for name, content in files.items()
        if not _is_free(folder / name, {known.get(name), _digest(content)})
    ]
    if foreign and not force:
        more = f" and {len(foreign) - NAMED} more" if len(foreign) > NAMED else ""
        found = f"{', '.join(foreign[:NAMED])}{more}, which no export wrote, or which was edited"
        raise InputError(folder, "", found, "another folder, or --force to overwrite these files")
    old = [name for name in known if name not in files and (folder / name).exists()]
    removed = [name for name in old if _is_free(folder / name, {known[name]})]
    edited = [name for name in old if name not in removed]
    digests = {name: _digest(content) for name, content in files.items()}
    manifest = Manifest(files=digests | {name: known[name] for name in edited})
    with room_to_write(folder):
        text = manifest.model_dump_json(indent=1) + "\n"
        atomic_write_all(folder, {**files, MANIFEST: text})
        for name in removed:
            _remove(folder, name)
    return Exported(tuple(removed), tuple(edited))


def _known(folder: Path) -> dict[str, str]:
    """Return the digests of the files of an earlier export."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    found = validate(Manifest, read_mapping(path), path).files
    for name in found:
        parts = PurePosixPath(name).parts
        if ".." in parts or name.startswith("/") or set(name) & set("\\:\0"):
            raise InputError(path, name, "a place outside the folder", "paths within it")
    return found


def _is_free(path: Path, digests: set[str | None]) -> bool:
    """Tell whether nothing is lost if this file goes: it has one of the digests, or is not there.

    A symbolic link, a folder, or what cannot be read is someone else's.
    """
    if not path.exists() and not path.is_symlink():
        return True
    try:
        return path.is_file() and not path.is_symlink() and _digest(path.read_bytes()) in digests
    except OSError:
        return False


def _remove(folder: Path, name: str) -> None:
    """Remove a file, and the folders that are empty then."""
    path = folder / name
    path.unlink(missing_ok=True)
    with suppress(OSError):  # not empty
        for parent in list(path.parents)[: len(PurePosixPath(name).parts) - 1]:
            parent.rmdir()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
