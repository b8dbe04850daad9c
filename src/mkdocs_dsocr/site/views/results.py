"""The pages of evidence: what was compared with what, and with which result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from mkdocs_dsocr import __version__
from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.report.paper import (
    PAPER_ARCHITECTURE,
    compare_with_paper,
    is_the_papers_model,
)
from mkdocs_dsocr.site import units
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.links import Links, script_path

SHOWN_DIFFERENCES: Final = 200


class Check(NamedTuple):
    """A row of the page *Evidence*.

    Attributes
    ----------
    what, result, against
        What is checked, with which result, and compared with what.
    agrees
        Whether they agree; None if that is no question of yes and no.
    page, page_title
        The page with details, if there is one.
    """

    what: str
    result: str
    against: str
    agrees: bool | None = None
    page: str = ""
    page_title: str = ""


class Strip(NamedTuple):
    """The line on every page that states what its figures rest on.

    `choices` are the workloads and the GPUs between which a reader can switch, each with its name;
    `scripts` is where the page for another pair is, with ``*`` in place of the two.
    """

    model: str
    workload: str
    gpu: str
    gpu_name: str
    agrees: bool
    trace: str
    trace_page: str
    times: str
    times_page: str
    review: str
    review_page: str
    version: str
    choices: tuple[dict[str, str], dict[str, str]]
    scripts: str = ""

    def on(self, links: Links) -> Strip:
        """Return the line for a page that another pair changes."""
        is_needed = any(len(names) > 1 for names in self.choices)
        path = script_path(links.page, "*")
        return self._replace(scripts=links.data(path)) if is_needed else self


def strip(site: Site) -> Strip:
    """Return the evidence of a site in short."""
    main = site.main
    reviews = [r.state for r in site.reviews.values()]
    approved = reviews.count("approved")
    rows = site.analyses if site.has_switch else ((main,),)
    return Strip(
        model=_model(site),
        workload=main.workload.profile_id,
        gpu=main.hardware.hardware_id,
        gpu_name=main.hardware.name,
        agrees=not site.verification.failures,
        trace=_trace(site),
        trace_page="verification.md",
        times=f"device times {_interval(main.hardware)}, {_times(site)}",
        times_page="measured.md" if has_measurements(site) else "evidence.md",
        review=f"{approved} of {len(reviews)} reviewed" if reviews else "no review file",
        review_page="review.md" if reviews else "evidence.md",
        version=__version__,
        choices=(
            {row[0].workload.profile_id: row[0].workload.profile_id for row in rows},
            {a.hardware.hardware_id: a.hardware.name for a in rows[0]},
        ),
    )


def _model(site: Site) -> str:
    config = site.main.config
    revision = f"revision {config.revision[:8]}" if config.revision else "revision unknown"
    return f"{config.model_id}, {revision}"


def _trace(site: Site) -> str:
    failures = len(site.verification.failures)
    if failures:
        return f"formulas and trace differ in {failures} places"
    trace = f"trace shipped with {__version__}" if site.is_shipped else "trace"
    return f"formulas equal the {trace} in {units.integer(len(site.verification.rows))} nodes"


def _interval(gpu: Hardware) -> str:
    return f"±\N{NO-BREAK SPACE}{100 * gpu.time_error:.0f}\N{NO-BREAK SPACE}%"


def has_measurements(site: Site) -> bool:
    """Tell whether a time of the site was measured."""
    return any(a.comparison is not None for row in site.analyses for a in row)


def _times(site: Site) -> str:
    """Return how the estimates of measured workloads compare: kernels alone, and wall time."""
    measured = [a for row in site.analyses for a in row if a.comparison is not None]
    found = [a.comparison for a in measured if a.comparison is not None]
    if not found:
        return "not measured"
    gpus = ", ".join(dict.fromkeys(a.hardware.hardware_id for a in measured))
    wall = f"wall time {_spread([c.ratio for c in found])}"
    kernels = [c.device_ratio for c in found if c.device_ratio is not None]
    ratios = f"kernels {_spread(kernels)}, {wall}" if kernels else wall
    return f"estimate ÷ measured on {gpus}: {ratios}"


def _spread(ratios: list[float]) -> str:
    """Return the smallest and the largest of some ratios, or the only one."""
    ends = dict.fromkeys(units.significant(end) for end in (min(ratios), max(ratios)))
    return " to ".join(ends)


def evidence(site: Site, links: Links) -> dict[str, Any]:
    """Return a row for each kind of evidence, and the paper's figures next to the formulas'."""
    config = site.main.config
    has_paper = config.architecture == PAPER_ARCHITECTURE and is_the_papers_model(config)
    return {
        "checks": list(_checks(site)),
        "paper": compare_with_paper(config) if has_paper else None,
    }


def _checks(site: Site) -> Iterator[Check]:
    v = site.verification
    against = f"{v.traced_by} on {v.device}: {site.model.traced}"
    agrees = not v.failures
    yield Check("Formulas", _trace(site), against, agrees, "verification.md", "Verification")
    if (cover := site.main.report.operator_coverage) is not None:
        yield Check(
            "Coverage",
            f"{cover.covered} of {cover.classes} traced classes have an analytic layer",
            "module classes in the trace",
            not cover.other,
            "layers/index.md",
            "Layers",
        )
    page = ("measured.md", "Predicted and measured") if has_measurements(site) else ()
    yield Check("Times", _times(site), "runs on a GPU that `measurements` names", None, *page)
    gpu = site.main.hardware
    kinds = ", ".join(sorted({of.kind for _, of in gpu.constants.values()}))
    yield Check(
        "Time constants",
        f"{kinds}: nine of ten device times of eager stages, without the projector, are expected "
        f"within {_interval(gpu)}",
        f"achieved rates in the profile of {gpu.name}",
        None,
        "workload.md",
        "Workload and hardware",
    )
    if (c := site.checkpoint) is not None:
        words = f"{units.integer(c.matching)} of {units.integer(c.expected)} tensors match"
        yield Check("Weights", words, "headers of the safetensors files", c.agrees, *CHECKPOINT)
    else:
        yield Check("Weights", "no checkpoint given", "the configuration alone is read")
    if site.vendor is not None:
        yield Check("The checkpoint's own code", "traced", "its own modules", None, *VENDOR)
    states = [r.state for r in site.reviews.values()]
    if states:
        words = f"{states.count('approved')} of {len(states)} layers and assumptions approved"
        yield Check("Reviews", words, "formulas as they are now", None, "review.md", "Review")
    if site.changes is not None:
        words = f"{units.integer(len(site.changes.figures))} figures changed"
        yield Check("Changes", words, "the baseline", None, "changes.md", "Changes")


CHECKPOINT: Final = ("checkpoint.md", "Checkpoint")
VENDOR: Final = ("vendor.md", "The checkpoint's own code")


def verification(site: Site, links: Links) -> dict[str, Any]:
    """Return the classes that keep a KV cache, and the window of a decode step."""
    return {
        "cache_classes": [
            name
            for name, nodes in site.main.classes.items()
            if any(n.own.kvcache_bytes for n in nodes)
        ],
        "window": site.main.config.language.sliding_window,
    }


def checkpoint(site: Site, links: Links) -> dict[str, Any]:
    """Return the number of differences that are listed."""
    return {"shown_differences": SHOWN_DIFFERENCES}


def measured(site: Site, links: Links) -> dict[str, Any]:
    """Return the analyses that have a measurement."""
    return {"measured": [a for row in site.analyses for a in row if a.comparison is not None]}
