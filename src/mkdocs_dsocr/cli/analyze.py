"""The commands that analyse one workload: its trace, and its report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from mkdocs_dsocr.cli.command import Command, detail, failed, say, write_files
from mkdocs_dsocr.cli.options import (
    device_option,
    hardware_option,
    json_option,
    model_option,
    output_folder,
    output_option,
    tell,
    trust_option,
    workload_option,
)

if TYPE_CHECKING:
    from mkdocs_dsocr.build import pipeline
    from mkdocs_dsocr.inputs import Workload
    from mkdocs_dsocr.report import Analysis

SIZES: Final = ("base_size", "image_size", "seq_len", "crop_mode")
"""Options that describe a workload together."""


@click.command(cls=Command)
@model_option
@workload_option
@click.option("--base-size", type=int, help="Side of the global view, px (instead of --workload).")
@click.option("--image-size", type=int, help="Side of a local view, px.")
@click.option("--seq-len", type=int, help="Prompt tokens of a page, image tokens included.")
@click.option("--crop-mode", type=click.IntRange(0, 1), help="1: with local views.")
@click.option("--crop-grid", help="Local views per row and per column, such as 1x2.")
@device_option
@trust_option
@output_option
@json_option("whether formulas and trace agree")
@click.pass_context
def static(
    ctx: click.Context,
    /,
    model: str,
    workload: str,
    device: str,
    trust_remote_code: bool,
    output: Path | None,
    as_json: bool,
    crop_grid: str | None,
    **sizes: int | None,
) -> None:
    """Trace the model with PyTorch and write what it counted, and torchinfo's artifacts."""
    from mkdocs_dsocr.build import artifacts, pipeline
    from mkdocs_dsocr.build.trace_store import trace_model
    from mkdocs_dsocr.inputs import InputError

    settings = pipeline.Settings(
        model, (workload,), device=device, trust_remote_code=trust_remote_code
    )
    described = {**sizes, "crop_grid": crop_grid}
    given = [name for name, value in described.items() if value is not None]
    if given and ctx.get_parameter_source("workload") is not ParameterSource.DEFAULT:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError("option", "workload", f"{workload!r} with {options}", "one of the two")
    custom = [_custom(sizes, crop_grid)] if given else None
    analyses = pipeline.analyse(settings, custom)
    list_inputs(settings)
    tell(analyses[0][0])
    traced = trace_model(analyses, device, say, trust=trust_remote_code)
    result = pipeline.complete(analyses, traced)
    files = result.static.artifacts | artifacts.verdicts(result)
    if as_json:
        click.echo(files["verification.json"].strip())
    if not as_json or output is not None:
        folder = output_folder(output, analyses[0][0].workload.profile_id)
        write_files(folder, _encoded(files), settings.files())
    if result.failures:
        raise failed(result.failures)


def _custom(sizes: dict[str, int | None], crop_grid: str | None) -> Workload:
    """Return the workload that the options describe."""
    from mkdocs_dsocr.inputs import InputError, Workload
    from mkdocs_dsocr.inputs.files import validate

    for name in SIZES:
        if sizes[name] is None:
            names = ", ".join(f"--{n.replace('_', '-')}" for n in SIZES)
            raise InputError("option", name, "nothing", f"all of {names} together")
    content: dict[str, Any] = {**sizes, "crop_mode": bool(sizes["crop_mode"])}
    if crop_grid is not None or content["crop_mode"]:
        grid = (crop_grid or "1x2").lower().split("x")
        if len(grid) != 2 or not all(side.isdecimal() and len(side) < 9 for side in grid):
            raise InputError("option", "crop_grid", repr(crop_grid), "WxH, such as 1x2")
        content["crop_grid"] = [int(side) for side in grid]
    return validate(Workload, {"profile_id": "custom", "max_new_tokens": 512, **content}, "option")


def list_inputs(settings: pipeline.Settings) -> None:
    """Print the files that were read, where ``--verbose`` asks for that."""
    for path in settings.files():
        detail(f"read {path}")


def _encoded(files: dict[str, str]) -> dict[str, bytes]:
    return {name: text.encode() for name, text in files.items()}


@click.command(cls=Command)
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
@json_option("report.json")
@click.option("--viewers", is_flag=True, help="Write files for Perfetto and Model Explorer too.")
def analyze(
    model: str,
    workload: str,
    hardware: str,
    output: Path | None,
    static_dir: Path | None,
    markdown: bool,
    as_json: bool,
    viewers: bool,
) -> None:
    """Write the analytic report of a workload. Needs no torch."""
    from mkdocs_dsocr.build import pipeline
    from mkdocs_dsocr.io import without_collections

    settings = pipeline.Settings(model=model, workloads=(workload,), hardware=(hardware,))
    with without_collections():
        analysis, files = _analysed(settings, static_dir)
    list_inputs(settings)
    if markdown:
        from mkdocs_dsocr.site.summary import report_markdown

        files["report.md"] = report_markdown(analysis)
    if viewers:
        from mkdocs_dsocr.report.files import viewer_files

        files |= viewer_files(analysis)
    if as_json:
        click.echo(files["report.json"].strip())
    tell(analysis)
    if not as_json or output is not None:
        folder = output_folder(output, analysis.report.report_id)
        write_files(folder, _encoded(files), settings.files())
    memory = analysis.report.memory
    say(f"{analysis.report.predicted_total_time_ms:.3f} ms predicted")
    if not memory.fits:
        say(
            f"Warning: does not fit {analysis.hardware.name}: {memory.largest_stage} needs "
            f"{memory.footprint_bytes / 1e9:,.1f} of {memory.room_bytes / 1e9:,.1f} GB. The times "
            "are those of a GPU with enough memory."
        )


def _analysed(
    settings: pipeline.Settings, static_dir: Path | None
) -> tuple[Analysis, dict[str, str]]:
    from mkdocs_dsocr.build import artifacts, pipeline
    from mkdocs_dsocr.build.static import load_static
    from mkdocs_dsocr.report import report_files

    analyses = pipeline.analyse(settings)
    if static_dir is None:
        return analyses[0][0], report_files(analyses[0][0])
    result = pipeline.complete(analyses, load_static(static_dir))
    files = artifacts.verdicts(result) | report_files(result.main)
    return result.main, files
