"""The command ``dsocr``: static analysis, report and pages for a shell, without MkDocs."""

from __future__ import annotations

import gc
from typing import Any, Final

import click

from mkdocs_dsocr import __version__
from mkdocs_dsocr.cli.analyze import analyze, export, static, sweep
from mkdocs_dsocr.cli.cache import cache
from mkdocs_dsocr.cli.measure import measure
from mkdocs_dsocr.cli.reports import compare, diff, whatif
from mkdocs_dsocr.cli.review import review

PACKAGES: Final = ("torch", "torchinfo", "transformers", "mkdocs", "mkdocs-material", "pydantic")


class _Commands(click.Group):
    """Turns bad input into one message and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        from mkdocs_dsocr.inputs import InputError

        try:
            return super().invoke(ctx)
        except InputError as error:
            raise click.UsageError(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dsocr")
def main() -> None:
    """Analyse DeepSeek-OCR statically: exact FLOPs, bytes, memory and predicted times."""


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


for _command in (
    static,
    analyze,
    export,
    sweep,
    cache,
    measure,
    review,
    diff,
    whatif,
    compare,
):
    main.add_command(_command)


def run() -> None:
    """Run the command as a process of its own."""
    try:
        main()
    finally:
        # The process ends and frees everything: no need to look through it for cycles.
        gc.freeze()
