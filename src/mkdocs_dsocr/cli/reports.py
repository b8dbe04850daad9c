"""The commands that compare: reports, workloads and models. None needs torch."""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkdocs_dsocr.cli.options import hardware_option, tell, workload_option, write_file

if TYPE_CHECKING:
    from mkdocs_dsocr.report.schema import AnalyticModelReport
    from mkdocs_dsocr.report.whatif import Scenario

CLOSE = 1e-9
"""Relative difference below which a time is the same."""


@click.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("now", type=click.Path(path_type=Path))
def diff(before: Path, now: Path) -> None:
    """Say what moved between two report.json, by how much, and what moved it."""
    from mkdocs_dsocr.report.changes import compare, load_report
    from mkdocs_dsocr.site.changes import change_lines

    for line in change_lines(compare(load_report(before), load_report(now))):
        click.echo(line)


@click.command()
@click.argument("models", nargs=-1, required=True)
@workload_option
@hardware_option
@click.option("--output", type=click.Path(path_type=Path), help="JSON file to write instead.")
def compare(models: tuple[str, ...], workload: str, hardware: str, output: Path | None) -> None:
    """Set MODELS side by side on one workload and GPU: work, traffic, times, memory.

    Each is an id or a path; ratios are of the last one over the first.
    """
    from mkdocs_dsocr.build import pipeline
    from mkdocs_dsocr.models import load_model_config
    from mkdocs_dsocr.report.models import compare_models
    from mkdocs_dsocr.site.models import model_lines

    first, *others = models
    settings = pipeline.Settings(first, (workload,), (hardware,))
    configs = [load_model_config(value) for value in others]
    found = compare_models(pipeline.analyse(settings)[0][0], configs)
    for analysis in found.analyses:
        tell(analysis)
    if output is None:
        for line in model_lines(found):
            click.echo(line)
        return
    write_file(output, found.to_json())
    click.echo(f"{len(found.rows)} figures of {len(models)} models in {output}", err=True)


@click.command()
@click.argument("report", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "fields",
    multiple=True,
    metavar="FIELD=VALUE[,VALUE…]",
    help="A field of the workload and the values that it takes.",
)
@click.option(
    "--hardware", multiple=True, help="Id or path; may be given often. The report's own otherwise."
)
@click.option("--output", type=click.Path(path_type=Path), help="CSV file to write instead.")
def whatif(
    report: Path, fields: tuple[str, ...], hardware: tuple[str, ...], output: Path | None
) -> None:
    """Evaluate a saved REPORT again for other batches, pages, precisions and GPUs.

    The model and everything that is not changed are taken from the report alone.
    """
    from mkdocs_dsocr.inputs import load_hardware
    from mkdocs_dsocr.report.changes import load_report
    from mkdocs_dsocr.report.whatif import evaluated

    saved = load_report(report)
    (own,) = evaluated(saved, report, [{}])
    if not _is_as_saved(own, saved):
        click.echo(f"{report}: formulas have changed since: rows are by those of today", err=True)
    gpus = [load_hardware(value) for value in hardware]
    rows = evaluated(saved, report, list(_variants(fields)), gpus)
    _write(rows, output)


def _is_as_saved(own: Scenario, saved: AnalyticModelReport) -> bool:
    """Tell whether today's formulas say what the report says."""
    was = {
        "ttft_ms": saved.latency.ttft_ms,
        "predicted_total_time_ms": saved.predicted_total_time_ms,
        "footprint_bytes": saved.memory.footprint_bytes,
    }
    return all(abs((own.figures[k] or 0) - v) <= CLOSE * abs(v) for k, v in was.items())


def _variants(fields: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """Yield every combination of the values of the fields."""
    from mkdocs_dsocr.inputs import InputError

    listed: dict[str, list[Any]] = {}
    for text in fields:
        name, sign, values = text.partition("=")
        if not sign or not values:
            raise InputError("option", "--set", repr(text), "FIELD=VALUE, such as batch_size=8,16")
        listed[name] = _values(values)
    for combination in itertools.product(*listed.values()):
        yield dict(zip(listed, combination, strict=True))


def _values(text: str) -> list[Any]:
    """Return the values in a list as YAML reads them; ``[2, 3]`` is one."""
    import yaml

    from mkdocs_dsocr.inputs import InputError

    try:
        values = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError as error:
        raise InputError("option", "--set", repr(text), "values, with commas between") from error
    return list(values)


def _write(rows: Iterator[Scenario], output: Path | None) -> None:
    from mkdocs_dsocr.inputs.errors import room_to_write
    from mkdocs_dsocr.report.whatif import FIGURES

    found = list(rows)
    names = dict.fromkeys(name for row in found for name in row.changes)
    table = [
        [row.changes.get(n, "") for n in names] + [row.hardware_id, *row.figures.values()]
        for row in found
    ]
    head = [*names, "hardware", *FIGURES]
    if output is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows([head, *table])
        return
    with room_to_write(output), output.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *table])
    click.echo(f"{len(table)} scenarios in {output}", err=True)
