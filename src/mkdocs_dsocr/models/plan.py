"""Config and workload → the runs of every pass, with the shapes that each is fed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from mkdocs_dsocr.inputs import InputError, ModelConfig, Workload, constants
from mkdocs_dsocr.inputs.workload import MAX_TOKENS
from mkdocs_dsocr.models.tokens import crop_grid, global_tokens, local_tokens
from mkdocs_dsocr.trace import PassShape


@dataclass(frozen=True)
class Run:
    """Equal runs of one pass.

    `calls` times in the workload a loop of `steps` steps whose context grows
    from `first` to `last` by one token a step (`steps` is 1 outside decode).
    """

    stage: str
    calls: int
    steps: int
    first: PassShape
    last: PassShape


@dataclass(frozen=True)
class Plan:
    """A workload resolved against a model."""

    workload: Workload
    grid: tuple[int, int]
    global_view: int
    image_tokens: int
    text_tokens: int
    runs: tuple[Run, ...]
    notes: tuple[str, ...]

    @property
    def batch(self) -> int:
        """Pages that are decoded together."""
        return min(self.workload.batch_size, self.workload.pages)

    @property
    def seq_len(self) -> int:
        return self.image_tokens + self.text_tokens

    @property
    def shapes(self) -> tuple[PassShape, ...]:
        """Every distinct shape, for a trace."""
        return tuple(dict.fromkeys(s for r in self.runs for s in (r.first, r.last)))


def plan(config: ModelConfig, workload: Workload, source: str | Path = "workload") -> Plan:
    """Resolve a workload: grid, tokens, runs.

    Raises
    ------
    InputError
        If ``seq_len`` disagrees with image and text tokens, or the grid rule
        does not speak for the crop size.
    """
    grid = _grid(workload, source)
    global_view = workload.base_size if workload.crop_mode else workload.image_size
    has_tiles = grid != (1, 1)
    image_tokens = global_tokens(global_view)
    if has_tiles:
        image_tokens += local_tokens(workload.image_size, *grid)
    text_tokens = _text_tokens(workload, image_tokens, source)
    resolved = Plan(workload, grid, global_view, image_tokens, text_tokens, (), ())
    tokens = resolved.seq_len + workload.max_new_tokens
    if tokens > MAX_TOKENS:
        raise InputError(source, "seq_len", f"{tokens:,} tokens a page", f"at most {MAX_TOKENS:,}")
    _check_load(config, workload, source)
    runs = (*_vision_runs(resolved), *_language_runs(resolved))
    return dataclasses.replace(
        resolved,
        runs=tuple(_in_mode(r, workload.precision_mode == "autocast") for r in runs),
        notes=tuple(_notes(config, resolved)),
    )


def _in_mode(run: Run, autocast: bool) -> Run:
    first, last = (dataclasses.replace(s, autocast=autocast) for s in (run.first, run.last))
    return dataclasses.replace(run, first=first, last=last)


def _check_load(config: ModelConfig, workload: Workload, source: str | Path) -> None:
    """Refuse a load of the experts that no routing makes."""
    load, language = workload.expert_load, config.language
    if load is None:
        return
    if len(load) != language.n_routed_experts:
        allowed = f"one for each of the {language.n_routed_experts} routed experts"
        raise InputError(source, "expert_load", f"{len(load)} numbers", allowed)
    largest = max(load) / sum(load) * language.num_experts_per_tok
    if largest > 1:
        allowed = f"at most 1/{language.num_experts_per_tok} of the sum: a token chooses it once"
        raise InputError(source, "expert_load", f"{max(load):g} of {sum(load):g}", allowed)


def _grid(workload: Workload, source: str | Path) -> tuple[int, int]:
    if not workload.crop_mode:
        return (1, 1)
    if workload.crop_grid is not None:
        return workload.crop_grid
    if workload.image_size != constants.TILE_SIZE:
        raise InputError(
            source,
            "page_size",
            f"image_size {workload.image_size}",
            f"crop_grid: the model's grid rule speaks for tiles of {constants.TILE_SIZE} px only",
        )
    assert workload.page_size is not None  # the workload's own validation
    return crop_grid(*workload.page_size)


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


def _rounds(workload: Workload) -> list[tuple[int, int]]:
    """Return batch sizes and how often each runs: full rounds, then the rest."""
    full, rest = divmod(workload.pages, workload.batch_size)
    return [(b, n) for b, n in ((workload.batch_size, full), (rest, 1)) if b and n]


def _vision_runs(plan: Plan) -> list[Run]:
    """Vision and projector run once a kind of view, for each page or each batch of pages."""
    views = [("global", plan.global_view, (1, 1))]
    if plan.grid != (1, 1):
        views.append(("local", plan.workload.image_size, plan.grid))
    batched = plan.workload.vision_batching == "batched"
    rounds = _rounds(plan.workload) if batched else [(1, plan.workload.pages)]
    return [
        Run(stage, calls, 1, shape, shape)
        for stage, part in (("vision", "vision"), ("projector", "projector"))
        for kind, size, (w, h) in views
        for pages, calls in rounds
        for shape in (
            PassShape(
                f"{stage}.{kind}",
                part,  # type: ignore[arg-type]
                image_size=size,
                tiles_w=w,
                tiles_h=h,
                pages=pages,
            ),
        )
    ]


def _language_runs(plan: Plan) -> list[Run]:
    """Prefill and decode run in rounds of the batch, the last one smaller."""
    workload = plan.workload
    steps = workload.max_new_tokens - 1
    prefills, decodes = [], []
    for batch, count in _rounds(workload):
        prefill = PassShape(
            "prefill",
            "language",
            batch=batch,
            q_len=plan.seq_len,
            kv_len=plan.seq_len,
            image_tokens=plan.image_tokens,
            logits=plan.seq_len if workload.logits_positions == "all" else 1,
        )
        prefills.append(Run("prefill", count, 1, prefill, prefill))
        if steps:
            first, last = (
                PassShape(
                    "decode", "language", batch=batch, q_len=1, kv_len=plan.seq_len + k, logits=1
                )
                for k in (1, steps)
            )
            decodes.append(Run("decode", count, steps, first, last))
    return prefills + decodes


def _notes(config: ModelConfig, plan: Plan) -> list[str]:
    notes = []
    positions = plan.seq_len + plan.workload.max_new_tokens
    limit = config.language.max_position_embeddings
    if positions > limit:
        notes.append(
            f"{positions:,} positions are beyond the model's {limit:,}: "
            "counted, though the model was not trained for them."
        )
    tiles = plan.grid[0] * plan.grid[1]
    if plan.workload.crop_grid and tiles > constants.MAX_RULE_TILES:
        notes.append(
            f"A grid of {tiles:,} tiles is off the model's rule, which goes up to "
            f"{constants.MAX_RULE_TILES}."
        )
    elif plan.workload.crop_grid and plan.workload.page_size:
        width, height = crop_grid(*plan.workload.page_size)
        if (width, height) != plan.grid:
            notes.append(
                f"The grid {plan.grid[0]}×{plan.grid[1]} is off the model's rule, which cuts this "
                f"page into {width}×{height}."
            )
    return notes
