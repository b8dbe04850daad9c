"""The command ``dsocr``: static analysis, report and pages for a shell, without MkDocs."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mkdocs_dsocr import __version__
from mkdocs_dsocr.cli_measure import measure
from mkdocs_dsocr.cli_reports import compare, diff, whatif
from mkdocs_dsocr.cli_review import review

if TYPE_CHECKING:
    from mkdocs_dsocr.report import Analysis
    from mkdocs_dsocr.site.export import Flavour

DEFAULT_OUTPUT: Final = "tmp/profile-output/{run_id}/static_analysis/analytic_model"
PACKAGES: Final = ("torch", "torchinfo", "transformers", "mkdocs", "mkdocs-material", "pydantic")


class _Commands(click.Group):
    """Turns bad input into one message and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        from mkdocs_dsocr.inputs import InputError

        try:
            return super().invoke(ctx)
        except InputError as error:
            raise click.UsageError(str(error)) from error


_model = click.option(
    "--model", default="deepseek-ocr-v1-base", show_default=True, help="Id or path."
)
_hardware = click.option("--hardware", default="rtx-5090", show_default=True, help="Id or path.")
_device = click.option(
    "--device",
    type=click.Choice(["auto", "cuda", "meta"]),
    default="auto",
    show_default=True,
    help="Where the model is traced; auto takes a GPU that has room, else meta.",
)
_trust = click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Run the checkpoint's own Python files and trace its modules as well.",
)
_output = click.option("--output", type=click.Path(path_type=Path), help="Folder to write to.")


def _workload_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--workload",
        "--workload-profile-id",
        "workload",
        default="dsocr-standard-v1",
        show_default=True,
        help="Id or path.",
    )(function)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dsocr")
def main() -> None:
    """Analyse DeepSeek-OCR statically: exact FLOPs, bytes, memory and predicted times."""


@main.command()
@_model
@_workload_option
@click.option("--base-size", type=int, help="Side of the global view, px (instead of --workload).")
@click.option("--image-size", type=int, help="Side of a local view, px.")
@click.option("--seq-len", type=int, help="Prompt tokens of a page, image tokens included.")
@click.option("--crop-mode", type=click.IntRange(0, 1), help="1: with local views.")
@click.option("--crop-grid", help="Local views a row and a column, such as 1x2.")
@_device
@_trust
@_output
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
        traced = trace_model(analyses, device, _say, trust=trust_remote_code)
        result = pipeline.complete(analyses, traced)
    files = result.static.artifacts | artifacts.verdicts(result)
    profile = analyses[0][0].workload.profile_id
    _write(_folder(output, profile), {name: text.encode() for name, text in files.items()})
    if result.failures:
        raise click.ClickException("\n".join(result.failures))


@main.command()
@_model
@_workload_option
@_hardware
@_output
@click.option(
    "--static",
    "static_dir",
    type=click.Path(path_type=Path),
    help="Folder that dsocr static wrote: adds operator coverage and verification.",
)
@click.option("--markdown", is_flag=True, help="Write a readable report.md as well.")
def analyze(
    model: str,
    workload: str,
    hardware: str,
    output: Path | None,
    static_dir: Path | None,
    markdown: bool,
) -> None:
    """Write the analytic report of a workload. Needs no torch."""
    with _without_collections():
        analysis, files = _analysed(model, workload, hardware, static_dir)
    if markdown:
        from mkdocs_dsocr.site.summary import report_markdown

        files["report.md"] = report_markdown(analysis)
    folder = _folder(output, analysis.report.report_id)
    _write(folder, {name: text.encode() for name, text in files.items()})
    click.echo(f"{analysis.report.predicted_total_time_ms:.3f} ms predicted", err=True)


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


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
@_model
@_workload_option
@_hardware
@_device
@_trust
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
    from mkdocs_dsocr.build.trace_store import trace_model
    from mkdocs_dsocr.site.export import STYLES, flavoured

    settings = pipeline.Settings(
        model, (workload,), (hardware,), device, trust_remote_code=trust_remote_code
    )
    analyses = pipeline.analyse(settings)
    traced = trace_model(analyses, device, _say, trust=trust_remote_code)
    result = pipeline.complete(analyses, traced)
    _, pages, others = artifacts.site_files(result, STYLES[flavour])
    _write(directory, flavoured(pages, others, flavour))
    if result.failures:
        raise click.ClickException("\n".join(result.failures))


@main.command()
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


@main.group()
def cache() -> None:
    """Show or clear what builds keep, so that a second one imports no torch."""


@cache.command()
def info() -> None:
    """Say where the cache lies and how large it is."""
    from mkdocs_dsocr.io import default_cache

    kept = default_cache()
    entries = kept.every()
    size = sum(path.stat().st_size for path in entries)
    click.echo(f"{kept.folder}: {len(entries)} entries, {size / 1e6:.1f} MB")


@cache.command()
def clear() -> None:
    """Remove every entry."""
    from mkdocs_dsocr.io import default_cache

    click.echo(f"{default_cache().clear()} entries removed")


main.add_command(measure)
main.add_command(review)
main.add_command(diff)
main.add_command(whatif)
main.add_command(compare)


@main.command()
def env() -> None:
    """Say which versions are installed, what auto resolves to, and which ids ship."""
    import platform

    from mkdocs_dsocr.build import pipeline
    from mkdocs_dsocr.inputs import shipped
    from mkdocs_dsocr.inputs.references import KINDS

    click.echo(f"mkdocs-dsocr {__version__}, Python {platform.python_version()}")
    for package in PACKAGES:
        click.echo(f"  {package} {_version(package)}")
    click.echo(f"device auto: {pipeline.auto_device(pipeline.Settings())}")
    for kind in KINDS:
        click.echo(f"{kind}: {', '.join(shipped(kind))}")


def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _say(message: str) -> None:
    click.echo(message, err=True)


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


def _folder(output: Path | None, run_id: str) -> Path:
    return output if output is not None else Path(DEFAULT_OUTPUT.format(run_id=run_id))


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Write all files, each whole or not at all.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    from mkdocs_dsocr.inputs import InputError

    temporary: list[tuple[Path, Path]] = []
    try:
        for name, content in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.part")
            temporary.append((part, target))
            part.write_bytes(content)
        for part, target in temporary:
            os.replace(part, target)
    except OSError as error:
        for part, _ in temporary:
            part.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise InputError(folder, "--output", reason.lower(), "a folder to write to") from error
    click.echo(f"{len(files)} files in {folder}", err=True)


def run() -> None:
    """Run the command as a process of its own."""
    try:
        main()
    finally:
        # The process ends and frees everything: no need to look through it for cycles.
        gc.freeze()


if __name__ == "__main__":
    run()
