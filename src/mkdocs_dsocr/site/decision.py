"""A decision report: one or several reports in one document, in Markdown or HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

from markdown import markdown
from markupsafe import Markup

from mkdocs_dsocr import __version__
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.files import parse_yaml, read_text
from mkdocs_dsocr.report.saved import as_config, as_workload
from mkdocs_dsocr.report.schema import AnalyticModelReport
from mkdocs_dsocr.serving.planning import Engines, Fleet, Target
from mkdocs_dsocr.site.environment import environment

Language = Literal["en", "zh"]
CATALOGUE: Final = "decision.yaml"
NAMES: Final = ("profile_id", "description", "doc_kind")
"""Keys of a workload that change no figure."""


@cache
def messages(language: Language) -> dict[str, str]:
    """Return every sentence of the report in a language, by its key."""
    file = resources.files("mkdocs_dsocr.site") / "templates" / CATALOGUE
    found: Any = parse_yaml(file.read_text(encoding="utf-8"), CATALOGUE, "")
    return {key: words[language] for key, words in found.items()}


def decision_report(
    reports: Sequence[AnalyticModelReport],
    language: Language = "en",
    pages_per_day: float | None = None,
    template: Path | None = None,
) -> str:
    """Return the decision report as Markdown.

    Parameters
    ----------
    reports
        The reports, the first of which the others are compared with.
    language
        Of headings and sentences; what the reports say is English.
    pages_per_day
        For which to find the fewest GPUs of each report; None for no such section.
    template
        A Jinja template in place of the package's.

    Raises
    ------
    InputError
        If the template is missing or not valid.
    """
    sentences = [s for r in reports for s in (*r.warnings, *r.not_modelled)]
    env = environment()
    context = {
        "t": messages(language),
        "reports": reports,
        "differences": _differences(reports),
        "fleets": [] if pages_per_day is None else [*_fleets(reports, pages_per_day)],
        "pages": round(pages_per_day or 0),
        "sentences": list(dict.fromkeys(sentences)),
        "version": __version__,
    }
    if template is None:
        return env.get_template("decision.md.j2").render(context)
    source = read_text(template)
    try:
        return env.from_string(source).render(context)
    except Exception as error:
        allowed = "a Jinja template such as site/templates/decision.md.j2"
        raise InputError(template, "", str(error), allowed) from error


def as_html(text: str, language: Language) -> str:
    """Return a decision report in Markdown as one HTML file, with styles for print."""
    return (
        environment()
        .get_template("decision.html.j2")
        .render(
            language=language,
            title=messages(language)["title"],
            body=Markup(markdown(text, extensions=["tables"])),
        )
    )


def _differences(reports: Sequence[AnalyticModelReport]) -> dict[int, list[str]]:
    """Return the inputs but the GPU that differ from those of the first report, by number."""
    first = _inputs(reports[0])
    found = {
        number: [key for key, value in _inputs(report).items() if value != first.get(key)]
        for number, report in enumerate(reports, 1)
    }
    return {number: names for number, names in found.items() if names}


def _inputs(report: AnalyticModelReport) -> Mapping[str, Any]:
    workload = report.workload.model_dump(mode="json")
    model = report.model
    return {
        "model": (model.model_variant, model.hf_revision, model.dimensions, model.storage),
        **{key: value for key, value in workload.items() if key not in NAMES},
    }


def _fleets(reports: Sequence[AnalyticModelReport], pages: float) -> Iterator[Fleet | str]:
    """Yield the fleet of each report's GPU, or why there is none, in a sentence."""
    for report in reports:
        try:
            workload = as_workload(report.workload, source="report.json")
            engines = Engines(as_config(report, Path("report.json")), workload, [report.hardware])
        except InputError as error:
            yield str(error)
        else:
            yield engines.fleets(Target(pages))[0]
