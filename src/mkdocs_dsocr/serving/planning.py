"""How many GPUs a number of pages per day needs, and what a chip needs for it.

One engine with the whole model runs on each GPU, and GPUs share nothing (data parallelism): their
rates add up. Load is the same all day.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mkdocs_dsocr.inputs import Hardware, ModelConfig, Workload
from mkdocs_dsocr.inputs.references import check_unique
from mkdocs_dsocr.serving.memory import EngineMemory, engine_memory
from mkdocs_dsocr.serving.simulation import Percentiles, percentiles
from mkdocs_dsocr.serving.steady import Steady, steady_state
from mkdocs_dsocr.serving.steps import Array, EngineSteps, engine_workload, rates_of

SECONDS_A_DAY: Final = 86_400
PER_DOUBLING: Final = 4
"""Concurrencies that are evaluated for each doubling."""
GAIN: Final = 1.05
"""A limit on the concurrency binds where twice the sequences bring at least so much."""
GPUS_PER_NODE: Final = 8
ENGINE_ERROR: Final = 0.25
"""Relative error that nine of ten measured decode steps of engines stay below: set from them."""
GPU, KV, SEQUENCES, PREPARING, SCHEDULER, TTFT, TPOT, MEMORY, FORMAT = (
    "GPU",
    "KV cache",
    "max_num_seqs",
    "preprocessing",
    "scheduler",
    "TTFT target",
    "TPOT target",
    "memory: not one sequence fits",
    "a format that its tensor cores lack",
)
"""What binds."""
LIMITS: Final = ("", GPU, KV, SEQUENCES, PREPARING, SCHEDULER)
"""What :meth:`Engines.limit` returns."""


@dataclass(frozen=True)
class Target:
    """What is asked for; a latency that is None has no limit. Means, not percentiles."""

    pages_per_day: float
    ttft_ms: float | None = None
    tpot_ms: float | None = None

    @property
    def pages_per_s(self) -> float:
        return self.pages_per_day / SECONDS_A_DAY


@dataclass(frozen=True)
class Fleet:
    """GPUs of one profile that reach a target; without GPUs, what prevents it.

    Attributes
    ----------
    hardware_id, binds
        The profile, and what limits the rate of one GPU.
    gpus, most_gpus
        How many, and how many if each is slower by its :func:`rate_error`.
    concurrency
        Sequences in the engine of each at the target's rate.
    largest_concurrency, best_concurrency
        What the engine's memory and settings allow, and where one GPU is fastest in time.
    pages_per_s, tokens_per_s
        Of one GPU at its best concurrency.
    ttft_ms, tpot_ms, kv_share
        Means at the target's rate, and the share of the KV cache that is used then.
    usd_per_hour, usd_per_1000_pages, kwh_per_1000_pages
        Of all GPUs; None where the profile states no board. Energy is an upper estimate.
    workers, gbit_per_s
        CPU workers that are busy, and pages over the network, of all GPUs.
    """

    hardware_id: str
    binds: str
    gpus: int | None = None
    most_gpus: int | None = None
    concurrency: int = 0
    largest_concurrency: int = 0
    best_concurrency: int = 0
    pages_per_s: float = 0.0
    tokens_per_s: float = 0.0
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    kv_share: float = 0.0
    usd_per_hour: float | None = None
    usd_per_1000_pages: float | None = None
    kwh_per_1000_pages: float | None = None
    workers: int = 0
    gbit_per_s: float = 0.0

    @property
    def number(self) -> str:
        """The number of GPUs, a range where the expected error makes a difference."""
        if self.gpus is None or self.most_gpus is None:
            return "none"
        return f"{self.gpus:,}" + (f"–{self.most_gpus:,}" if self.most_gpus > self.gpus else "")

    @property
    def nodes(self) -> int:
        """Nodes of :data:`GPUS_PER_NODE` GPUs."""
        return math.ceil((self.gpus or 0) / GPUS_PER_NODE)


def rate_error(gpu: Hardware) -> float:
    """Return the relative error of an engine's rate that is expected on a GPU."""
    return max(gpu.time_error, ENGINE_ERROR)


