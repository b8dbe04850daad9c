"""The commands that compare reports and models, and print them. None needs torch."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Literal

import click

from mkdocs_dsocr.cli.command import Command, OutputPath, say, show, show_json, write_file
from mkdocs_dsocr.cli.options import (
    MODELS,
    RATE,
    hardware_option,
    json_option,
    tell,
    workload_option,
)
from mkdocs_dsocr.text import counted


@click.command(cls=Command)
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("now", type=click.Path(path_type=Path))
@click.option("--exit-code", is_flag=True, help="Exit with 1 if something moved.")
@json_option("what moved")
@click.pass_context
def diff(ctx: click.Context, before: Path, now: Path, exit_code: bool, as_json: bool) -> None:
    """Print what moved between two reports, by how much, and what moved it.

    BEFORE and NOW are each a report.json, or a folder that dsocr analyze wrote.
    """
    from mkdocs_dsocr.report.changes import compare, load_report
    from mkdocs_dsocr.site.changes import change_lines

    changes = compare(load_report(before), load_report(now))
    if as_json:
        show_json(dataclasses.asdict(changes))
    else:
        for line in change_lines(changes):
            show(line)
    if exit_code and (changes.inputs or changes.figures):
        ctx.exit(1)


@click.command(cls=Command)
@click.argument("models", nargs=-1, required=True, type=MODELS)
@workload_option
@hardware_option
@click.option("--output", type=OutputPath("file", (".json",)), help="JSON file to write instead.")
@json_option("every figure")
def compare(
    models: tuple[str, ...], workload: str, hardware: str, output: Path | None, as_json: bool
) -> None:
    """Compare MODELS on one workload and GPU: work, traffic, times, memory.

    Each is an id or a path; ratios are of the last one over the first.
    """
    from mkdocs_dsocr.build import pipeline
    from mkdocs_dsocr.models import load_model_config
    from mkdocs_dsocr.report.models import compare_models
    from mkdocs_dsocr.site.models import model_lines

    first, *others = models
    settings = pipeline.Settings(first, (workload,), (hardware,), compared_models=tuple(others))
    configs = [load_model_config(value) for value in others]
    found = compare_models(pipeline.analyse(settings)[0][0], configs)
    for analysis in found.analyses:
        tell(analysis)
    if as_json:
        click.echo(found.to_json().strip())
    elif output is None:
        for line in model_lines(found):
            show(line)
    if output is not None:
        write_file(output, found.to_json(), settings.files())
        say(f"{counted(len(found.rows), 'figure')} of {counted(len(models), 'model')} in {output}")


@click.command(cls=Command)
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["md", "html"]),
    help="Format of the document.  [default: by the suffix of --output, else md]",
)
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True)
@click.option(
    "--pages-per-day",
    type=RATE,
    help="Find the fewest GPUs of each report for them.",
)
@click.option(
    "--template",
    type=click.Path(path_type=Path),
    help="Jinja template of your own, in Markdown.",
)
@click.option("--output", type=OutputPath("file", (".md", ".html")), help="File to write instead.")
def report(
    reports: tuple[Path, ...],
    form: str | None,
    language: Literal["en", "zh"],
    pages_per_day: float | None,
    template: Path | None,
    output: Path | None,
) -> None:
    """Print a decision report of one or several REPORTS: figures, assumptions, accuracy.

    Each is a report.json, or a folder that dsocr analyze wrote. It says whether their inputs are
    comparable. A browser prints the HTML as PDF.
    """
    from mkdocs_dsocr.report.changes import load_report
    from mkdocs_dsocr.site.decision import as_html, decision_report

    form = _format(form, output)
    found = [load_report(path) for path in reports]
    text = decision_report(found, language, pages_per_day, template)
    if form == "html":
        text = as_html(text, language)
    if output is None:
        for line in text.rstrip().splitlines():
            show(line)
        return
    files = [path / "report.json" if os.path.isdir(path) else path for path in reports]
    write_file(output, text, [*files, *([template] if template else [])])
    say(f"decision report of {counted(len(found), 'report')} in {output}")


def _format(form: str | None, output: Path | None) -> str:
    """Return the format that the options ask for.

    Raises
    ------
    InputError
        If the suffix of the file is that of another format.
    """
    from mkdocs_dsocr.inputs import InputError
    from mkdocs_dsocr.inputs.errors import repr_short

    if output is None:
        return form or "md"
    suffix = output.suffix.removeprefix(".")
    if form not in (None, suffix):
        found = f"{repr_short(str(output))} with --format {form}"
        raise InputError("option", "--output", found, f"a file that ends in .{form}")
    return suffix
