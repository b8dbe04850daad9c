"""The commands that analyse: trace, report, pages, sweeps."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mkdocs_dsocr.cli.options import (
    device_option,
    hardware_option,
    model_option,
    output_folder,
    output_option,
    say,
    tell,
    trust_option,
    workload_option,
    write_files,
)

if TYPE_CHECKING:
    from mkdocs_dsocr.report import Analysis
    from mkdocs_dsocr.site.export import Flavour


@click.command()
@model_option
@workload_option
@click.option("--base-size", type=int, help="Side of the global view, px (instead of --workload).")
@click.option("--image-size", type=int, help="Side of a local view, px.")
@click.option("--seq-len", type=int, help="Prompt tokens of a page, image tokens included.")
@click.option("--crop-mode", type=click.IntRange(0, 1), help="1: with local views.")
@click.option("--crop-grid", help="Local views a row and a column, such as 1x2.")
@device_option
@trust_option
@output_option
def static(
    model: str,
    workload: str,
    base_size: int | None,
    image_size: int | None,
    seq_len: int | None,
    crop_mode: int | None,
    crop_grid: str | None,
    device: str,
    trust_remote_code: bool,
    output: Path | None,
) -> None:
    """Trace the model with PyTorch and write what it counted, and torchinfo's artifacts."""
    from mkdocs_dsocr.build import artifacts, pipeline
    from mkdocs_dsocr.build.trace_store import trace_model

    sizes = (base_size, image_size, seq_len, crop_mode)
    with tempfile.TemporaryDirectory() as folder:
        if any(v is not None for v in (*sizes, crop_grid)):
            workload = _workload_file(Path(folder), sizes, crop_grid)
        settings = pipeline.Settings(
            model, (workload,), device=device, trust_remote_code=trust_remote_code
        )
        analyses = pipeline.analyse(settings)
        tell(analyses[0][0])
        traced = trace_model(analyses, device, say, trust=trust_remote_code)
        result = pipeline.complete(analyses, traced)
    files = result.static.artifacts | artifacts.verdicts(result)
    profile = analyses[0][0].workload.profile_id
    write_files(
        output_folder(output, profile), {name: text.encode() for name, text in files.items()}
    )
    if result.failures:
        raise click.ClickException("\n".join(result.failures))


def _workload_file(folder: Path, sizes: tuple[int | None, ...], crop_grid: str | None) -> str:
    """Write the workload that the flags describe and return its path."""
    from mkdocs_dsocr.inputs import InputError

    names = ("--base-size", "--image-size", "--seq-len", "--crop-mode")
    for name, value in zip(names, sizes, strict=True):
        if value is None:
            raise InputError("option", name, "nothing", f"all of {', '.join(names)} together")
    base_size, image_size, seq_len, crop_mode = sizes
    lines = [
        "profile_id: custom",
        f"base_size: {base_size}",
        f"image_size: {image_size}",
        f"seq_len: {seq_len}",
        f"crop_mode: {'true' if crop_mode else 'false'}",
        "max_new_tokens: 512",
    ]
    if crop_grid is not None or crop_mode:
        grid = (crop_grid or "1x2").lower().split("x")
        if len(grid) != 2 or not all(side.isdecimal() for side in grid):
            raise InputError("option", "--crop-grid", repr(crop_grid), "WxH, such as 1x2")
        lines.append(f"crop_grid: [{int(grid[0])}, {int(grid[1])}]")
    path = folder / "custom.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@click.command()
@model_option
@workload_option
@hardware_option
@output_option
@click.option(
    "--static",
    "static_dir",
    type=click.Path(path_type=Path),
    help="Folder that dsocr static wrote: adds operator coverage and verification.",
)
@click.option("--markdown", is_flag=True, help="Write a readable report.md as well.")
@click.option("--viewers", is_flag=True, help="Write files for Perfetto and Model Explorer too.")
def analyze(
    model: str,
    workload: str,
    hardware: str,
    output: Path | None,
    static_dir: Path | None,
    markdown: bool,
    viewers: bool,
) -> None:
    """Write the analytic report of a workload. Needs no torch."""
    with _without_collections():
        analysis, files = _analysed(model, workload, hardware, static_dir)
    if markdown:
        from mkdocs_dsocr.site.summary import report_markdown

        files["report.md"] = report_markdown(analysis)
    if viewers:
        from mkdocs_dsocr.report.files import viewer_files

        files |= viewer_files(analysis)
    tell(analysis)
    folder = output_folder(output, analysis.report.report_id)
    write_files(folder, {name: text.encode() for name, text in files.items()})
    memory = analysis.report.memory
    click.echo(f"{analysis.report.predicted_total_time_ms:.3f} ms predicted", err=True)
    if not memory.fits:
        click.echo(
            f"Warning: does not fit {analysis.hardware.name}: {memory.largest_stage} needs "
            f"{memory.footprint_bytes / 1e9:,.1f} of {memory.room_bytes / 1e9:,.1f} GB. The times "
            "are those of a GPU with enough memory.",
            err=True,
        )


@contextmanager
def _without_collections() -> Iterator[None]:
    """Let a short step go without looking for cycles, a tenth of its time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _analysed(
    model: str, workload: str, hardware: str, static_dir: Path | None
) -> tuple[Analysis, dict[str, str]]:
    from mkdocs_dsocr.build import artifacts, pipeline
    from mkdocs_dsocr.build.trace_store import load_static
    from mkdocs_dsocr.report import report_files

    settings = pipeline.Settings(model=model, workloads=(workload,), hardware=(hardware,))
    analyses = pipeline.analyse(settings)
    if static_dir is None:
        return analyses[0][0], report_files(analyses[0][0])
    result = pipeline.complete(analyses, load_static(static_dir))
    files = artifacts.verdicts(result) | report_files(result.main)
    return result.main, files


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
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
def export(
    directory: Path,
    model: str,
    workload: str,
    hardware: str,
    device: str,
    trust_remote_code: bool,
    flavour: Flavour,
) -> None:
    """Write the pages as Markdown to DIRECTORY, for any generator."""
    from mkdocs_dsocr.build import artifacts, pipeline
    from mkdocs_dsocr.build.trace_store import timed, trace_model
    from mkdocs_dsocr.site.export import STYLES, flavoured
    from mkdocs_dsocr.site.pages import nav

    settings = pipeline.Settings(
        model, (workload,), (hardware,), device, trust_remote_code=trust_remote_code
    )
    analyses = pipeline.analyse(settings)
    tell(analyses[0][0])
    traced = trace_model(analyses, device, say, trust=trust_remote_code)
    result = pipeline.complete(analyses, traced)
    with timed(say, "making the pages"):
        site, pages, others = artifacts.site_files(result, STYLES[flavour])
        files = flavoured(pages, others, flavour, nav(site))
    write_files(directory, files)
    if result.failures:
        raise click.ClickException("\n".join(result.failures))


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help=".csv or .parquet file."
)
def sweep(spec: Path, output: Path) -> None:
    """Evaluate every combination of the values that SPEC lists, and write a row for each."""
    from mkdocs_dsocr.sweep.spec import load_spec, write

    loaded = load_spec(spec)
    with click.progressbar(length=loaded.size, label=f"{loaded.size:,} scenarios") as bar:
        try:
            write(loaded, output, bar.update)
        except OverflowError as error:
            raise click.UsageError(f"{spec}: sweep: {error}; allowed: smaller values") from error
