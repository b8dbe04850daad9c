"""The reviews file: which layers and assumptions were looked at, by whom, and what they were."""

from __future__ import annotations

import copy
import datetime
import os
from collections.abc import Container, Mapping
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from mkdocs_dsocr.inputs.errors import InputError, room_to_write
from mkdocs_dsocr.inputs.fields import Strict
from mkdocs_dsocr.inputs.files import read_mapping, read_text, validate
from mkdocs_dsocr.io import atomic_write, locked

Status = Literal["approved", "questioned"]
DATE: Final = r"^\d{4}-\d{2}-\d{2}$"
LARGEST: Final = 10_000_000


def _a_day(text: str) -> str:
    datetime.date.fromisoformat(text)  # raises a ValueError for a day that there is not
    return text


class Earlier(Strict):
    """A review that a later one replaced: who, when, and what; see :class:`Entry`."""

    status: Status
    by: Annotated[str, Field(min_length=1, max_length=200)]
    date: Annotated[str, Field(pattern=DATE), AfterValidator(_a_day)]
    note: Annotated[str, Field(max_length=5000)] = ""
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Entry(Earlier):
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
    history
        The reviews that this one replaced, the oldest first.
    """

    formulas: dict[str, str] = Field({})
    wording: dict[str, str] = Field({})
    reviewed: dict[str, str] = Field({})
    history: tuple[Earlier, ...] = ()

    def after(self, before: Entry | None) -> Entry:
        """Return this review with the one that it replaces in its history."""
        if before is None:
            return self
        replaced = Earlier(**{name: getattr(before, name) for name in Earlier.model_fields})
        return self.model_copy(update={"history": (*before.history, replaced)})


class Reviews(Strict):
    """All reviews, by the name of a module class or an assumption."""

    layers: dict[str, Entry] = Field({})
    assumptions: dict[str, Entry] = Field({})


def load_reviews(path: Path) -> Reviews:
    """Read the reviews; where there is no file yet, or an empty one, there are none.

    Raises
    ------
    InputError
        If the file is not valid.
    """
    if not os.path.lexists(path):
        return Reviews()
    return validate(Reviews, _plain(read_mapping(path, LARGEST, may_be_empty=True)), path)


def save_entries(
    path: Path, entries: Mapping[str, Mapping[str, Entry]], spared: Container[str] = ()
) -> list[str]:
    """Put entries into the file; its other content, its comments and its mode stay.

    The file is locked meanwhile. A replaced entry becomes history of the new one. An entry that
    shares text with others by a YAML alias is written in full, so that the others stay.

    Parameters
    ----------
    path
        The file; it need not exist.
    entries
        What to put in, by kind and name.
    spared
        Names whose open question is not replaced.

    Returns
    -------
    The names of the questions that were left as they are.

    Raises
    ------
    InputError
        If the file is not valid, or cannot be written.
    """
    kept: list[str] = []
    with room_to_write(path), locked(path):
        known, (head, content) = load_reviews(path), _round_trip(path)
        for kind, named in entries.items():
            before: dict[str, Entry] = getattr(known, kind)
            for name, entry in named.items():
                if name in spared and name in before and before[name].status == "questioned":
                    kept.append(name)
                else:
                    _put(content, kind, name, entry.after(before.get(name)))
        out = StringIO()
        _yaml().dump(content, out)
        atomic_write(path, head + out.getvalue())
    return kept


def _round_trip(path: Path) -> tuple[str, Any]:
    """Return the comments of a file without entries, and the content with all other comments."""
    text = read_text(path, LARGEST) if os.path.lexists(path) else ""
    try:
        content = _yaml().load(text)
    except YAMLError as error:
        raise InputError(path, "", str(error).splitlines()[0], "YAML 1.2") from error
    if content:
        return "", content
    return "".join(f"{line}\n" for line in text.splitlines() if line.startswith("#")), {}


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 10_000
    return yaml


def _put(content: Any, kind: str, name: str, entry: Entry) -> None:
    """Put an entry in its place, in lines of its own."""
    new = entry.model_dump(mode="json", exclude_defaults=True)
    section = content.setdefault(kind, {})
    if _is_shared(section):
        section = content[kind] = CommentedMap(copy.deepcopy(list(section.items())))
    old = section.get(name)
    if isinstance(old, CommentedMap) and not _is_shared(old):
        for key in set(old) - new.keys():
            del old[key]
        old.update(new)  # in place: comments stay
    else:
        section[name] = new


def _is_shared(node: Any) -> bool:
    """Tell whether an alias stands for the node, or it merges another one's keys."""
    return isinstance(node, CommentedMap) and (node.anchor.value is not None or bool(node.merge))


def _plain(content: Any) -> Any:
    """Return content with dates as text: YAML takes a date that is not quoted for one."""
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_plain(value) for value in content]
    return content.isoformat() if isinstance(content, datetime.date) else content
