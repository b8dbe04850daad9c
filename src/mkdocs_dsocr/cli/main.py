"""The command ``dsocr``: static analysis, report and pages for a shell, without MkDocs."""

from __future__ import annotations

from typing import Any, Final

import click

from mkdocs_dsocr import __version__
from mkdocs_dsocr.cli import command
from mkdocs_dsocr.cli.analyze import analyze, static
from mkdocs_dsocr.cli.cache import cache
from mkdocs_dsocr.cli.export import export, sweep
from mkdocs_dsocr.cli.measure import measure
from mkdocs_dsocr.cli.options import json_option
from mkdocs_dsocr.cli.plan import plan
from mkdocs_dsocr.cli.reports import compare, diff
from mkdocs_dsocr.cli.review import review
from mkdocs_dsocr.cli.whatif import whatif

PACKAGES: Final = ("torch", "torchinfo", "transformers", "mkdocs", "mkdocs-material", "pydantic")


@click.group(cls=command.Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dsocr")
def main() -> None:
    """Analyse DeepSeek-OCR statically: exact FLOPs, bytes, memory and predicted times."""


@main.command()
@json_option("the same")
def env(as_json: bool) -> None:
    """Print which versions are installed, what auto resolves to, and which ids ship."""
    import platform

    from mkdocs_dsocr.build import pipeline
    from mkdocs_dsocr.inputs import shipped
    from mkdocs_dsocr.inputs.references import KINDS

    found: dict[str, Any] = {
        "mkdocs-dsocr": __version__,
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in PACKAGES},
        "device": pipeline.auto_device(pipeline.Settings()),
        **{kind: shipped(kind) for kind in KINDS},
    }
    if as_json:
        command.show_json(found)
        return
    command.show(f"mkdocs-dsocr {__version__}, Python {found['python']}")
    for package, version in found["packages"].items():
        command.show(f"  {package} {version}")
    command.show(f"device auto: {found['device']}")
    for kind in KINDS:
        command.show(f"{kind}: {', '.join(found[kind])}")


def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


for _command in (
    *(static, analyze, export, sweep, cache, measure, review, diff, whatif, compare),
    plan,
):
    main.add_command(_command)


def run() -> None:
    """Run the command as a process of its own."""
    command.run(main)
