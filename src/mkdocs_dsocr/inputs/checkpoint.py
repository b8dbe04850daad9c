"""A checkpoint folder: which tensors its files say they hold, and which revision it is.

Headers are read through the safetensors library. No weight is read, no other
kind of file is opened, and nothing is executed.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mkdocs_dsocr.inputs.errors import InputError, plain, repr_short
from mkdocs_dsocr.inputs.files import check_regular, read_mapping, read_text

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
ADAPTER: Final = "adapter_config.json"
NOTED: Final = ".cache/huggingface/download/config.json.metadata"
"""Where the hub's client notes which commit it downloaded."""
GIT: Final = ".git"
MAX_INDEX: Final = 16_000_000
"""Bytes of an index: some 100,000 tensors."""
SHORT: Final = 4096
"""Bytes of a file that names a commit."""
_POINTER: Final = b"version https://git-lfs"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Header:
    """What a file says of one of its tensors: shape, and dtype as safetensors names it."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a checkpoint.

    Attributes
    ----------
    files
        Name and size in bytes of each file that was opened.
    tensors
        The header of each tensor, by name.
    absent
        The file of each tensor whose file is not there, by name: the index names it.
    """

    files: dict[str, int]
    tensors: dict[str, Header] = field(repr=False)
    absent: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def note(self) -> str:
        """A sentence on a download that is not complete; empty for a whole checkpoint."""
        missing = sorted(set(self.absent.values()))
        if not missing:
            return ""
        return (
            f"{len(missing)} of {len(missing) + len(self.files)} weight files that the index names "
            f"are missing, the first of them {missing[0]} (a partial download): "
            f"{len(self.absent):,} tensors are not compared."
        )


def files_beside(config_path: Path) -> list[Path]:
    """Return the files of a checkpoint folder that are read beside its ``config.json``."""
    folder = config_path.parent
    noted = [folder / INDEX, folder / ADAPTER, folder / NOTED, folder / GIT / "HEAD"]
    if (reference := _reference(folder / GIT)) is not None:
        noted.append(reference)
    return [p for p in (*noted, *sorted(folder.glob("*.safetensors"))) if os.path.isfile(p)]


def remote_code(config_path: Path) -> list[Path]:
    """Return the Python files of a checkpoint that brings its own modules; nothing is run.

    Raises
    ------
    InputError
        If its config names no class of a model, or there are no such files.
    """
    named = read_mapping(config_path).get("auto_map")
    if not isinstance(named, dict) or "AutoModel" not in named:
        allowed = "AutoModel: the checkpoint's own class, or trust_remote_code: false"
        raise InputError(config_path, "auto_map", repr_short(named), allowed)
    files = sorted(config_path.parent.glob("*.py"))
    if not files:
        allowed = "the checkpoint's Python files, or trust_remote_code: false"
        raise InputError(config_path.parent, "trust_remote_code", "no *.py", allowed)
    for file in files:
        check_regular(file)
    return files


def read_checkpoint(config_path: Path) -> Checkpoint | None:
    """Read the headers of the safetensors files next to a ``config.json``.

    Returns
    -------
    None where there are none.

    Raises
    ------
    InputError
        If a file is damaged, or the index names one outside of the folder.
    """
    folder = config_path.parent
    index = folder / INDEX
    check_regular(index)
    placed: dict[str, str] = {}
    if os.path.isfile(index):
        placed = _placed(index)
        names = sorted(set(placed.values()))
    elif os.path.lexists(folder / SINGLE):
        names = [SINGLE]
    else:
        names = sorted(p.name for p in folder.glob("*.safetensors"))
    names, every = [n for n in names if _is_there(folder / n)], names
    absent = {tensor: name for tensor, name in placed.items() if name not in names}
    if not every or not (names or absent):
        return None
    tensors: dict[str, Header] = {}
    owners: dict[str, str] = {}
    for name in names:
        for tensor, header in _headers(folder / name).items():
            if tensor in tensors:
                raise InputError(
                    folder / name, tensor, f"a tensor that {owners[tensor]} has", "each once"
                )
            tensors[tensor], owners[tensor] = header, name
    for tensor, name in placed.items():
        if tensor not in absent and owners.get(tensor) != name:
            found = owners.get(tensor, "no file")
            raise InputError(index, f"weight_map: {tensor}", f"{name}, but {found} has it", found)
    files = {name: (folder / name).stat().st_size for name in names}
    return Checkpoint(files, tensors, absent)


