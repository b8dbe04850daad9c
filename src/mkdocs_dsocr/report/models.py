"""Models set side by side: the same pages on the same GPU, by each model's own formulas."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

from mkdocs_dsocr.inputs import InputError, ModelConfig, Workload
from mkdocs_dsocr.models import STAGES, model_of
from mkdocs_dsocr.report.analysis import Analysis
from mkdocs_dsocr.report.latency import step_times
from mkdocs_dsocr.report.paper import active_parameters

Kind = Literal["text", "integer", "flops", "bytes", "ms", "number"]
Value: TypeAlias = int | float | str | None
LENGTHS: Final = (128, 512, 2_048, 8_192, 32_768)
"""Output tokens of a page at which a decode step is looked at."""


@dataclass(frozen=True)
class Row:
    """A figure of each model.

    Attributes
    ----------
    section, name
        What it is.
    kind
        How it is written.
    values
        One for each model; None where it has none.
    """

    section: str
    name: str
    kind: Kind
    values: tuple[Value, ...]

    @property
    def ratio(self) -> float | None:
        """The last model's figure over the first one's."""
        first, last = self.values[0], self.values[-1]
        if isinstance(first, str) or isinstance(last, str) or not first or last is None:
            return None
        return last / first


@dataclass(frozen=True)
class ModelsCompared:
    """Analyses of several models that differ in nothing else but the side of local views.

    Parameters
    ----------
    analyses
        One for each model, the one that others are compared with first.
    """

    analyses: tuple[Analysis, ...]

    @property
    def titles(self) -> list[str]:
        """The name of each model."""
        return [a.config.variant for a in self.analyses]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every figure, by section."""
        return tuple(self._rows())

    @property
    def sections(self) -> dict[str, list[Row]]:
        """The same, by section."""
        result: dict[str, list[Row]] = {}
        for row in self.rows:
            result.setdefault(row.section, []).append(row)
        return result

    def _rows(self) -> Iterator[Row]:
        for section, figures in (("Model", MODEL), ("Prompt", PROMPT)):
            for name, kind, figure in figures:
                yield Row(section, name, kind, tuple(map(figure, self.analyses)))
        for stage in STAGES:
            for name, kind, of_stage in STAGE:
                yield Row(stage, name, kind, tuple(of_stage(a, stage) for a in self.analyses))
        for section, figures in (("What a user waits for", SERVED), ("Memory", MEMORY)):
            for name, kind, figure in figures:
                yield Row(section, name, kind, tuple(map(figure, self.analyses)))
        longer = [[_longer(a, n) for a in self.analyses] for n in LENGTHS]
        for section, (kind, grown) in GROWING.items():
            for length, analyses in zip(LENGTHS, longer, strict=True):
                found = tuple(None if a is None else grown(a) for a in analyses)
                yield Row(section, f"after {length:,} new tokens", kind, found)

    def to_json(self) -> str:
        """Return every figure as JSON."""
        main = self.analyses[0]
        data = {
            "workload": main.workload.profile_id,
            "hardware": main.hardware.hardware_id,
            "models": self.titles,
            "figures": [dataclasses.asdict(row) | {"ratio": row.ratio} for row in self.rows],
        }
        return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def compare_models(main: Analysis, others: Sequence[ModelConfig]) -> ModelsCompared:
    """Return other models beside the one of an analysis.

    Raises
    ------
    InputError
        If two models share a name, or the workload is none for one of them.
    """
    names = [main.config.variant, *(config.variant for config in others)]
    if len(set(names)) < len(names):
        raise InputError("option", "compared_models", ", ".join(names), "each model once")
    further = [
        dataclasses.replace(
            main,
            config=config,
            workload=_with_own_views(main, config),
            traced=None,
            measurement=None,
        )
        for config in others
    ]
    for analysis in further:
        analysis.check_formats()  # contradictions of the plan surface here too
    return ModelsCompared((main, *further))


def _with_own_views(main: Analysis, config: ModelConfig) -> Workload:
    """Return the workload of an analysis with local views of a model's own size.

    Where a grid rule cuts the page, a model has views of the side that its rule speaks for. The
    text of the prompt is the same.
    """
    workload, side = main.workload, model_of(config).tile_size
    by_rule = workload.crop_mode and workload.crop_grid is None
    if not by_rule or side == workload.image_size:
        return workload
    text = {"seq_len": None, "text_tokens": main.plan.text_tokens}
    return workload.model_copy(update={"image_size": side, **text})


