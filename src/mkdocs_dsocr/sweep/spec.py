"""A sweep as a YAML file, and its results as a file."""

from __future__ import annotations

import csv
import importlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import Discriminator, Field, PrivateAttr, Tag, model_validator

from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.errors import ContradictionError, repr_short, room_to_write
from mkdocs_dsocr.inputs.fields import Strict
from mkdocs_dsocr.inputs.files import read_mapping, validate
from mkdocs_dsocr.inputs.references import Kind, resolve
from mkdocs_dsocr.io import atomic_path
from mkdocs_dsocr.resources import DEFAULT_HARDWARE, DEFAULT_MODEL, DEFAULT_WORKLOAD
from mkdocs_dsocr.sweep.api import Sweep, grid_chunks
from mkdocs_dsocr.sweep.columns import checked, profiles

SUFFIXES: Final = (".csv", ".parquet")
MOST: Final = 10**9
"""Scenarios of a sweep."""
MOST_VALUES: Final = 10**6
"""Values of one dimension."""
MOST_GPUS: Final = 1000


class Range(Strict):
    """Integers from `start` to `stop`, both included, `step` apart."""

    start: int
    stop: int
    step: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.stop < self.start:
            raise ContradictionError("stop", repr_short(self.stop), "at least start")
        return self


def _kind(found: Any) -> str | None:
    """Return which of the two forms of a dimension a value has."""
    if isinstance(found, list):
        return "list"
    return "range" if isinstance(found, Range | dict) else None


Dimension = Annotated[
    Annotated[Range, Tag("range")] | Annotated[list[Any], Tag("list")],
    Discriminator(
        _kind,
        custom_error_type="dimension",
        custom_error_message="a list of values, or a mapping of start, stop and step",
    ),
]


class Spec(Strict):
    """What ``dsocr sweep`` evaluates: every combination of the values of `sweep`."""

    _base: Path = PrivateAttr(default=Path())
    model: str = DEFAULT_MODEL
    workload: str = DEFAULT_WORKLOAD
    sweep: dict[str, Dimension]

    @property
    def base(self) -> Path:
        """The folder that paths are relative to: the file's."""
        return self._base

    @property
    def size(self) -> int:
        """How many scenarios."""
        return math.prod(_size(found) for found in self.sweep.values())

    def chunks(self) -> Iterator[Sweep]:
        """Yield the results in pieces."""
        dimensions: dict[str, Any] = {name: _values(found) for name, found in self.sweep.items()}
        hardware = dimensions.pop("hardware", DEFAULT_HARDWARE)
        yield from grid_chunks(self.model, self.workload, hardware, base=self.base, **dimensions)


def _size(found: Range | list[Any]) -> int:
    """Return how many values there are, without listing them."""
    if isinstance(found, Range):
        return (found.stop - found.start) // found.step + 1
    return len(found)


def _values(found: Range | list[Any]) -> Sequence[Any]:
    if isinstance(found, Range):
        return range(found.start, found.stop + 1, found.step)
    return found


def load_spec(path: Path) -> Spec:
    """Read the file of a sweep. What is too large is refused before anything is listed.

    Raises
    ------
    InputError
        If it is not valid, or there are too many values or scenarios.
    """
    spec = validate(Spec, read_mapping(path), path)
    spec._base = path.parent
    _check_there(path, "model", "models", spec.model)
    _check_there(path, "workload", "workloads", spec.workload)
    if spec.size > MOST:
        words = f"{spec.size:,} scenarios" if spec.size < 10**30 else "more scenarios"
        raise InputError(path, "sweep", words, f"at most {MOST:,}")
    for name, found in spec.sweep.items():
        key, size = f"sweep.{name}", _size(found)
        most = MOST_GPUS if name == "hardware" else MOST_VALUES
        if not 1 <= size <= most:
            raise InputError(path, key, f"{size:,} values", f"1 to {most:,}")
        values = _values(found)
        if name == "hardware":
            _check_hardware(path, values)
        elif isinstance(found, Range):
            # Where the first two and the last are allowed, all are.
            checked(name, [*values[:2], values[-1]], path)
        else:
            checked(name, values, path)
    return spec


def _check_hardware(path: Path, values: Sequence[Any]) -> None:
    for value in values:
        if not isinstance(value, str):
            raise InputError(path, "sweep.hardware", repr_short(value), "ids or paths")
        _check_there(path, "sweep.hardware", "hardware", value)
    twice = [v for v, times in Counter(values).items() if times > 1]
    if twice:
        raise InputError(path, "sweep.hardware", f"{repr_short(twice[0])} twice", "each once")
    profiles(values, str(path), path.parent)


def _check_there(path: Path, key: str, kind: Kind, value: str) -> None:
    """Refuse the name of a file or folder that is not there, by the key that has it."""
    if not os.path.exists(resolve(kind, value, path.parent, str(path), key)):
        raise InputError(path, key, repr_short(value), "an id, or a path that exists")


def input_files(spec: Spec) -> list[Path]:
    """Return the files that a sweep reads besides its own."""
    gpus = _values(spec.sweep.get("hardware", [DEFAULT_HARDWARE]))
    model = resolve("models", spec.model, spec.base)
    return [
        model if os.path.isfile(model) else model / "config.json",
        resolve("workloads", spec.workload, spec.base),
        *(resolve("hardware", value, spec.base) for value in gpus),
    ]


def write(spec: Spec, path: Path, progress: Callable[[int], None]) -> None:
    """Evaluate a sweep and write its columns; an unfinished file does not stay.

    Parameters
    ----------
    spec
        The sweep.
    path
        A ``.csv`` or ``.parquet`` file; the latter needs pyarrow.
    progress
        Told the rows of each piece that was written.

    Raises
    ------
    InputError
        If the file's type is neither, pyarrow is missing, or the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        allowed = f"a file that ends in {' or '.join(SUFFIXES)}"
        raise InputError("option", "--output", repr_short(path.name), allowed)
    write_rows = _write_csv if path.suffix == ".csv" else _write_parquet
    with room_to_write(path), atomic_path(path) as part:
        write_rows(spec, part, progress)


def _write_csv(spec: Spec, path: Path, progress: Callable[[int], None]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for index, piece in enumerate(spec.chunks()):
            if not index:
                writer.writerow(piece)
            writer.writerows(zip(*(column.tolist() for column in piece.values()), strict=True))
            progress(piece.rows)


def _write_parquet(spec: Spec, path: Path, progress: Callable[[int], None]) -> None:
    try:
        pyarrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise InputError(
            "option", "--output", "a .parquet file", "a .csv file, or install pyarrow"
        ) from error
    writer: Any = None
    try:
        for piece in spec.chunks():
            table = pyarrow.table(dict(piece))
            writer = writer or parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
            progress(piece.rows)
    finally:
        if writer is not None:
            writer.close()
