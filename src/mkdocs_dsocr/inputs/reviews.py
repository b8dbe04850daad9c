"""The reviews file: which layers and assumptions were looked at, by whom, and what they were."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mkdocs_dsocr.inputs.errors import InputError
from mkdocs_dsocr.inputs.fields import Strict
from mkdocs_dsocr.inputs.files import read_mapping, read_text, validate
from mkdocs_dsocr.io import atomic_text

Status = Literal["approved", "questioned"]
DATE: Final = r"^\d{4}-\d{2}-\d{2}$"
LARGEST: Final = 10_000_000


class Entry(Strict):
    """A review of one layer or assumption.

    Attributes
    ----------
    fingerprint
        16 hexadecimal digits of `formulas` in canonical form (of the first version: of
        `reviewed`).
    formulas
        The formulas that were approved or questioned, by stable id. A changed formula makes the
        review stale.
    wording
        The texts that the reviewer saw with them. A changed text is shown, and the review stays
        current.
    reviewed
        Written by the first version, instead of both: formulas and texts in one mapping.
    """

    status: Status
    by: Annotated[str, Field(min_length=1, max_length=200)]
    date: Annotated[str, Field(pattern=DATE)]
    note: Annotated[str, Field(max_length=5000)] = ""
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    formulas: dict[str, str] = Field({})
    wording: dict[str, str] = Field({})
    reviewed: dict[str, str] = Field({})


class Reviews(Strict):
    """All reviews, by the name of a module class or an assumption."""

    layers: dict[str, Entry] = Field({})
    assumptions: dict[str, Entry] = Field({})


def load_reviews(path: Path) -> Reviews:
    """Read the reviews; where there is no file yet, there are none.

    Raises
    ------
    InputError
        If the file is not valid.
    """
    if not os.path.lexists(path):
        return Reviews()
    return validate(Reviews, _plain(read_mapping(path, LARGEST)), path)


def save_entries(path: Path, kind: str, entries: dict[str, Entry]) -> None:
    """Put entries into the file; its other content and its comments stay.

    Raises
    ------
    InputError
        If the file is not valid, or cannot be written.
    """
    load_reviews(path)
    yaml = YAML()
    yaml.width = 10_000
    try:
        content: Any = yaml.load(read_text(path, LARGEST)) if os.path.lexists(path) else {}
    except YAMLError as error:
        raise InputError(path, "", str(error).splitlines()[0], "YAML 1.2") from error
    section = content.setdefault(kind, {})
    for name, entry in entries.items():
        new = entry.model_dump(exclude_defaults=True)
        if isinstance(section.get(name), dict):
            section[name].update(new)
            for key in set(section[name]) - new.keys():
                del section[name][key]
        else:
            section[name] = new
    try:
        with atomic_text(path) as file:
            yaml.dump(content, file)
    except OSError as error:
        found = error.strerror or "unwritable"
        raise InputError(path, "", found, "a file that can be written") from error


def _plain(content: Any) -> Any:
    """Return content with dates as text: YAML takes a date that is not quoted for one."""
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    return content.isoformat() if isinstance(content, datetime.date) else content
