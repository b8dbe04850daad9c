"""The commands ``dsocr review``: what was looked at, by whom, and whether it is still so."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkdocs_dsocr.cli.options import hardware_option, model_option, workload_option

if TYPE_CHECKING:
    from mkdocs_dsocr.inputs.reviews import Status
    from mkdocs_dsocr.site.review import Reviewed


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        hardware_option,
        workload_option,
        model_option,
        click.option(
            "--reviews",
            type=click.Path(path_type=Path),
            default=Path("reviews.yaml"),
            show_default=True,
            help="The reviews file.",
        ),
    ):
        function = option(function)
    return function


def _reviewer(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option("--note", default="", help="What there is to say.")(function)
    function = click.option("--by", required=True, help="Your handle.")(function)
    return click.argument("names", nargs=-1, required=True)(function)


@click.group()
def review() -> None:
    """Reviews of layers and assumptions: their state, approvals, questions."""


@review.command()
@_options
def status(reviews: Path, model: str, workload: str, hardware: str) -> None:
    """Say of every layer and assumption whether it was reviewed as it is now."""
    found = _found(reviews, model, workload, hardware)
    for item in found:
        entry = item.entry
        who = f", {entry.by} on {entry.date}" if entry else ""
        note = f": {entry.note}" if entry and entry.note else ""
        click.echo(f"{item.state:12}  {item.name}{who}{note}")
        for change in item.changes:
            click.echo(f"{'':14}{change}")
        for change in item.rewordings:
            click.echo(f"{'':14}wording changed: {change}")
    settled = sum(item.is_settled for item in found)
    click.echo(f"{settled} of {len(found)} reviewed as they are")


@review.command()
@_reviewer
@_options
def approve(names: tuple[str, ...], by: str, note: str, **inputs: Any) -> None:
    """Approve NAMES (module classes or assumptions; "all") as they are now."""
    _sign("approved", names, by, note, **inputs)


@review.command()
@_reviewer
@_options
def question(names: tuple[str, ...], by: str, note: str, **inputs: Any) -> None:
    """Question NAMES: the note says why."""
    _sign("questioned", names, by, note, **inputs)


def _found(reviews: Path, model: str, workload: str, hardware: str) -> list[Reviewed]:
    from mkdocs_dsocr.build import pipeline
    from mkdocs_dsocr.site.review import reviewed

    settings = pipeline.Settings(model, (workload,), (hardware,))
    return reviewed(pipeline.analyse(settings)[0][0], reviews)


def _sign(
    status: Status, names: tuple[str, ...], by: str, note: str, reviews: Path, **inputs: str
) -> None:
    from mkdocs_dsocr.inputs import InputError
    from mkdocs_dsocr.inputs.files import validate
    from mkdocs_dsocr.inputs.reviews import Entry, save_entries

    known = {item.name: item for item in _found(reviews, **inputs)}
    for name in names:
        if name not in known and name != "all":
            raise InputError("argument", "NAMES", repr(name), f"all, {', '.join(known)}")
    chosen = known.values() if "all" in names else [known[name] for name in names]
    for kind in ("layers", "assumptions"):
        entries = {
            item.name: validate(
                Entry,
                {
                    "status": status,
                    "by": by,
                    "date": datetime.date.today().isoformat(),
                    "note": note,
                    "fingerprint": item.fingerprint,
                    "formulas": item.now.formulas,
                    "wording": item.now.wording,
                },
                "option",
            )
            for item in chosen
            if item.kind == kind
        }
        if entries:
            save_entries(reviews, kind, entries)
    click.echo(f"{len(list(chosen))} {status} in {reviews}")
