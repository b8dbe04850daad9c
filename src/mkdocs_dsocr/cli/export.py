"""The commands that write many pages, or many rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mkdocs_dsocr.cli.analyze import list_inputs
from mkdocs_dsocr.cli.command import (
    Command,
    OutputPath,
    check_output,
    detail,
    failed,
    progress,
    say,
)
from mkdocs_dsocr.cli.options import (
    device_option,
    hardware_option,
    model_option,
    tell,
    trust_option,
    workload_option,
)
from mkdocs_dsocr.resources import DEFAULT_HARDWARE
from mkdocs_dsocr.text import counted

if TYPE_CHECKING:
    from mkdocs_dsocr.site.export import Flavour


@click.command(cls=Command)
@click.argument("directory", type=OutputPath("folder"))
@model_option
@workload_option
@hardware_option
@device_option
@trust_option
@click.option(
    "--flavour",
    type=click.Choice(["github", "myst", "zensical"]),
    default="github",
    show_default=True,
    help="github, myst: tables, formulas between dollars, charts as files; "
    "zensical: HTML blocks with their style and scripts.",
)
@click.option("--force", is_flag=True, help="Overwrite files that this command did not write.")
def export(
    directory: Path,
    model: str,
    workload: str,
    hardware: str,
    device: str,
    trust_remote_code: bool,
    flavour: Flavour,
    force: bool,
) -> None:
    """Write the pages as Markdown to DIRECTORY, for any generator.

    Files of an earlier export that are not needed any more are removed. A file that someone else
    wrote, or edited, is never overwritten without --force, and never removed.
    """
    from mkdocs_dsocr.build import pipeline, sites
    from mkdocs_dsocr.build.exported import write_export
    from mkdocs_dsocr.build.progress import log_time
    from mkdocs_dsocr.build.trace_store import trace_model
    from mkdocs_dsocr.site.export import STYLES, flavoured
    from mkdocs_dsocr.site.pages import nav

    settings = pipeline.Settings(
        model, (workload,), (hardware,), device, trust_remote_code=trust_remote_code
    )
    analyses = pipeline.analyse(settings)
    list_inputs(settings)
    tell(analyses[0][0])
    traced = trace_model(analyses, device, say, trust=trust_remote_code)
    result = pipeline.complete(analyses, traced)
    with log_time(say, "making the pages"):
        site, pages, others = sites.site_files(result, STYLES[flavour])
        files = flavoured(pages, others, flavour, nav(site))
    for name in files:
        check_output(directory / name, settings.files())
    done = write_export(directory, files, force=force)
    for name in done.removed:
        detail(f"removed {directory / name}")
    for name in done.edited:
        say(f"{directory / name} is no longer part of the pages; it was edited, so it stays")
    old = counted(len(done.removed), "old one")
    say(f"{counted(len(files), 'file')} in {directory}, {old} removed")
    if result.failures:
        raise failed(result.failures)


@click.command(cls=Command)
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=OutputPath("file", (".csv", ".parquet")),
    required=True,
    help=".csv or .parquet file.",
)
def sweep(spec: Path, output: Path) -> None:
    """Evaluate every combination of the values that SPEC lists, and write a row for each."""
    from mkdocs_dsocr.inputs import load_hardware, load_workload
    from mkdocs_dsocr.models import load_model_config
    from mkdocs_dsocr.report import Analysis
    from mkdocs_dsocr.sweep.spec import input_files, load_spec, write

    loaded = load_spec(spec)
    check_output(output, [spec, *input_files(loaded)])
    config = load_model_config(loaded.model, loaded.base)
    workload = load_workload(loaded.workload, loaded.base)
    # No note depends on the GPU. The rows of a GPU that lacks a format have no time.
    tell(Analysis(config, workload, load_hardware(DEFAULT_HARDWARE), loaded.workload))
    with progress(loaded.size) as done:
        try:
            write(loaded, output, done)
        except OverflowError as error:
            raise click.UsageError(f"{spec}: sweep: {error}; allowed: smaller values") from error
    say(f"{counted(loaded.size, 'scenario')} in {output}")