def _placed(index: Path) -> dict[str, str]:
    """Return the file of each tensor as the index says; all are in its folder."""
    placed = read_mapping(index, MAX_INDEX).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise InputError(index, "weight_map", repr_short(placed), "a file name for each tensor")
    for tensor, name in placed.items():
        key = f"weight_map: {tensor}"
        if not isinstance(name, str) or Path(name).name != name or "\\" in name:
            raise InputError(index, key, repr_short(name), "the name of a file in the same folder")
        if not name.endswith(".safetensors"):
            raise InputError(index, key, repr_short(name), "a .safetensors file")
    return placed


def _headers(path: Path) -> dict[str, Header]:
    from safetensors import SafetensorError, safe_open

    check_regular(path)
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {
                name: Header(tuple(part.get_shape()), part.get_dtype())
                for name, part in slices.items()
            }
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise InputError(path, "", str(error), "a whole safetensors file") from error


def common_dtype(config_path: Path) -> str | None:
    """Return the dtype of most values in the first safetensors file of a checkpoint.

    Returns
    -------
    The dtype as safetensors names it; None where there is no such file.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    for path in sorted(config_path.parent.glob("*.safetensors")):
        if not _is_there(path):
            continue
        values: Counter[str] = Counter()
        for header in _headers(path).values():
            values[header.dtype] += math.prod(header.shape)
        if values:
            return values.most_common(1)[0][0]
    return None


def _is_there(path: Path) -> bool:
    """Tell whether a file was downloaded: it is there, and no pointer of Git LFS stands for it."""
    if not os.path.lexists(path):
        return False
    check_regular(path)
    try:
        with path.open("rb") as file:
            return file.read(len(_POINTER)) != _POINTER
    except OSError as error:
        raise InputError(path, "", error.strerror or "unreadable", "a readable file") from error


def check_complete(folder: Path) -> None:
    """Refuse the folder of an adapter: its weights are changes of another model's.

    Raises
    ------
    InputError
        If there is an adapter and no config.json.
    """
    adapter = folder / ADAPTER
    if os.path.isfile(adapter) and not os.path.exists(folder / "config.json"):
        base = read_mapping(adapter).get("base_model_name_or_path")
        named = f", {plain(str(base))}" if base else ""
        allowed = f"the folder of its base model{named}, or of a model into which it was merged"
        raise InputError(adapter, "", "an adapter (LoRA) without a model", allowed)


def revision(config_path: Path, content: Mapping[str, Any]) -> str | None:
    """Return the commit of a checkpoint folder, where it can be known.

    The name of a snapshot in a cache of the hub, else the ``_commit_hash`` of its
    config, else what the hub's client noted when it downloaded into the folder, else
    the commit that a clone's ``.git`` has checked out.
    """
    folder = config_path.absolute().parent
    if folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name):
        return folder.name
    stated = content.get("_commit_hash")
    if isinstance(stated, str) and _COMMIT.fullmatch(stated):
        return stated
    noted = _line(folder / NOTED).partition("\n")[0]
    return noted if _COMMIT.fullmatch(noted) else _checked_out(folder / GIT)


def _checked_out(git: Path) -> str | None:
    reference = _reference(git)
    head = _line(git / "HEAD" if reference is None else reference)
    return head if _COMMIT.fullmatch(head) else None


def _reference(git: Path) -> Path | None:
    """Return the file of the branch that a clone has checked out, None where it has none."""
    head = _line(git / "HEAD")
    name = head.removeprefix("ref: ")
    is_inside = head.startswith("ref: refs/") and ".." not in Path(name).parts
    return git / name if is_inside else None


def _line(path: Path) -> str:
    try:
        return read_text(path, SHORT).strip()
    except InputError:
        return ""


def public_name(config_path: Path) -> str | None:
    """Return ``owner/name`` where the folder lies in a cache of the hub."""
    for parent in config_path.absolute().parents:
        kind, _, name = parent.name.partition("--")
        if kind == "models" and "--" in name:
            return name.replace("--", "/", 1)
    return None
