"""A simulation of an engine step by step, on one GPU, with the times of :mod:`.steps`.

It gives what the closed form cannot: the distribution of latencies, and requests that arrive at
random times. Pages have output lengths that differ a little, so that they do not keep in step.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from mkdocs_dsocr.serving.steps import Array, EngineSteps

SPREAD: Final = 0.25
"""Output lengths are drawn within this share of their mean, all equally likely."""
PAGES: Final = 1000
"""Pages of a simulation of percentiles."""
WARM_UP: Final = 0.25
"""Share of the pages that are run before anything is counted."""


@dataclass(frozen=True)
class Simulated:
    """What a simulation counted.

    Attributes
    ----------
    pages_per_s
        Output tokens per second over the mean tokens of a page: whose lengths vary.
    ttft_ms, tpot_ms
        ``[pages]``: time to the first token from the request on, and mean time per output token.
    """

    pages_per_s: float
    ttft_ms: Array
    tpot_ms: Array

    def p99(self, times: Array) -> float:
        """Return the time that 99 % of the pages stay below."""
        return float(np.percentile(times, 99)) if len(times) else math.nan


@dataclass
class _Page:
    """A request on its way; times in ms, `left` in prompt tokens."""

    length: int
    asked: float
    left: int
    first: float = math.nan


@dataclass
class _Tables:
    """Times of steps at whole numbers of tokens: one lookup each instead of all kernels."""

    steps: EngineSteps
    most: int
    tokens: Array = field(init=False)
    head: Array = field(init=False)
    attention: Array = field(init=False)

    def __post_init__(self) -> None:
        serving = self.steps.serving
        rows = np.arange(self.most + 1)
        most_tokens = np.arange(serving.max_num_batched_tokens + 1)
        self.tokens = self.steps.tokens_ms(most_tokens)[0]
        self.head = self.steps.head_ms(np.arange(self.most * (2 + serving.draft_tokens) + 1))[0]
        ends = np.array([[self.steps.prompt + 1], [self.steps.most_cached + 1]])
        low, high = (self.steps.attention_ms(rows, np.full_like(rows, end)) for end in ends[:, 0])
        # Attention that decodes is a straight line in the positions of the caches.
        self.attention = np.array([low[0], (high - low)[0] / max(ends[1, 0] - ends[0, 0], 1)])

    def step_ms(self, count: int, cached: float, chunk: int, pages: int) -> float:
        """Return what :meth:`EngineSteps.step_ms` returns, of whole numbers."""
        steps, serving, per = self.steps, self.steps.serving, self.steps.per
        rows = 1 + serving.draft_tokens
        tokens = count * rows + chunk
        low, slope = self.attention[:, count]
        attention = low + slope * (cached - steps.prompt - 1) if count else 0.0
        device = self.tokens[tokens] + self.head[count * rows + pages] + attention
        device += float(steps.prompt_ms[0, 0]) * chunk / steps.prompt
        if serving.draft_tokens and count:
            layers = steps.config.language.num_hidden_layers
            one = (self.tokens[count] + attention) / layers + self.head[count]
            device += serving.draft_tokens * one
        launches = steps.launches if tokens > serving.graph_tokens else 1
        device = max(device, launches * float(per.dispatch_ms[0, 0]))
        device += pages * float(steps.page_ms[0, 0])
        cpu = (serving.step_us + serving.sequence_us * (count + pages)) / 1000
        return float(max(device, cpu) if serving.overlap_scheduling else device + cpu)


class Engine:
    """An engine on one GPU.

    Parameters
    ----------
    steps
        Times of one GPU.
    concurrency
        Most sequences at once.
    seed
        Of the output lengths and arrivals.
    """

    def __init__(self, steps: EngineSteps, concurrency: int, seed: int = 0) -> None:
        self._steps, self._concurrency = steps, concurrency
        self._tables = _Tables(steps, concurrency)
        self._gained = steps.serving.tokens_per_step
        self._window = steps.most_cached - steps.prompt
        self._random = np.random.default_rng(seed)
        self._now, self._waiting = 0.0, deque[_Page]()
        # A slot for each sequence that may decode: its page, its tokens, and its length.
        self._slots: list[_Page | None] = [None] * concurrency
        self._done, self._length = np.zeros(concurrency), np.full(concurrency, np.inf)
        self._gain = np.zeros(concurrency)
        self._free = list(range(concurrency))
        self._ended: list[tuple[_Page, float]] = []
        self._made: list[tuple[float, float]] = [(0.0, 0.0)]

    def closed(self, pages: int) -> Simulated:
        """Run with as many clients as the concurrency: each asks again when its page is done."""
        for _ in range(self._concurrency):
            page = self._page(0.0)
            self._decode(page, page.length * self._random.random())  # somewhere in its middle
        while len(self._ended) < pages:
            for _ in range(len(self._free) - len(self._waiting)):
                self._waiting.append(self._page(self._now))
            self._step()
        return self._counted()

    def open(self, pages_per_s: float, pages: int) -> Simulated:
        """Run with requests that arrive at random times (a Poisson process)."""
        # Twice the pages: requests go on arriving until the last one that counts ends.
        gaps = self._random.exponential(1000 / pages_per_s, 2 * pages)
        arrivals = deque(self._prepared(np.cumsum(gaps).tolist()))
        while len(self._ended) < pages:
            if not self._waiting and len(self._free) == self._concurrency:
                self._now = max(self._now, arrivals[0][0])
            while arrivals and arrivals[0][0] <= self._now:
                self._waiting.append(self._page(arrivals.popleft()[1]))
            self._step()
        return self._counted()

    def _prepared(self, asked: list[float]) -> list[tuple[float, float]]:
        """Return when each page was prepared, and when it was asked for, in order."""
        if self._steps.plan.workload.text_only:
            return [(time, time) for time in asked]
        serving, found = self._steps.serving, []
        workers = [0.0] * serving.preprocessing_workers
        for time in asked:
            ready = max(time, heapq.heappop(workers)) + serving.preprocessing_ms
            heapq.heappush(workers, ready)
            found.append((ready, time))
        return sorted(found)

    def _page(self, asked: float) -> _Page:
        spread = 1 + SPREAD * (2 * self._random.random() - 1)
        return _Page(max(1, round(self._steps.new * spread)), asked, self._steps.prompt)

    def _decode(self, page: _Page, done: float) -> None:
        """Let a page decode from now on."""
        if done >= page.length:
            self._ended.append((page, self._now))
            return
        slot = self._free.pop()
        self._slots[slot], self._gain[slot] = page, self._gained
        self._done[slot], self._length[slot] = done, page.length

    def _step(self) -> None:
        """Run one step: the next token of every sequence, and prompts as far as there is room."""
        count = self._concurrency - len(self._free)
        prompts, chunk, begun = self._prompts(count)
        cached = np.minimum(self._done, self._window).sum() / count if count else 0.0
        self._now += self._tables.step_ms(count, self._steps.prompt + cached, chunk, begun)
        # Of accepted tokens, those beyond the end of a page do not count.
        gained = np.minimum(self._gain, self._length - self._done)
        self._made.append((self._now, self._made[-1][1] + gained.sum() + len(prompts)))
        self._done += gained
        finished = self._done >= self._length
        if finished.any():
            for slot in np.flatnonzero(finished).tolist():
                page = self._slots[slot]
                assert page is not None  # a free slot has no length
                self._ended.append((page, self._now))
                self._free.append(slot)
            self._done[finished], self._length[finished] = 0, np.inf
            self._gain[finished] = 0
        for page in prompts:
            page.first = self._now
            self._decode(page, 1.0)

    def _prompts(self, count: int) -> tuple[list[_Page], int, int]:
        """Return the prompts that end in a step, its prompt tokens, and the pages that begin."""
        serving = self._steps.serving
        room = serving.max_num_batched_tokens - count * (1 + serving.draft_tokens)
        ended: list[_Page] = []
        chunk = begun = 0
        while self._waiting and room > 0 and len(ended) < len(self._free):
            page = self._waiting[0]
            begun += page.left == self._steps.prompt
            taken = min(page.left, room)
            page.left, room, chunk = page.left - taken, room - taken, chunk + taken
            if page.left:
                break
            ended.append(self._waiting.popleft())
        return ended, chunk, begun

    def _counted(self) -> Simulated:
        counted = self._ended[int(WARM_UP * len(self._ended)) :]
        (start, before), (end, after) = self._made[int(WARM_UP * len(self._made))], self._made[-1]
        # Pages that were half done in the beginning have no first token.
        whole = [(page, ended) for page, ended in counted if not math.isnan(page.first)]
        ttft = np.array([page.first - page.asked for page, _ in whole])
        tpot = [(ended - p.first) / (p.length - 1) for p, ended in whole if p.length > 1]
        rate = 1000 * (after - before) / (end - start) / self._steps.new
        return Simulated(rate, ttft, np.array(tpot))


@dataclass(frozen=True)
class Percentiles:
    """The 99th percentiles of latencies, in ms; that of TPOT is None where nothing is decoded."""

    hardware_id: str
    ttft_p99_ms: float
    tpot_p99_ms: float | None


def percentiles(steps: EngineSteps, hardware_id: str, most: int, pages_per_s: float) -> Percentiles:
    """Simulate one GPU with requests that arrive at random.

    Parameters
    ----------
    steps, hardware_id
        The engine on one GPU, and its profile.
    most
        Most sequences at once.
    pages_per_s
        Requests that arrive at this GPU.
    """
    found = Engine(steps, most).open(pages_per_s, PAGES)
    tpot = found.p99(found.tpot_ms) if len(found.tpot_ms) else None
    return Percentiles(hardware_id, found.p99(found.ttft_ms), tpot)
