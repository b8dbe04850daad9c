"""The commands ``dsocr review``: what was looked at, by whom, and whether it is still so."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkdocs_dsocr.cli.command import Group, OutputPath, say, show, show_json
from mkdocs_dsocr.cli.options import (
    complete_reviewed,
    hardware_option,
    json_option,
    model_option,
    workload_option,
)

if TYPE_CHECKING:
    from mkdocs_dsocr.inputs.reviews import Earlier, Entry, Status
    from mkdocs_dsocr.site.review import Reviewed

ALL = "all"


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        hardware_option,
        workload_option,
        model_option,
        click.option(
            "--reviews",
            type=OutputPath("file"),
            default=Path("reviews.yaml"),
            show_default=True,
            help="The reviews file.",
        ),
    ):
        function = option(function)
    return function


def _reviewer(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--force", is_flag=True, help='Let "all" replace open questions, too.'),
        click.option("--note", default="", help="A remark; a question needs one."),
        click.option("--by", required=True, help="Your handle."),
        click.argument("names", nargs=-1, required=True, shell_complete=complete_reviewed),
    ):
        function = option(function)
    return function


@click.group(cls=Group)
def review() -> None:
    """Reviews of layers and assumptions: their state, approvals, questions."""


@review.command()
@_options
@json_option("the same")
def status(reviews: Path, model: str, workload: str, hardware: str, as_json: bool) -> None:
    """Print for every layer and assumption whether its current state was reviewed."""
    from mkdocs_dsocr.inputs.reviews import load_reviews

    found = _found(reviews, model, workload, hardware)
    if as_json:
        show_json([_as_json(item) for item in found])
        return
    for item in found:
        show(f"{item.state:12}  {item.name}{_signature(item.entry)}")
        for change in item.changes:
            show(f"{'':14}{change}")
        for change in item.rewordings:
            show(f"{'':14}wording changed: {change}")
        for earlier in item.entry.history if item.entry else ():
            show(f"{'':14}before: {earlier.status}{_signature(earlier)}")
    settled = sum(item.is_settled for item in found)
    show(f"{settled} of {len(found)} entries have a current review")
    if not reviews.exists():
        say(f"{reviews} does not exist yet")
    entries = load_reviews(reviews)
    if others := {*entries.layers, *entries.assumptions} - {item.name for item in found}:
        say(f"no layers or assumptions of this model: {', '.join(sorted(others))}")


def _signature(entry: Earlier | None) -> str:
    if entry is None:
        return ""
    return f", {entry.by} on {entry.date}" + (f": {entry.note}" if entry.note else "")


def _as_json(item: Reviewed) -> dict[str, Any]:
    fields = {"status", "by", "date", "note", "history"}
    return {
        "kind": item.kind,
        "name": item.name,
        "state": item.state,
        "changes": list(item.changes),
        "rewordings": list(item.rewordings),
        "entry": item.entry.model_dump(mode="json", include=fields) if item.entry else None,
    }


@review.command()
@_reviewer
@_options
def approve(names: tuple[str, ...], **inputs: Any) -> None:
    """Approve NAMES (module classes or assumptions; "all") as they are now.

    "all" leaves open questions as they are: name one to approve it, or use --force. A replaced
    review becomes history of the new one.
    """
    _sign("approved", names, **inputs)


@review.command()
@_reviewer
@_options
def question(names: tuple[str, ...], note: str, **inputs: Any) -> None:
    """Question NAMES: the note says why.

    As with approvals, "all" leaves open questions as they are.
    """
    from mkdocs_dsocr.inputs import InputError

    if not note.strip():
        raise InputError("option", "note", "nothing", 'the question in words: --note "why …?"')
    _sign("questioned", names, note=note, **inputs)


def _found(reviews: Path, model: str, workload: str, hardware: str) -> list[Reviewed]:
    from mkdocs_dsocr.build import pipeline
    from mkdocs_dsocr.site.review import reviewed

    settings = pipeline.Settings(model, (workload,), (hardware,))
    return reviewed(pipeline.analyse(settings)[0][0], reviews)


def _sign(
    status: Status,
    names: tuple[str, ...],
    by: str,
    note: str,
    force: bool,
    reviews: Path,
    **inputs: str,
) -> None:
    from mkdocs_dsocr.inputs import InputError
    from mkdocs_dsocr.inputs.errors import suggestion
    from mkdocs_dsocr.inputs.reviews import save_entries

    known = {item.name: item for item in _found(reviews, **inputs)}
    for name in names:
        if name not in known and name != ALL:
            found = repr(name) + suggestion(name, known)
            raise InputError("option", "names", found, f"{ALL}, {', '.join(known)}")
    chosen = known if ALL in names else names
    spared = () if force else set(chosen) - set(names)
    entries = _entries((known[name] for name in chosen), status, by, note)
    kept = save_entries(reviews, entries, spared)
    show(f"{len(set(chosen)) - len(kept)} {status} in {reviews}")
    if kept:
        say(f"open questions stay: {', '.join(kept)}; name them, or use --force, to replace them")


def _entries(
    items: Iterable[Reviewed], status: Status, by: str, note: str
) -> dict[str, dict[str, Entry]]:
    """Return a review of each layer and assumption as it is now, by kind and name."""
    from mkdocs_dsocr.inputs.files import validate
    from mkdocs_dsocr.inputs.reviews import Entry

    result: dict[str, dict[str, Entry]] = {}
    for item in items:
        content = {
            "status": status,
            "by": by,
            "date": datetime.date.today().isoformat(),
            "note": note,
            "fingerprint": item.fingerprint,
            "formulas": item.now.formulas,
            "wording": item.now.wording,
        }
        result.setdefault(item.kind, {})[item.name] = validate(Entry, content, "option")
    return result
