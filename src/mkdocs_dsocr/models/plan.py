"""Config and workload → the runs of every pass, with the shapes that each is fed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from mkdocs_dsocr.inputs import InputError, ModelConfig, Workload
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.inputs.serving import ENGINE_TILES
from mkdocs_dsocr.inputs.workload import TOKENS
from mkdocs_dsocr.models.batch import Batch, BatchPass, middle_of, rounds
from mkdocs_dsocr.models.checks import (
    SIDES,
    check_autocast,
    check_bfloat16,
    check_load,
    check_pages,
    check_sides,
    check_text,
)
from mkdocs_dsocr.models.door import Model
from mkdocs_dsocr.models.registry import model_of
from mkdocs_dsocr.models.storage import as_stored, formats_of
from mkdocs_dsocr.models.tokens import Layout
from mkdocs_dsocr.trace import PassShape

NO_VIEW: Final = 1024
"""Side of the views of a workload without images: none is encoded, and the weights are there."""


@dataclass(frozen=True)
class Run:
    """Equal runs of one pass.

    `calls` times in the workload a loop of `steps` steps (1 outside decode). Its context grows
    from `first` to `last` by one token per step, or stays. It `follows_batch` where its samples, or
    the prompts of its pages, are as many as are decoded together.
    """

    stage: str
    calls: int
    steps: int
    first: PassShape
    last: PassShape
    follows_batch: bool = False
    pages_per_prompt: int = 1

    @property
    def middle(self) -> int:
        """The number of its middle step, the first of which is 1."""
        return int(middle_of(self.steps))

    def at(self, step: int) -> PassShape:
        """Return the shape of one of its steps, the first of which is 1."""
        grown = step - 1 if self.last.kv_len > self.first.kv_len else 0
        window = self.first.window and self.first.window + grown
        return dataclasses.replace(self.first, kv_len=self.first.kv_len + grown, window=window)

    def last_at(self, batch: Any) -> PassShape:
        """Return the shape of its last step, were `batch` prompts or an array decoded."""
        if not self.follows_batch:
            return self.last
        if self.last.part == "language":
            return dataclasses.replace(self.last, batch=batch)
        return dataclasses.replace(self.last, pages=batch * self.pages_per_prompt)


@dataclass(frozen=True)
class Plan:
    """A workload resolved against a model."""

    workload: Workload
    grid: tuple[int, int]
    text_tokens: int
    layout: Layout
    runs: tuple[Run, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    """What is not modelled as the checkpoint has it, in sentences."""

    @property
    def called(self) -> tuple[Run, ...]:
        """The runs that are made: a prompt without images makes none of vision."""
        return tuple(run for run in self.runs if run.calls)

    @property
    def batch(self) -> int:
        """Prompts that are decoded together."""
        return min(self.workload.batch_size, self.workload.prompts)

    @property
    def unit(self) -> str:
        """What one sequence is, in a word."""
        return "prompt" if self.workload.pages_per_prompt > 1 else "page"

    @property
    def global_view(self) -> int:
        """The side of the view of a whole page, px."""
        return int(self.of(1).global_view)

    @property
    def image_tokens(self) -> int:
        """Image tokens of a prompt."""
        return int(self.of(1).image_tokens)

    @property
    def seq_len(self) -> int:
        return self.image_tokens + self.text_tokens

    def of(self, prompts: int) -> Batch:
        """Return a batch of this many of its prompts."""
        return _batch(self.workload, self.grid, self.layout, self.text_tokens, prompts)

    def step(self, number: int) -> PassShape:
        """Return the shape of a decode step of the first batch, the first of which is 1.

        Raises
        ------
        LookupError
            If there is no such step.
        """
        done = 0
        for run in self.runs:
            if run.stage == "decode" and run.first.batch == self.batch:
                if number <= done + run.steps:
                    return run.at(number - done)
                done += run.steps
        raise LookupError(f"decode has {done} steps, not {number}")

    def with_ends_of_loops(self) -> Plan:
        """Return the plan with each loop as two runs of one step: its first and its last."""
        ends = (
            dataclasses.replace(run, steps=1, first=shape, last=shape)
            for run in self.runs
            for shape in dict.fromkeys((run.first, run.last))
        )
        return dataclasses.replace(self, runs=tuple(ends))

    @property
    def steps(self) -> int:
        """Decode steps of each batch: the prefill yields the first new token."""
        return self.workload.max_new_tokens - 1

    @property
    def middle(self) -> int:
        """The number of the middle decode step, the first of which is 1."""
        return int(middle_of(self.steps))

    @property
    def shapes(self) -> tuple[PassShape, ...]:
        """Every distinct shape, for a trace."""
        return tuple(dict.fromkeys(s for r in self.runs for s in (r.first, r.last)))


def plan(config: ModelConfig, workload: Workload, source: str | Path = "workload") -> Plan:
    """Resolve a workload: grid, tokens, runs, notes; see :func:`resolved` for what is refused."""
    found = resolved(config, workload, source)
    return dataclasses.replace(
        found,
        runs=runs_of(config, found),
        notes=(*config.notes, *config.storage.notes, *_notes(config, found)),
        warnings=config.storage.warnings if workload.weight_dtype is None else (),
    )


def resolved(config: ModelConfig, workload: Workload, source: str | Path = "workload") -> Plan:
    """Resolve grid and tokens of a workload alone: the plan has no runs and no notes.

    Raises
    ------
    InputError
        If ``seq_len`` disagrees with image and text tokens, a prompt is empty, or the grid rule
        does not speak for the crop size.
    """
    if workload.precision_mode == "autocast":
        check_autocast(config, source)
        check_bfloat16(formats_of(config.storage, workload).activation_dtype, source)
    check_pages(config, workload.pages_per_prompt, source)
    check_sides(config, workload.model_dump(include={*SIDES}), source)
    grid, layout = _grid(config, workload, source), model_of(config).layout
    image_tokens = _batch(workload, grid, layout, 0).image_tokens
    text_tokens = _text_tokens(workload, image_tokens, source)
    stored = as_stored(config.storage, workload)
    found = Plan(stored, grid, text_tokens, layout, (), ())
    if not found.image_tokens:
        check_text(found.text_tokens, source)
    tokens = found.seq_len + workload.max_new_tokens
    if not TOKENS.allows(tokens):
        words = f"{tokens:,} tokens per {found.unit}"
        raise InputError(source, "seq_len", words, f"at most {TOKENS.most:,}")
    check_load(config, workload, source)
    return found


def runs_of(config: ModelConfig, plan: Plan) -> tuple[Run, ...]:
    """Return the runs of a plan of which grid and tokens are resolved."""
    is_autocast = plan.workload.precision_mode == "autocast"
    return tuple(_in_mode(run, is_autocast) for run in _runs(config, plan))


def max_tiles_of(config: ModelConfig, workload: Workload) -> int:
    """Return the most local views that a page is cut into: the engine's limit, or the model's."""
    return workload.max_tiles or model_of(config).max_tiles


def _batch(
    workload: Workload, grid: tuple[int, int], layout: Layout, text_tokens: int, prompts: int = 1
) -> Batch:
    return Batch(
        prompts=prompts,
        is_batched=int(workload.vision_batching == "batched"),
        crop_mode=int(workload.crop_mode),
        base_size=workload.base_size or NO_VIEW,
        image_size=workload.image_size or NO_VIEW,
        tiles_w=grid[0],
        tiles_h=grid[1],
        text_tokens=text_tokens,
        max_new_tokens=workload.max_new_tokens,
        last_logits=int(workload.logits_positions == "last"),
        text_only=int(workload.text_only),
        layout=layout,
        pages_per_prompt=workload.pages_per_prompt,
    )


def _runs(config: ModelConfig, plan: Plan) -> Iterator[Run]:
    """Yield each pass of each round of the batch, equal ones once: the last batch is smaller."""
    model, workload = model_of(config), plan.workload
    batches = [b for b in rounds(workload.prompts, workload.batch_size) if b[1]]
    passes = [tuple(model.passes(config, plan.of(prompts))) for prompts, _ in batches]
    in_memory = _in_memory(passes[0]) if workload.text_only else set()
    for same in zip(*passes, strict=True):
        calls: dict[Run, int] = {}
        for found, (_, times) in zip(same, batches, strict=True):
            if found.calls or found.name in in_memory:
                run = _run(found, workload.pages_per_prompt)
                calls[run] = calls.get(run, 0) + found.calls * times
        yield from (dataclasses.replace(run, calls=number) for run, number in calls.items())


def _in_memory(passes: Iterable[BatchPass]) -> set[str]:
    """Return passes that never run, but whose weights are in memory: the first of each part."""
    first: dict[str, str] = {}
    for found in passes:
        first.setdefault(found.stage, found.name)
    return {name for stage, name in first.items() if stage in ("vision", "projector")}


def _run(found: BatchPass, pages_per_prompt: int) -> Run:
    """Return a pass as a run, once."""
    first = PassShape(found.pass_id, found.part, **found.sizes)
    last = dataclasses.replace(first, **found.last)
    follows = bool(found.follows_batch)
    return Run(found.stage, 1, int(found.steps), first, last, follows, pages_per_prompt)


def _in_mode(run: Run, autocast: bool) -> Run:
    first, last = (dataclasses.replace(s, autocast=autocast) for s in (run.first, run.last))
    return dataclasses.replace(run, first=first, last=last)


def _grid(config: ModelConfig, workload: Workload, source: str | Path) -> tuple[int, int]:
    model, max_tiles = model_of(config), max_tiles_of(config, workload)
    side = model.tile_size
    if not workload.crop_mode:
        return (1, 1)
    if workload.crop_grid is not None:
        _check_grid(model, workload, workload.crop_grid, max_tiles, source)
        return workload.crop_grid
    if workload.image_size != side:
        raise InputError(
            source,
            "page_size",
            f"image_size {workload.image_size}",
            f"crop_grid: the model's grid rule speaks for tiles of {side} px only",
        )
    assert workload.page_size is not None  # the workload's own validation
    return _rule(model, *workload.page_size, max_tiles)


@lru_cache
def _rule(model: Model, width: int, height: int, max_tiles: int) -> tuple[int, int]:
    """Return the grid of a page of integers."""
    return model.grid(width, height, max_tiles)


def _check_grid(
    model: Model, workload: Workload, grid: tuple[int, int], max_tiles: int, source: str | Path
) -> None:
    """Refuse a grid beyond the limit, and one that its page is not cut into."""
    found, tiles = f"{grid[0]}×{grid[1]} = {grid[0] * grid[1]:,} tiles", grid[0] * grid[1]
    if tiles > max_tiles:
        limit = _limit(model, workload, max_tiles)
        raise InputError(source, "crop_grid", found, f"at most {max_tiles}, {limit}")
    if workload.page_size and workload.image_size == model.tile_size:
        width, height = _rule(model, *workload.page_size, max_tiles)
        if (width, height) != grid:
            page = "×".join(map(str, workload.page_size))
            allowed = f"[{width}, {height}], into which a page of {page} px is cut, or no page_size"
            raise InputError(source, "crop_grid", repr_short(list(grid)), allowed)


def _limit(model: Model, workload: Workload, max_tiles: int) -> str:
    """Return in words where a limit on local views comes from, and what raises it."""
    if max_tiles == model.max_tiles:
        return "the model's limit; max_tiles raises it"
    if workload.engine == "vllm" and max_tiles == ENGINE_TILES:
        return "the engine's limit; max_tiles raises it"
    return "max_tiles"


def _text_tokens(workload: Workload, image_tokens: int, source: str | Path) -> int:
    if workload.seq_len is None:
        assert workload.text_tokens is not None  # the workload's own validation
        return workload.text_tokens
    text = workload.seq_len - image_tokens
    if text < 0:
        raise InputError(
            source, "seq_len", str(workload.seq_len), f"at least the {image_tokens} image tokens"
        )
    if workload.text_tokens is not None and workload.text_tokens != text:
        raise InputError(
            source,
            "seq_len",
            str(workload.seq_len),
            f"{image_tokens} image tokens + {workload.text_tokens} text tokens = "
            f"{image_tokens + workload.text_tokens}",
        )
    return text


def _notes(config: ModelConfig, plan: Plan) -> list[str]:
    notes: list[str] = []
    positions = plan.seq_len + plan.workload.max_new_tokens
    limit = config.language.max_position_embeddings
    if positions > limit:
        notes.append(
            f"{positions:,} positions are beyond the model's {limit:,}: "
            "counted, though the model was not trained for them."
        )
    if not plan.workload.text_only:
        notes += model_of(config).notes(plan.of(1))
    if plan.workload.page_size and not plan.workload.crop_mode:
        notes.append("page_size is not used: without crops a page is one view of image_size.")
    return notes
