"""Options that several commands share, and how commands write and talk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mkdocs_dsocr.resources import DEFAULT_HARDWARE, DEFAULT_MODEL, DEFAULT_WORKLOAD

if TYPE_CHECKING:
    from mkdocs_dsocr.report import Analysis

DEFAULT_OUTPUT: Final = "tmp/profile-output/{run_id}/static_analysis/analytic_model"
model_option = click.option("--model", default=DEFAULT_MODEL, show_default=True, help="Id or path.")
workload_option = click.option(
    "--workload",
    "--workload-profile-id",
    "workload",
    default=DEFAULT_WORKLOAD,
    show_default=True,
    help="Id or path.",
)
hardware_option = click.option(
    "--hardware", default=DEFAULT_HARDWARE, show_default=True, help="Id or path."
)
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cuda", "meta"]),
    default="auto",
    show_default=True,
    help="Where the model is traced; auto takes a GPU that has room, else meta.",
)
trust_option = click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Run the checkpoint's own Python files and trace its modules as well.",
)
output_option = click.option(
    "--output", type=click.Path(path_type=Path), help="Folder to write to."
)


def say(message: str) -> None:
    """Print a line of progress to standard error."""
    click.echo(message, err=True)


def tell(analysis: Analysis) -> None:
    """Print what of the inputs is not modelled or not used, and what there is to note of them."""
    for note in (*analysis.config.notes, *analysis.config.storage.notes):
        say(f"note: {note}")
    for warning in analysis.warnings:
        say(f"warning: {warning}")


def output_folder(output: Path | None, run_id: str) -> Path:
    """Return the folder to write to: the option's, or the default of a run."""
    return output if output is not None else Path(DEFAULT_OUTPUT.format(run_id=run_id))


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write all files, each whole or not at all.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    from mkdocs_dsocr.inputs import InputError
    from mkdocs_dsocr.io import atomic_write_all

    try:
        atomic_write_all(folder, files)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(folder, "--output", reason.lower(), "a folder to write to") from error
    say(f"{len(files)} files in {folder}")


def write_file(path: Path, text: str) -> None:
    """Write a file, whole or not at all.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    from mkdocs_dsocr.inputs.errors import room_to_write
    from mkdocs_dsocr.io import atomic_write

    with room_to_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, text)
