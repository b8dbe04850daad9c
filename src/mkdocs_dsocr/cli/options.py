"""Options that several commands share, and what the shell completes in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from mkdocs_dsocr.cli.command import OutputPath, say
from mkdocs_dsocr.resources import DEFAULT_HARDWARE, DEFAULT_MODEL, DEFAULT_WORKLOAD, DEVICES

if TYPE_CHECKING:
    from mkdocs_dsocr.inputs.references import Kind
    from mkdocs_dsocr.report import Analysis

Function = TypeVar("Function", bound=Callable[..., Any])
DEFAULT_OUTPUT: Final = "tmp/profile-output/{run_id}/static_analysis/analytic_model"
LEAST_RATE: Final = 1e-6
MOST_RATE: Final = 10**12
"""Limits of pages per day, and of times in ms."""


class Rate(click.FloatRange):
    """A positive number. ``click.FloatRange`` alone lets NaN through."""

    def __init__(self) -> None:
        super().__init__(LEAST_RATE, MOST_RATE)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number.

        Raises
        ------
        click.BadParameter
            If it is outside the range, or not a number.
        """
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


class Reference(click.ParamType):  # type: ignore[type-arg]
    """The id of something that ships, or a path; the shell completes both."""

    name = "id|path"

    def __init__(self, kind: Kind) -> None:
        self._kind: Kind = kind

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the ids that start so; where none does, the shell completes files."""
        from mkdocs_dsocr.inputs import shipped

        ids = [CompletionItem(id_) for id_ in shipped(self._kind) if id_.startswith(incomplete)]
        return ids or [CompletionItem(incomplete, type="file")]


def complete_fields(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return fields of a workload with a sign behind each, or the values of the one typed."""
    from mkdocs_dsocr.inputs import Workload
    from mkdocs_dsocr.inputs.workload import CHOICES

    name, sign, _ = incomplete.partition("=")
    if not sign:
        found = [f"{field}=" for field in Workload.model_fields]
    else:
        values = CHOICES.get(name, ())
        found = [f"{name}={str(v).lower() if isinstance(v, bool) else v}" for v in values]
    return [CompletionItem(text) for text in found if text.startswith(incomplete)]


def complete_reviewed(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the names that can be reviewed."""
    from mkdocs_dsocr.build import pipeline
    from mkdocs_dsocr.site.review import reviewed

    settings = pipeline.Settings(ctx.params.get("model") or DEFAULT_MODEL)
    names = [r.name for r in reviewed(pipeline.analyse(settings)[0][0], Path("/nonexistent"))]
    return [CompletionItem(n) for n in ("all", *names) if n.startswith(incomplete)]


RATE: Final = Rate()
MODELS: Final = Reference("models")
WORKLOADS: Final = Reference("workloads")
HARDWARE: Final = Reference("hardware")
model_option = click.option(
    "--model", type=MODELS, default=DEFAULT_MODEL, show_default=True, help="Id or path."
)
workload_option = click.option(
    "--workload",
    "--workload-profile-id",
    "workload",
    type=WORKLOADS,
    default=DEFAULT_WORKLOAD,
    show_default=True,
    help="Id or path.",
)
hardware_option = click.option(
    "--hardware", type=HARDWARE, default=DEFAULT_HARDWARE, show_default=True, help="Id or path."
)
device_option = click.option(
    "--device",
    type=click.Choice(DEVICES),
    default=DEVICES[0],
    show_default=True,
    help="Where the model is traced; auto takes a GPU that has room, else meta.",
)
trust_option = click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Run the checkpoint's own Python files and trace its modules as well.",
)
output_option = click.option("--output", type=OutputPath("folder"), help="Folder to write to.")


def json_option(what: str) -> Callable[[Function], Function]:
    """Return the option ``--json``, which prints `what` for scripts."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what} as JSON instead.")


def tell(analysis: Analysis) -> None:
    """Print what of the inputs is not modelled or not used, and what there is to note of them."""
    for note in (*analysis.config.notes, *analysis.config.storage.notes):
        say(f"note: {note}")
    for warning in analysis.warnings:
        say(f"warning: {warning}")


def output_folder(output: Path | None, run_id: str) -> Path:
    """Return the folder to write to: the option's, or the default of a run."""
    return output if output is not None else Path(DEFAULT_OUTPUT.format(run_id=run_id))
