"""A stage as one program: every form that its formulas take, selected by the model's choices."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from mkdocs_dsocr.cost.passes import LOAD, form_of, formulas
from mkdocs_dsocr.cost.program import Program
from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.inputs.workload import VIEW
from mkdocs_dsocr.models import BatchPass, Choices, model_of
from mkdocs_dsocr.quantities import Quantity, Symbol, equal, evaluate, select, symbols, total

CLASS: Final = "class_"
"""What the names of outputs begin with that are the time of a module class."""
VIEW_SIZES: Final = ("image_size", "tile_size", "tiles_w", "tiles_h", "pages")
"""Sizes of views, all of which are tried to find the forms of the formulas."""


def stage_program(config: ModelConfig, passes: Sequence[BatchPass]) -> Program:
    """Return the program of one call of a stage's passes; of decode, of all steps of a loop.

    Its output ``is_known`` is 0 where no form of the formulas is that of the sizes.
    """
    of_all, grown = passes[-1], tuple(dict.fromkeys(k for p in passes for k in p.last))
    sizes: dict[str, Any] = {
        name: size
        if isinstance(size, int) and all(p.sizes[name] == size for p in passes)
        else Symbol(name)
        for name, size in of_all.sizes.items()
    }
    any_pass = dataclasses.replace(of_all, sizes=sizes, last=dict.fromkeys(grown))
    # Sizes that are the same expression have one symbol, so that a condition on both is decided.
    fed = {name: tuple(p.sizes[name] for p in passes) for name in sizes}
    one = {fed[name]: s for name, s in reversed(sizes.items()) if isinstance(s, Symbol)}
    same = {name: one.get(fed[name], size) for name, size in sizes.items()}
    choices = model_of(config).choices(config, of_all.pass_id, same)
    found = {}
    for is_eager, chosen in itertools.product((False, True), reachable(choices)):
        form = form_of(any_pass, chosen, eager=is_eager)
        of_form = formulas(config, form)
        by_class = {f"{CLASS}{name}": time for name, time in of_form.by_class.items()}
        code = int(_code([int(is_eager), *map(int, chosen.values())]))
        found[code] = {**of_form.work, **of_form.times, **by_class}
    code = _code([Symbol("eager"), *choices.values()])
    names = dict.fromkeys(name for outputs in found.values() for name in outputs)
    selected = {name: _selected(code, found, name) for name in names}
    is_known = total(equal(code, number) for number in found)
    return Program({**selected, "is_known": is_known}, floats=LOAD[:1])


def reachable(choices: Choices) -> list[dict[str, bool]]:
    """Return every combination of choices that some sizes ask for.

    Conditions on the sizes of views are evaluated for all of these; any other condition may be
    true or false, whatever the rest is.
    """
    fixed = {name: bool(c) for name, c in choices.items() if not symbols(c)}
    of_views = {n: c for n, c in choices.items() if symbols(c) and symbols(c) <= set(VIEW_SIZES)}
    columns = _view_sizes()
    flags = [
        np.broadcast_to(evaluate(c, columns), len(columns["image_size"])) for c in of_views.values()
    ]
    combinations = sorted({tuple(map(bool, row)) for row in zip(*flags, strict=True)}) or [()]
    free = [name for name in choices if name not in fixed and name not in of_views]
    return [
        {
            name: (
                {
                    **fixed,
                    **dict(zip(of_views, views, strict=True)),
                    **dict(zip(free, rest, strict=True)),
                }
            )[name]
            for name in choices
        }
        for views in combinations
        for rest in itertools.product((False, True), repeat=len(free))
    ]


def _view_sizes() -> dict[str, Any]:
    """Return columns in which conditions on views are met in every way that sizes allow."""
    views = range(VIEW.least, VIEW.most + 1, VIEW.least)
    # No local views, views of one feature, and of more or fewer than the global one has.
    tiles = (0, VIEW.least, VIEW.most // 2, VIEW.most)
    image_size, tile_size, tiles_w = np.array(list(itertools.product(views, tiles, (1, 2)))).T
    ones = dict.fromkeys(("pages", "tiles_h"), 1)
    return {"image_size": image_size, "tile_size": tile_size, "tiles_w": tiles_w, **ones}


def _code(flags: list[Any]) -> Any:
    """Return the number whose bits say which form sizes ask for."""
    return total(flag * 2**index for index, flag in enumerate(flags))


def _selected(code: Quantity, found: Mapping[int, dict[str, Quantity]], name: str) -> Quantity:
    """Return an output by the form of that code."""
    (_, first), *others = found.items()
    result = first.get(name, 0)
    for number, outputs in others:
        result = select(equal(code, number), outputs.get(name, 0), result)
    return result