def _longer(analysis: Analysis, length: int) -> Analysis | None:
    """Return an analysis with so many new tokens; None where that is more than a page may have."""
    workload = analysis.workload.model_copy(update={"max_new_tokens": length})
    longer = dataclasses.replace(analysis, workload=workload, measurement=None)
    try:
        longer.plan  # noqa: B018 - raises where it is too long
    except InputError:
        return None
    return longer


def _kvcache_bytes(analysis: Analysis) -> int:
    # Of every sequence of the batch, when it has most.
    return int(max(m.kvcache for m in analysis.stage_memory.values()))


def _of_stage(name: str) -> Callable[[Analysis, str], Any]:
    def figure(analysis: Analysis, stage: str) -> Any:
        return getattr(analysis.stage_totals[stage], name)

    return figure


def _window(analysis: Analysis) -> str:
    window = analysis.config.language.sliding_window
    return f"the prompt and {window:,} new tokens" if window else "all tokens"


def _experts(analysis: Analysis) -> str:
    language = analysis.config.language
    if not language.has_experts:
        return "none"
    return f"{language.num_experts_per_tok} of {language.n_routed_experts}"


def _grid(analysis: Analysis) -> str:
    width, height = analysis.plan.grid
    return "none" if (width, height) == (1, 1) else f"{width} × {height}"


def _local_side(analysis: Analysis) -> int | None:
    return None if analysis.plan.grid == (1, 1) else analysis.workload.image_size


Figures: TypeAlias = tuple[tuple[str, Kind, Callable[[Analysis], Any]], ...]
MODEL: Final[Figures] = (
    ("architecture", "text", lambda a: a.config.architecture),
    ("parameters", "integer", lambda a: a.root.total.num_parameters),
    ("active per token", "integer", lambda a: active_parameters(a.config)),
    ("hidden size", "integer", lambda a: a.config.language.hidden_size),
    ("decoder layers", "integer", lambda a: a.config.language.num_hidden_layers),
    ("experts per token", "text", _experts),
    ("a new token attends to", "text", _window),
    ("most local views", "integer", lambda a: model_of(a.config).max_tiles),
)
PROMPT: Final[Figures] = (
    ("local views", "text", _grid),
    ("side of a local view, px", "integer", _local_side),
    ("image tokens", "integer", lambda a: a.plan.image_tokens),
    ("tokens", "integer", lambda a: a.plan.seq_len),
)
STAGE: Final[tuple[tuple[str, Kind, Callable[[Analysis, str], Any]], ...]] = (
    ("matmul FLOPs", "flops", _of_stage("matmul_flops")),
    ("FLOPs", "flops", _of_stage("flops")),
    ("bytes moved", "bytes", _of_stage("io_bytes")),
    ("operators", "integer", _of_stage("dispatches")),
    ("device time", "ms", lambda a, s: a.stage_times[s].device_ms),
    ("estimate", "ms", lambda a, s: a.stage_times[s].time_ms),
    ("floor", "ms", lambda a, s: a.stage_times[s].floor_ms),
)
SERVED: Final[Figures] = (
    ("time to first token", "ms", lambda a: a.latency.ttft_ms),
    ("time per output token, first", "ms", lambda a: a.latency.tpot_first_ms),
    ("time per output token, middle", "ms", lambda a: a.latency.tpot_middle_ms),
    ("time per output token, last", "ms", lambda a: a.latency.tpot_last_ms),
    ("output tokens per second", "number", lambda a: a.latency.tokens_per_s),
    ("pages per day", "number", lambda a: a.latency.pages_per_day),
    ("estimate, all stages", "ms", lambda a: a.predicted_ms),
    ("floor, all stages", "ms", lambda a: a.floor_ms),
)
MEMORY: Final[Figures] = (
    ("weights", "bytes", lambda a: a.root.total.weight_bytes),
    ("KV cache at its largest", "bytes", _kvcache_bytes),
    ("needed in all", "bytes", lambda a: a.footprint_bytes),
    ("pages at once that fit", "integer", lambda a: a.largest_batch or 0),
)
GROWING: Final[dict[str, tuple[Kind, Callable[[Analysis], Any]]]] = {
    "Device time of a step": ("ms", lambda a: step_times(a.cost, a.hardware, host=False)["last"]),
    "Time per output token": ("ms", lambda a: step_times(a.cost, a.hardware)["last"]),
    "KV cache": ("bytes", _kvcache_bytes),
}
"""What is looked at after :data:`LENGTHS` new tokens."""
