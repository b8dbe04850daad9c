"""How long one step of an engine takes, on one or several GPUs.

A step runs the next token of every sequence that decodes and some tokens of prompts together. Its
matrix products, norms and experts have one row for each token. Attention reads the cache of each
sequence, and pages that begin their prompt go through the vision towers first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np

from mkdocs_dsocr.cost.rates import RATES, MsPer, ms_per
from mkdocs_dsocr.cost.time import host_ms, longest_ms
from mkdocs_dsocr.cost.work import Work, exposed_ms, parts_ms, start_ms, works
from mkdocs_dsocr.cost.workload import WorkloadCost, workload_cost
from mkdocs_dsocr.inputs import Hardware, InputError, ModelConfig, Serving, Workload
from mkdocs_dsocr.inputs.serving import ENGINE_TILES
from mkdocs_dsocr.inputs.workload import ENGINES
from mkdocs_dsocr.layers import metrics, tree
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.layers.tree import NodeVisit
from mkdocs_dsocr.models import max_tiles_of, pass_layer
from mkdocs_dsocr.trace import PassShape

Array = Any
"""A NumPy array."""
Chosen = Callable[[NodeVisit, Work], bool]
"""Tells whether a kernel of a layer counts."""
HEAD: Final = "lm_head"
"""Path of the module that maps hidden states to logits."""
LOGIT_BYTES: Final = 4
"""Of a float32 logit, which sampling reads."""


def engine_workload(config: ModelConfig, workload: Workload) -> Workload:
    """Return a workload as an engine runs it: one page a request, its schedule of kernels.

    Raises
    ------
    InputError
        If its prompts have several pages.
    """
    if (each := workload.pages_per_prompt) > 1:
        allowed = "1: an engine is modelled with a page for each request"
        raise InputError("workload", "pages_per_prompt", f"{each:,}", allowed)
    changes: dict[str, Any] = {"engine": "vllm", **ENGINES["vllm"]}
    if workload.crop_mode and workload.max_tiles is None:
        changes["max_tiles"] = min(ENGINE_TILES, max_tiles_of(config, workload))
    changes |= {"batch_size": 1, "num_pages": None, "serving": workload.serving or Serving()}
    return workload.model_copy(update=changes)


def rates_of(gpus: Sequence[Hardware]) -> MsPer:
    """Return the rates of several GPUs: a row each. A format that a GPU lacks takes NaN."""
    found = [ms_per(gpu) for gpu in gpus]
    peaks = {f: _column(per.tensor_peak.get(f, np.nan) for per in found) for f in FORMATS}
    others = {name: _column(getattr(per, name) for per in found) for name in RATES}
    return MsPer(tensor_peak=peaks, **others)


def _column(values: Iterable[float]) -> Array:
    return np.array(list(values))[:, None]


class EngineSteps:
    """Times of an engine's steps in ms, ``[GPUs, points]``.

    Parameters
    ----------
    config, workload
        The model, and a page as :func:`engine_workload` gives it.
    per
        Rates, a row for each GPU: of :func:`rates_of`.
    source
        Where the workload was read, for messages.
    """

    def __init__(
        self, config: ModelConfig, workload: Workload, per: MsPer, source: str = "workload"
    ) -> None:
        self.config, self.per = config, per
        self.cost: WorkloadCost = workload_cost(config, workload, source)
        self.serving = workload.serving or Serving()
        self.plan = self.cost.plan
        self.prompt, self.new = max(1, self.plan.seq_len), workload.max_new_tokens

    def step_ms(self, sequences: Array, cached: Array, chunk: Array, pages: Array) -> Array:
        """Return the time of a step.

        Parameters
        ----------
        sequences, cached
            Sequences that decode, and the positions in the cache of each.
        chunk, pages
            Prompt tokens, and pages whose vision passes run (one prompt each).
        """
        device, host = self.gpu_ms(sequences, cached, chunk, pages), self.cpu_ms(sequences, pages)
        return np.maximum(device, host) if self.serving.overlap_scheduling else device + host

    def gpu_ms(self, sequences: Array, cached: Array, chunk: Array, pages: Array) -> Array:
        """Return what the GPU, and the launches of its kernels, take in a step."""
        drafts = self.serving.draft_tokens
        tokens = sequences * (1 + drafts) + chunk
        rows = sequences * (1 + drafts) + pages
        device = self.tokens_ms(tokens) + self.head_ms(rows)
        device = device + self.attention_ms(sequences, cached)
        device = device + self.prompt_ms * chunk / self.prompt
        if drafts:
            device = device + drafts * self._draft_ms(sequences, cached)
        launches = np.where(tokens > self.serving.graph_tokens, self.launches, 1)
        return np.maximum(device, host_ms(launches, 0, self.per)) + pages * self.page_ms

    def cpu_ms(self, sequences: Array, pages: Array) -> Array:
        """Return what scheduling a step takes the CPU."""
        each = self.serving.sequence_us * (sequences + pages)
        return (self.serving.step_us + each) / 1000 + np.zeros_like(self.per.units)

    def tokens_ms(self, tokens: Array) -> Array:
        """Return all kernels of a decoder pass but attention and the LM head."""
        return self._decode_ms(tokens, None, lambda v, w: v.torch_path != HEAD and not _attends(w))

    def head_ms(self, rows: Array) -> Array:
        """Return the LM head, and sampling, which reads the logits once."""
        sampled = rows * self.config.language.vocab_size * LOGIT_BYTES * self.per.memory_ms
        head = self._decode_ms(rows, None, lambda v, w: v.torch_path == HEAD)
        return head + sampled + self.per.reduction_ms

    def attention_ms(self, sequences: Array, cached: Array) -> Array:
        """Return the attention of sequences that decode to their caches."""
        return self._decode_ms(sequences, cached, lambda v, w: _attends(w))

    @cached_property
    def prompt_ms(self) -> Array:
        """The attention of one whole prompt, ``[GPUs, 1]``; chunks take their share."""
        return self._ms(self._visits(self.prefill), lambda v, w: _attends(w))

    @cached_property
    def page_ms(self) -> Array:
        """Vision towers and projector of one page, ``[GPUs, 1]``."""
        runs = [r for r in self.plan.runs if r.stage in ("vision", "projector") and r.calls]
        visits = [v for r in runs for v in self._visits(r.first)]
        launches = len(runs) if self.serving.vision_graphs else _launches(visits)
        device = self._ms(visits, lambda v, w: True)
        return np.maximum(device, host_ms(launches, 0, self.per))

    @cached_property
    def launches(self) -> int:
        """Kernels of a step that no graph replays."""
        return _launches(self._visits(self.prefill))

    @cached_property
    def mean_cached(self) -> float:
        """Positions in the cache of a sequence, on average over its decode steps."""
        runs = [run for run in self.plan.runs if run.stage == "decode"]
        steps = sum(run.steps for run in runs)
        positions = sum(run.steps * (run.first.kv_len + run.last.kv_len) / 2 for run in runs)
        return positions / steps if steps else self.prompt

    @property
    def most_cached(self) -> int:
        """Positions in the cache of a sequence when it has most."""
        return max((run.last.kv_len for run in self.plan.runs), default=self.prompt)

    def _draft_ms(self, sequences: Array, cached: Array) -> Array:
        """Return the proposal of one token: one decoder layer and the LM head."""
        layers = self.config.language.num_hidden_layers
        one = self.tokens_ms(sequences) + self.attention_ms(sequences, cached)
        return one / layers + self.head_ms(sequences)

    @property
    def prefill(self) -> PassShape:
        """The shape of the pass over one whole prompt."""
        return next(run.first for run in self.plan.runs if run.stage == "prefill")

    def _decode_ms(self, batch: Array, cached: Array | None, chosen: Chosen) -> Array:
        """Return some of the kernels of a decode step; 0 where there is no row."""
        like = dataclasses.replace(self._step, batch=2)
        rows = np.maximum(np.asarray(batch), 1)
        shape = dataclasses.replace(like, batch=rows)
        if cached is not None:
            positions = np.maximum(np.asarray(cached), 1)
            grown = shape.window and np.maximum(positions - self.prompt, 1)
            shape = dataclasses.replace(shape, kv_len=positions, window=grown)
        return np.where(np.asarray(batch) > 0, self._ms(self._visits(shape, like), chosen), 0)

    @property
    def _step(self) -> PassShape:
        """The shape of a decode step; where nothing is decoded, the first there would be."""
        if self.plan.steps:
            return self.plan.step(1)
        image = dataclasses.replace(self.prefill, pass_id="decode", image_tokens=0)
        return dataclasses.replace(image, q_len=1, kv_len=self.prompt + 1, logits=1)

    def _visits(self, shape: PassShape, like: PassShape | None = None) -> list[NodeVisit]:
        return list(tree.walk(pass_layer(self.config, shape, self.plan.workload, like=like)))

    def _ms(self, visits: Iterable[NodeVisit], chosen: Chosen) -> Array:
        """Return the time of the chosen kernels, ``[GPUs, points]``."""
        result: Array = np.zeros_like(self.per.units)
        for visit in visits:
            for _, work, _ in works(visit):
                if chosen(visit, work):
                    result = result + visit.modules * visit.calls * _kernel_ms(work, self.per)
        return result


def _kernel_ms(work: Work, per: MsPer) -> Array:
    """Return the time of a kernel in one step."""
    parts = parts_ms(work, per, work.activations)
    return longest_ms(parts, parts, 1) + exposed_ms(work, parts) + start_ms(work, per)


def _attends(work: Work) -> bool:
    return work.pattern == "attention"


def _launches(visits: Iterable[NodeVisit]) -> int:
    found: Any = sum(visit.launched(metrics.kernel_launches) for visit in visits)
    return round(float(found))
