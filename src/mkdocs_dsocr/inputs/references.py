"""Ids and paths: how an option names a model, a workload or a hardware profile."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, get_args

from mkdocs_dsocr import resources
from mkdocs_dsocr.inputs.errors import InputError, repr_short

Kind = Literal["models", "workloads", "hardware"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


def shipped(kind: Kind) -> list[str]:
    """Return the ids that ship with the package."""
    folder = resources.data_dir() / kind
    return sorted(p.stem if p.is_file() else p.name for p in folder.iterdir() if p.name[0] != ".")


def resolve(kind: Kind, value: str, base: Path | None = None, source: str = "option") -> Path:
    """Return the file or folder that `value` names.

    A value that ends in ``.yaml``, ``.yml`` or ``.json``, or holds a ``/``, is
    a path (relative to `base`); any other is the id of something shipped.

    Raises
    ------
    InputError
        If nothing of that id is shipped.
    """
    if "/" in value or value.endswith((".yaml", ".yml", ".json")):
        return (base or Path()) / value
    known = shipped(kind)
    if value not in known:
        raise InputError(source, kind, repr_short(value), f"a path, or one of {', '.join(known)}")
    return resources.data_dir() / kind / (value if kind == "models" else f"{value}.yaml")
