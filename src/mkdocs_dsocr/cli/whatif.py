"""The command ``dsocr whatif``: a saved report, evaluated for other workloads and GPUs."""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from mkdocs_dsocr.cli.command import Command, OutputPath, check_output, progress, say
from mkdocs_dsocr.cli.options import HARDWARE, complete_fields, json_option
from mkdocs_dsocr.text import counted

if TYPE_CHECKING:
    from mkdocs_dsocr.report.schema import AnalyticModelReport
    from mkdocs_dsocr.sweep.whatif import Scenario

CLOSE: Final = 1e-9
"""Relative difference below which a time is the same."""
MOST: Final = 10**6
"""Scenarios of one call."""


@click.command(cls=Command)
@click.argument("report", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "fields",
    multiple=True,
    metavar="FIELD=VALUE[,VALUE…]",
    shell_complete=complete_fields,
    help="A field of the workload and the values that it takes. May be given often.",
)
@click.option(
    "--hardware",
    multiple=True,
    type=HARDWARE,
    help="Id or path; may be given often. The report's own otherwise.",
)
@click.option(
    "--output", type=OutputPath("file", (".csv", ".json")), help=".csv or .json file to write."
)
@json_option("the rows")
def whatif(
    report: Path,
    fields: tuple[str, ...],
    hardware: tuple[str, ...],
    output: Path | None,
    as_json: bool,
) -> None:
    """Evaluate a saved REPORT again for other batches, pages, precisions and GPUs.

    REPORT is a report.json, or a folder that dsocr analyze wrote. The model and everything that
    is not changed are taken from it alone. Every combination of the values is a row.
    """
    from mkdocs_dsocr.inputs import InputError, load_hardware
    from mkdocs_dsocr.inputs.errors import repr_short
    from mkdocs_dsocr.inputs.references import resolve
    from mkdocs_dsocr.report.changes import load_report
    from mkdocs_dsocr.sweep.whatif import evaluated

    if as_json and output is not None and output.suffix != ".json":
        found = f"{repr_short(str(output))} with --json"
        raise InputError("option", "--output", found, "a file that ends in .json")
    path = report / "report.json" if os.path.isdir(report) else report
    saved, listed = load_report(path), _listed(fields)
    gpus = [load_hardware(value) for value in hardware]
    size = math.prod(len(values) for values in listed.values()) * max(len(gpus), 1)
    if size > MOST:
        allowed = f"at most {MOST:,}; dsocr sweep evaluates more"
        raise InputError("--set", "", f"{size:,} scenarios", allowed)
    if output is not None:
        check_output(output, [path, *(resolve("hardware", value) for value in hardware)])
    (own,) = evaluated(saved, path, [{}])
    if not _is_as_saved(own, saved):
        say(f"{path}: formulas have changed since: rows are by those of today")
    for warning in saved.warnings:
        say(f"warning: {warning}")
    combinations = itertools.product(*listed.values())
    variants = (dict(zip(listed, values, strict=True)) for values in combinations)
    rows = _begun(evaluated(saved, path, variants, gpus))
    if output is None:
        _write(rows, list(listed), sys.stdout, as_json=as_json)
    else:
        _save(rows, list(listed), size, output)
        say(f"{counted(size, 'scenario')} in {output}")


def _begun(rows: Iterator[Scenario]) -> Iterator[Scenario]:
    """Evaluate the first rows now: an error in them comes before anything is written."""
    first = list(itertools.islice(rows, 1))
    return itertools.chain(first, rows)


def _is_as_saved(own: Scenario, saved: AnalyticModelReport) -> bool:
    """Tell whether today's formulas say what the report says."""
    was = {
        "ttft_ms": saved.latency.ttft_ms,
        "predicted_total_time_ms": saved.predicted_total_time_ms,
        "footprint_bytes": saved.memory.footprint_bytes,
    }
    return all(abs((own.figures[k] or 0) - v) <= CLOSE * abs(v) for k, v in was.items())


def _listed(fields: tuple[str, ...]) -> dict[str, list[Any]]:
    """Return every value of each field; a field that is given twice takes the values of both.

    Raises
    ------
    InputError
        If a field or a list of values is none.
    """
    from mkdocs_dsocr.inputs import InputError
    from mkdocs_dsocr.inputs.files import parse_yaml

    listed: dict[str, list[Any]] = {}
    for text in fields:
        name, sign, values = text.partition("=")
        if not sign or not name or not values.strip():
            raise InputError("--set", "", repr(text), "FIELD=VALUE, such as batch_size=8,16")
        found = parse_yaml(f"[{values}]", "--set", name)
        if not isinstance(found, list) or not found:
            raise InputError("--set", name, repr(values), "values, with commas between")
        listed.setdefault(name, []).extend(found)
    return listed


def _save(rows: Iterator[Scenario], names: list[str], size: int, output: Path) -> None:
    """Write the rows to a file as they come; an unfinished file does not stay."""
    from mkdocs_dsocr.inputs.errors import room_to_write
    from mkdocs_dsocr.io import atomic_text

    with room_to_write(output), atomic_text(output) as file, progress(size) as done:
        _write(rows, names, file, as_json=output.suffix == ".json", done=done)


def _write(
    rows: Iterator[Scenario],
    names: list[str],
    file: TextIO,
    *,
    as_json: bool,
    done: Callable[[int], None] = lambda _: None,
) -> None:
    """Write a row for each scenario as CSV, or as a JSON list of objects, one a line."""
    from mkdocs_dsocr.sweep.whatif import FIGURES

    head = [*names, "hardware", *FIGURES]
    writer = csv.writer(file, lineterminator="\n")
    if not as_json:
        writer.writerow(head)
    separator = "[\n"
    for row in rows:
        values = [*(row.changes[n] for n in names), row.hardware_id, *row.figures.values()]
        if as_json:
            file.write(separator + json.dumps(dict(zip(head, values, strict=True))))
            separator = ",\n"
        else:
            writer.writerow(values)
        done(1)
    if as_json:
        file.write("\n]\n")
    file.flush()
