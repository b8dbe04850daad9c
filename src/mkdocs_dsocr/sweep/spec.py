"""A sweep as a YAML file, and its results as a file."""

from __future__ import annotations

import csv
import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, model_validator

from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.errors import ContradictionError, repr_short, room_to_write
from mkdocs_dsocr.inputs.fields import Strict
from mkdocs_dsocr.inputs.files import read_mapping, validate
from mkdocs_dsocr.inputs.references import resolve
from mkdocs_dsocr.io import atomic_path
from mkdocs_dsocr.resources import DEFAULT_HARDWARE, DEFAULT_MODEL, DEFAULT_WORKLOAD
from mkdocs_dsocr.sweep.api import Sweep, grid_chunks
from mkdocs_dsocr.sweep.columns import checked

SUFFIXES: Final = (".csv", ".parquet")
MOST: Final = 10**9


class Range(Strict):
    """Integers from `start` to `stop`, both included, `step` apart."""

    start: int
    stop: int
    step: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.stop < self.start:
            raise ContradictionError("stop", str(self.stop), f"at least start, {self.start}")
        return self

    def __len__(self) -> int:
        return (self.stop - self.start) // self.step + 1


class Spec(Strict):
    """What ``dsocr sweep`` evaluates: every combination of the values of `sweep`."""

    model: str = DEFAULT_MODEL
    workload: str = DEFAULT_WORKLOAD
    sweep: dict[str, list[str] | list[bool] | list[int] | list[float] | Range]

    @property
    def size(self) -> int:
        """How many scenarios."""
        return math.prod(len(values) for values in self.sweep.values())

    def chunks(self) -> Iterator[Sweep]:
        """Yield the results in pieces."""
        dimensions: dict[str, Any] = {name: _listed(values) for name, values in self.sweep.items()}
        hardware = dimensions.pop("hardware", DEFAULT_HARDWARE)
        yield from grid_chunks(self.model, self.workload, hardware, **dimensions)


def _listed(values: Any) -> Sequence[Any]:
    if isinstance(values, Range):
        return range(values.start, values.stop + 1, values.step)
    listed: Sequence[Any] = values
    return listed


def load_spec(path: Path) -> Spec:
    """Read the file of a sweep.

    Raises
    ------
    InputError
        If it is not valid, or there are too many scenarios.
    """
    spec = validate(Spec, read_mapping(path), path)
    for name, values in spec.sweep.items():
        if not len(values):
            raise InputError(path, f"sweep.{name}", "an empty list", "at least one value")
        if name != "hardware":
            checked(name, list(_listed(values)), path)
    if spec.size > MOST:
        raise InputError(path, "sweep", f"{spec.size:,} scenarios", f"at most {MOST:,}")
    return spec


def input_files(spec: Spec) -> list[Path]:
    """Return the files that a sweep reads besides its own."""
    hardware = spec.sweep.get("hardware", [DEFAULT_HARDWARE])
    gpus = [str(value) for value in _listed(hardware)]
    model = resolve("models", spec.model)
    return [
        model if model.is_file() else model / "config.json",
        resolve("workloads", spec.workload),
        *(resolve("hardware", value) for value in gpus),
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
