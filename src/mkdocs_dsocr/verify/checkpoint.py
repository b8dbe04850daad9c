"""Compares the tensors of a checkpoint with the parameters of the traced model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mkdocs_dsocr.inputs.checkpoint import Checkpoint, Header
from mkdocs_dsocr.inputs.model_config import HEADERS, Storage
from mkdocs_dsocr.trace import ModuleRecord

OPTIONAL: Final = "model.vision_model.embeddings.position_ids"
"""A buffer that a checkpoint may or may not carry: it holds 0, 1, 2, …"""


@dataclass(frozen=True)
class Difference:
    """A tensor that differs; None stands for a missing tensor."""

    name: str
    expected: Header | None
    found: Header | None


@dataclass(frozen=True)
class CheckpointVerdict:
    """Whether a checkpoint is of the model that the site shows.

    Attributes
    ----------
    files
        Name and size in bytes of each file whose header was read.
    expected, matching
        Tensors of the model, and those that the checkpoint has in name, shape and dtype.
    missing, unexpected, differing
        All others.
    is_quantised
        Whether the config says that tensors are quantised: then they are described, not refused.
    note
        A sentence on files that are not there; empty where all are.
    """

    files: dict[str, int]
    expected: int
    matching: int
    missing: tuple[Difference, ...]
    unexpected: tuple[Difference, ...]
    differing: tuple[Difference, ...]
    is_quantised: bool = False
    note: str = ""

    @property
    def differences(self) -> tuple[Difference, ...]:
        return (*self.missing, *self.differing, *self.unexpected)

    @property
    def agrees(self) -> bool:
        return not self.differences

    @property
    def failures(self) -> list[str]:
        """A sentence where the checkpoint is another model's."""
        if self.agrees or self.is_quantised:
            return []
        return [
            f"checkpoint: {self.matching:,} of {self.expected:,} tensors match; "
            f"{len(self.missing):,} missing, {len(self.differing):,} differing, "
            f"{len(self.unexpected):,} unexpected, the first of them {self.differences[0].name}"
            f"{self._dtypes}"
        ]

    @property
    def _dtypes(self) -> str:
        """Say which tensors differ in their dtype alone; empty where none do."""
        pairs = [(d.expected, d.found) for d in self.differing]
        dtypes = [(e.dtype, f.dtype) for e, f in pairs if e and f and e.shape == f.shape]
        if not dtypes:
            return ""
        expected, found = dtypes[0]
        return f"; {len(dtypes):,} differ only in dtype, such as {found} instead of {expected}"

    def to_json(self) -> str:
        """Return the verdict as JSON, every difference included."""
        data = {**dataclasses.asdict(self), "agrees": self.agrees, "failures": self.failures}
        return json.dumps(data, indent=1) + "\n"


def compare(
    checkpoint: Checkpoint, modules: Iterable[ModuleRecord], storage: Storage | None = None
) -> CheckpointVerdict:
    """Compare a checkpoint's headers with the parameters of the traced modules.

    Parameters
    ----------
    checkpoint, modules
        What the files say, and the model.
    storage
        How the config says that weights are stored; in bfloat16 where not given.
    """
    storage = storage or Storage()
    dtype = HEADERS[storage.dtype]
    every = {
        f"{module.path}.{name}" if module.path else name: Header(shape, dtype)
        for module in modules
        for name, shape in module.parameters.items()
    }
    expected = {name: header for name, header in every.items() if name not in checkpoint.absent}
    found = {n: h for n, h in checkpoint.tensors.items() if n != OPTIONAL}
    same = [n for n, header in expected.items() if found.get(n) == header]
    both = [n for n in expected if n in found and found[n] != expected[n]]
    return CheckpointVerdict(
        files=checkpoint.files,
        expected=len(expected),
        matching=len(same),
        missing=tuple(Difference(n, h, None) for n, h in expected.items() if n not in found),
        unexpected=tuple(Difference(n, None, h) for n, h in found.items() if n not in expected),
        differing=tuple(Difference(n, expected[n], found[n]) for n in both),
        is_quantised=storage.is_quantised,
        note=checkpoint.note,
    )