class Engines:
    """The steady state of an engine on several GPUs, evaluated once for all targets.

    Parameters
    ----------
    config, workload
        The model, and a page; its engine and batch do not matter.
    gpus
        The profiles.
    source
        Where the workload was read, for messages.

    Raises
    ------
    InputError
        If two profiles share an id, or the workload cannot run.
    """

    def __init__(
        self,
        config: ModelConfig,
        workload: Workload,
        gpus: Sequence[Hardware],
        source: str = "workload",
    ) -> None:
        check_unique("hardware", [gpu.hardware_id for gpu in gpus])
        self.gpus, self.workload = list(gpus), engine_workload(config, workload)
        self.steps = EngineSteps(config, self.workload, rates_of(gpus), source)
        self.memory: list[EngineMemory] = engine_memory(self.steps, gpus)
        most = 2 * self.steps.serving.max_num_seqs
        spread = 2.0 ** np.arange(0, np.log2(most) + 1e-9, 1 / PER_DOUBLING)
        known = [m.largest for m in self.memory if m.largest]
        self.points = np.unique([*spread.round(), *known, most]).astype(int)
        self.steady: Steady = steady_state(self.steps, self.points)

    def fleets(self, target: Target) -> list[Fleet]:
        """Return the fewest GPUs of each profile, the cheapest first, then by their number."""
        found = [self._fleet(index, target) for index in range(len(self.gpus))]
        return sorted(found, key=_order)

    def _fleet(self, index: int, target: Target) -> Fleet:
        gpu, memory, steady = self.gpus[index], self.memory[index], self.steady
        rates = steady.pages_per_s[index]
        fleet = Fleet(gpu.hardware_id, self.missing(index), largest_concurrency=memory.largest)
        if fleet.binds:
            return fleet
        slow = self._too_slow(index, target)
        fits = self.points <= memory.largest
        allowed = fits & (slow == "")
        if not allowed.any():
            return dataclasses.replace(fleet, binds=str(slow[0]) or TPOT)
        best = int(np.where(allowed, rates, 0).argmax())
        number = math.ceil(target.pages_per_s / rates[best])
        each = target.pages_per_s / number
        rising = np.flatnonzero(allowed & (self.points <= self.points[best]))
        own = rising[min(int(np.searchsorted(rates[rising], each)), len(rising) - 1)]
        below = np.interp(each, [0, *rates[rising]], [0, *self.points[rising]])
        return dataclasses.replace(
            fleet,
            binds=self._binding(index, best, slow),
            gpus=number,
            most_gpus=math.ceil(target.pages_per_s / rates[best] / (1 - rate_error(gpu))),
            concurrency=math.ceil(round(float(below), 6)),
            best_concurrency=int(self.points[best]),
            pages_per_s=float(rates[best]),
            tokens_per_s=float(steady.tokens_per_s[index, best]),
            ttft_ms=float(steady.ttft_ms[index, own]),
            tpot_ms=_known(steady.tpot_ms[index, own]),
            kv_share=float(steady.cached_tokens[own] / memory.tokens),
            **self._images(target),
            **self._board(gpu, number, target),
        )

    def percentiles(self, fleet: Fleet, target: Target) -> Percentiles:
        """Simulate one GPU of a fleet at its share of the pages."""
        [gpu] = (gpu for gpu in self.gpus if gpu.hardware_id == fleet.hardware_id)
        steps = EngineSteps(self.steps.config, self.workload, rates_of([gpu]))
        each = target.pages_per_s / (fleet.gpus or 1)
        return percentiles(steps, fleet.hardware_id, fleet.best_concurrency, each)

    def missing(self, index: int) -> str:
        """Return what a GPU lacks to run the engine at all; an empty text for nothing."""
        if np.isnan(self.steady.pages_per_s[index, 0]):
            return FORMAT
        return "" if self.memory[index].largest else MEMORY

    def _too_slow(self, index: int, target: Target) -> Array:
        """Return the target that each concurrency misses; an empty text for none."""
        ttft, tpot = target.ttft_ms or math.inf, target.tpot_ms or math.inf
        late = np.where(self.steady.tpot_ms[index] > tpot, TPOT, "").astype(object)
        return np.where(self.steady.ttft_ms[index] > ttft, TTFT, late)

    def _binding(self, index: int, best: int, slow: Array) -> str:
        """Return what limits the rate of a GPU at its best concurrency."""
        return self.limit(index, best) or str(slow[min(best + 1, len(slow) - 1)]) or GPU

    def limit(self, index: int, best: int) -> str:
        """Return what limits a GPU at a concurrency if no target does; empty if more would help."""
        steady, memory = self.steady, self.memory[index]
        engine = steady.engine_pages_per_s[index]
        if engine[best] >= steady.preprocessing_pages_per_s:
            return PREPARING
        twice = min(int(np.searchsorted(self.points, 2 * self.points[best])), len(engine) - 1)
        if engine[twice] < GAIN * engine[best]:
            return SCHEDULER if steady.is_cpu_bound[index, best] else GPU
        if self.points[min(best + 1, len(engine) - 1)] > memory.largest:
            return KV if memory.is_limit else SEQUENCES
        return ""

    def table(self, index: int) -> list[tuple[int, float, float, float | None, str]]:
        """Return concurrency, pages per second, TTFT, TPOT and :meth:`limit` at each that fits."""
        steady, largest = self.steady, self.memory[index].largest
        if np.isnan(steady.pages_per_s[index, 0]):
            return []
        return [
            (
                int(count),
                float(steady.pages_per_s[index, i]),
                float(steady.ttft_ms[index, i]),
                _known(steady.tpot_ms[index, i]),
                self.limit(index, i),
            )
            for i, count in enumerate(self.points)
            if count <= largest
        ]

    def _images(self, target: Target) -> dict[str, Any]:
        """Return what preparing and sending the images needs; text-only requests have none."""
        if self.workload.text_only:
            return {}
        serving = self.steps.serving
        return {
            "workers": math.ceil(target.pages_per_s * serving.preprocessing_ms / 1000),
            "gbit_per_s": target.pages_per_s * serving.page_megabytes * 8 / 1000,
        }

    def _board(self, gpu: Hardware, number: int, target: Target) -> dict[str, Any]:
        if gpu.board is None:
            return {}
        thousands_an_hour = target.pages_per_day / 24 / 1000
        return {
            "usd_per_hour": number * gpu.board.usd_per_hour,
            "usd_per_1000_pages": number * gpu.board.usd_per_hour / thousands_an_hour,
            "kwh_per_1000_pages": number * gpu.board.power_w / 1000 / thousands_an_hour,
        }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _order(fleet: Fleet) -> tuple[bool, float, float]:
    price = fleet.usd_per_hour if fleet.usd_per_hour is not None else math.inf
    return fleet.gpus is None, price, fleet.gpus or 0
