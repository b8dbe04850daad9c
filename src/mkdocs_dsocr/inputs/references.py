"""Ids and paths: how an option names a model, a workload or a hardware profile."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, get_args

from mkdocs_dsocr import resources
from mkdocs_dsocr.inputs.errors import InputError, repr_short, suggestion

Kind = Literal["models", "workloads", "hardware"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


def shipped(kind: Kind) -> list[str]:
    """Return the ids that ship with the package."""
    folder = resources.data_dir() / kind
    if kind == "models":
        return sorted(config.parent.name for config in folder.glob("*/config.json"))
    return sorted(path.stem for path in folder.glob("*.yaml") if path.name[0] != ".")


def check_unique(key: str, ids: Sequence[str]) -> None:
    """Refuse ids of an option of which one is there twice.

    Raises
    ------
    InputError
        If there is such an id.
    """
    if len(set(ids)) < len(ids):
        raise InputError("option", key, ", ".join(ids), "each id once")


def resolve(
    kind: Kind,
    value: str,
    base: Path | None = None,
    source: str = "option",
    key: str | None = None,
) -> Path:
    """Return the file or folder that `value` names.

    A value with a slash or a backslash, or that ends in ``.yaml``, ``.yml`` or ``.json``, is a
    path (relative to `base`). Any other is the id of something shipped, or a path that exists.

    Parameters
    ----------
    kind, value
        What is named, and its id or path.
    base
        Folder that paths are relative to.
    source, key
        File and key that hold the value, for messages; the key is the kind in the singular if it
        is not given.

    Raises
    ------
    InputError
        If it is neither.
    """
    path = (base or Path()) / value
    # os.path: a name that is too long for a file is none, and no error.
    if "\\" in value and not os.path.exists(path):
        path = (base or Path()) / value.replace("\\", "/")
    if set(value) & {"/", "\\"} or value.endswith((".yaml", ".yml", ".json")):
        return path
    known = shipped(kind)
    if value in known:
        return resources.data_dir() / kind / (value if kind == "models" else f"{value}.yaml")
    if value and os.path.exists(path):
        return path
    found = repr_short(value) + suggestion(value, known)
    raise InputError(
        source, key or kind.removesuffix("s"), found, f"a path, or one of {', '.join(known)}"
    )
