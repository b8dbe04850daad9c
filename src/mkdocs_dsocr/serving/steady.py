"""The steady state of an engine in closed form: rates and latencies at a concurrency.

As many sequences are in the engine as the concurrency says: where one ends, the next one begins.
Requests do not keep in step with each other, so the pages that begin their prompt in a step are
binomially distributed. ``docs/explanation/serving.md`` has the formulas and the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mkdocs_dsocr.serving.steps import Array, EngineSteps


@dataclass(frozen=True)
class Mix:
    """How an engine's steps are composed, an entry for each concurrency; the same on every GPU.

    Attributes
    ----------
    concurrency
        Sequences in the engine.
    begun
        Pages that begin in a step, on average over all steps.
    decoding
        Sequences that decode, on average over all steps.
    mixed
        Share of steps that also have tokens of prompts.
    mixed_decoding, chunk, pages
        Of such a step: sequences that decode, prompt tokens, and pages that begin.
    seen
        Share of the steps in which a sequence decodes that are mixed.
    to_first, first_chunk
        Steps to a first token: those of the prompt, and of earlier ones that it waits for; and the
        prompt tokens of each.
    """

    concurrency: Array
    begun: Array
    decoding: Array
    mixed: Array
    mixed_decoding: Array
    chunk: Array
    pages: Array
    seen: Array
    to_first: Array
    first_chunk: Array


def mix_of(steps: EngineSteps, concurrency: Array) -> Mix:
    """Return how steps are composed at each concurrency."""
    serving, prompt = steps.serving, steps.prompt
    count = np.asarray(concurrency, float)
    rows = 1 + serving.draft_tokens
    decodes = decode_steps(steps)
    # Steps of a prompt: one, or more where it is longer than what a step has left.
    room = np.maximum(serving.max_num_batched_tokens - rows * count, 1)
    prefills = np.maximum(1, prompt / room)
    life = decodes + prefills
    # Every step is full where prompts come faster than steps have room for.
    begun = np.minimum(count / life, serving.max_num_batched_tokens / (prompt + rows * decodes))
    decoding = begun * decodes
    left = serving.max_num_batched_tokens - rows * decoding
    busy = begun * prompt / left
    mixed = np.minimum(1, np.maximum(1 - (1 - 1 / life) ** count, busy))
    others = 1 - (1 - 1 / life) ** (count - 1)
    others_busy = np.minimum(1, busy * (count - 1) / count)
    seen = np.minimum(1, np.maximum(others, others_busy))
    filled = prompt / left
    own = np.ceil(np.maximum(1, filled) - 1e-9)  # a prompt that waits for none begins in a new step
    ahead = prompts_ahead(count, filled, decodes + own - filled)
    to_first = own + ahead * filled
    begun_with = (count - 1) / (decodes + own)
    first_tokens = np.minimum(prompt * (1 + begun_with + ahead), left * to_first)
    return Mix(
        concurrency=count,
        begun=begun,
        decoding=decoding,
        mixed=mixed,
        mixed_decoding=np.round(np.maximum(count - (count - decoding) / mixed, 0), 9),
        chunk=begun * prompt / mixed,
        pages=begun / mixed,
        seen=seen,
        to_first=to_first,
        first_chunk=first_tokens / to_first,
    )


def prompts_ahead(count: Array, filled: Array, between: Array) -> Array:
    """Return the prompts that one waits for, on average.

    Mean value analysis of one server, the prompt tokens of steps, with equal service times; the
    queue that one of `count` pages finds is that of all, times ``(count - 1) / count`` (Bard and
    Schweitzer).

    Parameters
    ----------
    count
        Sequences in the engine.
    filled, between
        Steps that a prompt fills, and steps of a page before its next prompt.
    """
    slack = between - count * filled
    root = np.sqrt(slack**2 + 4 * filled * (between - filled * (count - 1) / 2))
    return (root - slack) / (2 * filled) - 1


def decode_steps(steps: EngineSteps) -> float:
    """Return the decode steps of a page, on average over lengths: the prefill yields a token.

    The last step gains fewer tokens than the others where it could gain several.
    """
    gained = steps.serving.tokens_per_step
    return max(1, (steps.new - 1) / gained + (1 - 1 / gained) / 2) if steps.new > 1 else 0


@dataclass(frozen=True)
class Steady:
    """The steady state of an engine, ``[GPUs, points]``; nothing limits memory here.

    Attributes
    ----------
    pages_per_s, tokens_per_s
        Pages, and output tokens, per second; preprocessing limits them where it is slower.
    engine_pages_per_s
        The same without preprocessing.
    ttft_ms, tpot_ms
        Mean time to the first token, preprocessing included, and mean time per output token (NaN
        where nothing is decoded).
    cached_tokens
        ``[points]``: positions in the KV cache, on average.
    is_cpu_bound
        Whether the CPU, which schedules, takes longer than the GPU in a decode step.
    preprocessing_pages_per_s
        What the CPU workers of a GPU prepare.
    """

    engine_pages_per_s: Array
    pages_per_s: Array
    tokens_per_s: Array
    ttft_ms: Array
    tpot_ms: Array
    cached_tokens: Array
    is_cpu_bound: Array
    preprocessing_pages_per_s: float


def steady_state(steps: EngineSteps, concurrency: Array) -> Steady:
    """Return rates and latencies at each concurrency.

    Parameters
    ----------
    steps
        The engine's steps.
    concurrency
        ``[points]``: sequences in the engine, from 1 on.
    """
    mix, serving = mix_of(steps, concurrency), steps.serving
    none = np.zeros_like(mix.concurrency)
    cached = np.full_like(mix.concurrency, steps.mean_cached)
    running = mix.concurrency if steps.new > 1 else none
    plain = steps.step_ms(running, cached, none, none)
    full = steps.step_ms(mix.mixed_decoding, cached, mix.chunk, mix.pages)
    step = (1 - mix.mixed) * plain + mix.mixed * full
    rate = 1000 * mix.begun / step
    between = (1 - mix.seen) * plain + mix.seen * full
    pages = mix.first_chunk / steps.prompt
    first = mix.to_first * steps.step_ms(mix.mixed_decoding, cached, mix.first_chunk, pages)
    prepared: Any = np.inf
    if not steps.plan.workload.text_only:
        prepared = 1000 * serving.preprocessing_workers / serving.preprocessing_ms
    limited = np.minimum(rate, prepared)
    return Steady(
        engine_pages_per_s=rate,
        pages_per_s=limited,
        tokens_per_s=limited * steps.new,
        ttft_ms=first + (0 if steps.plan.workload.text_only else serving.preprocessing_ms),
        tpot_ms=between / serving.tokens_per_step if steps.new > 1 else np.nan * between,
        cached_tokens=mix.decoding * steps.mean_cached
        + (mix.concurrency - mix.decoding) * steps.prompt,
        is_cpu_bound=steps.cpu_ms(running, none) > steps.gpu_ms(running, cached, none, none),
        preprocessing_pages_per_s=float(prepared),
    )
