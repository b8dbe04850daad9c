"""What the pages of a site are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from markupsafe import Markup

from mkdocs_dsocr.inputs import Hardware, load_hardware, shipped
from mkdocs_dsocr.layers.categories import CATEGORIES
from mkdocs_dsocr.layers.memory import held_at_peak
from mkdocs_dsocr.models import Model, model_of
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.changes import Changes
from mkdocs_dsocr.report.memory import LIMIT, fitting
from mkdocs_dsocr.report.models import ModelsCompared
from mkdocs_dsocr.report.paper import (
    MODES,
    PAPER_ARCHITECTURE,
    PaperComparison,
    compare_with_paper,
    is_the_papers_model,
)
from mkdocs_dsocr.report.tally import Node, Tally, merged
from mkdocs_dsocr.site import units
from mkdocs_dsocr.site.call_graph import call_graph, edges
from mkdocs_dsocr.site.charts import Bar, bars, stacked, stacked_rows, strip
from mkdocs_dsocr.site.icicle import MEASURES, icicle
from mkdocs_dsocr.site.layer_page import LayerPage, layer_pages
from mkdocs_dsocr.site.review import Reviewed
from mkdocs_dsocr.site.roofline import Point, points, roofline, shares
from mkdocs_dsocr.site.studies import Row, Studies
from mkdocs_dsocr.sweep.planner import gpu_rates
from mkdocs_dsocr.verify.checkpoint import CheckpointVerdict
from mkdocs_dsocr.verify.formulas import Verification
from mkdocs_dsocr.verify.vendor import VendorVerdict

TITLES = {
    "index": "The model, analysed",
    "layers": "Layers",
    "hierarchy": "Hierarchy",
    "roofline": "Roofline",
    "scenarios": "Workloads and GPUs",
    "planner": "What if",
    "sweeps": "Sweeps",
    "gpus": "GPUs compared",
    "models": "Models compared",
    "memory": "Memory",
    "serving": "Serving",
    "verification": "Verification",
    "review": "Review",
    "changes": "Changes",
    "checkpoint": "Checkpoint",
    "vendor": "The checkpoint's own code",
    "measured": "Predicted and measured",
    "paper": "Against the paper",
    "workload": "Workload and hardware",
    "artifacts": "Artifacts",
}
"""Heading of each page, and its title in the navigation."""
TOP_MODULES = 12
COLOURS = 7
"""Operator families that have a colour of their own."""
REST = "other families"


@dataclass(frozen=True)
class Fit:
    """The largest batch that fits a GPU; None where none does."""

    hardware: Hardware
    batch: int | None
    limit: int


@dataclass(frozen=True)
class Site:
    """What the pages are made of.

    Attributes
    ----------
    analyses
        An analysis for each workload (outer) and GPU (inner); the first is the main one.
    verification
        This build's verdict.
    device_reason
        Where the trace was made, in words.
    artifacts
        Path of each file under ``artifacts/``.
    studies
        The main analysis with one thing changed at a time; None where it is too large for that.
    checkpoint
        Whether the checkpoint's tensors are the model's, where there is one.
    vendor
        What a trace of the checkpoint's own modules says, where the user trusts them.
    reviews
        Every layer and assumption beside its review, by name, where there is a file of them.
    changes
        What moved since the baseline, where there is one.
    models
        Other models beside this one, where any are named.
    is_stale
        Whether trace and verification are of the inputs before an edit.
    """

    analyses: tuple[tuple[Analysis, ...], ...]
    verification: Verification
    device_reason: str
    artifacts: tuple[str, ...]
    studies: Studies | None
    checkpoint: CheckpointVerdict | None = None
    vendor: VendorVerdict | None = None
    reviews: Mapping[str, Reviewed] = field(default_factory=dict)
    changes: Changes | None = None
    models: ModelsCompared | None = None
    is_stale: bool = False

    @property
    def titles(self) -> dict[str, str]:
        """The heading of each page of this site."""
        shown = {
            "vendor": self.vendor is not None,
            "scenarios": self.has_scenarios,
            "sweeps": self.studies is not None,
            "gpus": self.studies is not None,
            "review": bool(self.reviews),
            "changes": self.changes is not None,
            "models": self.models is not None,
            "paper": self.main.config.architecture == PAPER_ARCHITECTURE,
        }
        named = TITLES | {"index": f"{self.model.title}, analysed"}
        return {k: v for k, v in named.items() if shown.get(k, True)}

    @property
    def model(self) -> Model:
        """The architecture that the site is about."""
        return model_of(self.main.config)

    @property
    def window(self) -> int | None:
        """New tokens that a decode step sees at most, where that is bounded."""
        return self.main.config.language.sliding_window

    @property
    def launches_experts(self) -> bool:
        """Whether the host launches the kernels of each expert by themselves."""
        return any(node.visit.child.active is not None for node in self.main.nodes.values())

    @property
    def has_scenarios(self) -> bool:
        """Whether there is more than one workload or GPU."""
        return sum(map(len, self.analyses)) > 1

    @property
    def scenarios(self) -> tuple[tuple[Analysis, ...], ...]:
        """The analyses, the memory of every batch counted once for all GPUs of a workload."""
        for row in self.analyses:
            row[0].footprints(max(a.hardware.memory_gb for a in row))
        return self.analyses

    def strip(self, analysis: Analysis, row: tuple[Analysis, ...]) -> Markup:
        """Return the time of each stage, in a row of the same workload on other GPUs."""
        amounts = [t.time_ms for t in analysis.stage_times.values()]
        words = f"{analysis.hardware.name}: {units.milliseconds(sum(amounts))}"
        return strip(words, amounts, max(a.predicted_ms for a in row))

    @property
    def main(self) -> Analysis:
        return self.analyses[0][0]

    @cached_property
    def layer_pages(self) -> dict[str, LayerPage]:
        return layer_pages(self.main)

    @property
    def stages(self) -> dict[str, Tally]:
        return {s: self.stage(self.main, s) for s in ("vision", "projector", "prefill", "decode")}

    def stage(self, analysis: Analysis, stage: str) -> Tally:
        return merged(n.own for n in analysis.nodes.values() if n.stage == stage)

    @property
    def time_chart(self) -> Markup:
        whole = self.main.predicted_ms
        items = [
            Bar(
                stage,
                t.time_ms,
                f"{units.milliseconds(t.time_ms)} ({units.percent(t.time_ms / whole)})",
            )
            for stage, t in self.main.stage_times.items()
        ]
        return stacked("Predicted time by stage", _described(items), items)

    @property
    def family_chart(self) -> Markup:
        """Device time of each stage by operator family."""
        families = sorted(self.main.root.total.families.items(), key=lambda f: -f[1].time_ms)
        named = [name for name, family in families if family.time_ms][:COLOURS]
        kinds = [CATEGORIES[name].display_name for name in named]
        rows = []
        for stage, tally in self.stages.items():
            times = {k: tally.families[k].time_ms for k in named if k in tally.families}
            parts = [
                Bar(CATEGORIES[k].display_name, ms, units.milliseconds(ms))
                for k, ms in times.items()
                if ms
            ]
            if rest := max(0.0, tally.time_ms - sum(times.values())):
                parts.append(Bar(REST, rest, units.milliseconds(rest)))
            rows.append((stage, parts))
        kinds.append(REST)
        words = "; ".join(f"{stage}: {_described(bars)}" for stage, bars in rows)
        return stacked_rows("Device time by stage and operator family", words, rows, kinds)

    def icicles(self, layer_link: Callable[[str], str]) -> list[tuple[str, Markup]]:
        """Return the module tree, by each measure."""
        return [(m.name, icicle(self.main.nodes, m, layer_link)) for m in MEASURES]

    def roofline(self, stages: tuple[str, ...], layer_link: Callable[[str], str]) -> Markup:
        """Return the layers of some stages under the main GPU's ceilings."""
        title = f"Roofline: {', '.join(stages)}"
        dtype = self.main.workload.activation_dtype
        return roofline(title, self.points(stages), self.main.hardware, dtype, layer_link)

    def points(self, stages: tuple[str, ...]) -> list[Point]:
        """Return the points of a roofline."""
        return points(self.main, stages)

    @property
    def longest_stage(self) -> str:
        """The stage that takes most of the time."""
        return max(self.main.stage_times.items(), key=lambda item: item[1].time_ms)[0]

    @property
    def leading_classes(self) -> list[tuple[str, str, float]]:
        """The classes and stages that take most of the device time, with their share."""
        found = [(p.class_name, p.stage, p.share) for p in shares(self.main, tuple(self.stages))]
        return found[:3]

    @property
    def memory_chart(self) -> Markup:
        memory = self.main.report.memory
        stage = memory.stages[memory.largest_stage]  # type: ignore[index]
        items = [
            Bar(label, size, units.bytes_(size))
            for label, size in (
                ("weights", stage.weight_bytes),
                ("KV cache", stage.kvcache_bytes),
                ("waiting image tokens", stage.waiting_bytes),
                ("activations", stage.activation_bytes),
            )
        ]
        return bars("Memory", _described(items), items)

    @cached_property
    def compared_gpus(self) -> list[Row]:
        """Every GPU with the main workload on it."""
        return self.studies.compared(self.gpus) if self.studies is not None else []

    def binding(self, analysis: Analysis) -> str:
        """Return what binds the stage that takes longest."""
        return max(analysis.stage_times.values(), key=lambda t: t.time_ms).binding

    @cached_property
    def gpus(self) -> list[Hardware]:
        return all_gpus(self.analyses)

    @cached_property
    def fits(self) -> list[Fit]:
        """The largest batch that fits each GPU."""
        needed = self.main.footprints(max(h.memory_gb for h in self.gpus))
        return [Fit(h, fitting(needed, h.memory_gb), LIMIT) for h in self.gpus]

    @property
    def modes(self) -> dict[str, tuple[int, int, bool]]:
        """The paper's modes: side of the global view and of local ones, whether there are any."""
        if "paper" not in self.titles:
            return {}
        return {name: (view, tile or view, tile > 0) for name, view, tile, _ in MODES}

    def gpu_rates(self, gpu: Hardware) -> dict[str, Any]:
        """Return what the planner takes of a GPU."""
        return gpu_rates(gpu)

    def layer_links(self, link: Callable[[str], str]) -> dict[str, str]:
        """Return the link to each layer's page."""
        return {name: link(page.uri) for name, page in self.layer_pages.items()}

    @cached_property
    def fit_with_last_logits(self) -> int | None:
        """The largest batch on the main GPU where only last positions get logits."""
        workload = self.main.workload.model_copy(update={"logits_positions": "last"})
        analysis = dataclasses.replace(self.main, workload=workload)
        memory_gb = self.main.hardware.memory_gb
        return fitting(analysis.footprints(memory_gb), memory_gb)

    @property
    def peaks(self) -> list[tuple[str, list[tuple[str, str, int]]]]:
        """What is in memory at the peak of each stage: holder, tensor, bytes."""
        stages = self.main.stage_memory.items()
        return [(stage, list(held_at_peak(memory.layer))) for stage, memory in stages]

    @property
    def serving_chart(self) -> Markup:
        serving = self.main.report.serving
        items = [
            Bar(f"{p.batch:,} at once", p.tokens_per_s, units.significant(p.tokens_per_s))
            for p in (serving.points if serving else ())
        ]
        return bars("Tokens a second by sequences at once", _described(items), items, kinds=False)

    @property
    def cache_classes(self) -> list[str]:
        """The classes that have a KV cache of their own."""
        classes = self.main.classes.items()
        return [name for name, nodes in classes if any(any(n.own.kvcache.values()) for n in nodes)]

    @cached_property
    def paper(self) -> PaperComparison | None:
        """The paper's figures beside the formulas', where the site shows the paper's model."""
        config = self.main.config
        return compare_with_paper(config) if is_the_papers_model(config) else None

    @property
    def compared(self) -> list[Analysis]:
        """The analyses that a measurement belongs to."""
        return [a for row in self.analyses for a in row if a.comparison is not None]

    @property
    def top_modules(self) -> list[tuple[str, Node]]:
        nodes = self.main.nodes.items()
        return sorted(nodes, key=lambda item: (-item[1].own.time_ms, item[0]))[:TOP_MODULES]

    @cached_property
    def edges(self) -> dict[tuple[str, str], int]:
        """Which module class calls which, and how often."""
        return edges(self.main.nodes)

    def call_graph(self, layer_link: Callable[[str], str]) -> Markup:
        return call_graph(self.edges, layer_link)

    @property
    def tree(self) -> list[tuple[str, Node, int]]:
        """Every node with its depth, each below its parent."""
        rows: list[tuple[str, Node, int]] = []

        def visit(module_id: str, depth: int) -> None:
            node = self.main.nodes[module_id]
            rows.append((module_id, node, depth))
            for child in node.children:
                visit(child, depth + 1)

        visit(next(iter(self.main.nodes)), 0)
        return rows


def all_gpus(analyses: tuple[tuple[Analysis, ...], ...]) -> list[Hardware]:
    """Return the GPUs of a site, then every other profile that ships, the smallest first."""
    own = [a.hardware for a in analyses[0]]
    ids = {gpu.hardware_id for gpu in own}
    others = [load_hardware(i) for i in shipped("hardware") if i not in ids]
    return [*own, *sorted(others, key=lambda h: (h.memory_gb, h.hardware_id))]


def _described(items: list[Bar]) -> str:
    return "; ".join(f"{b.label}: {b.value}" for b in items)
