"""A batch of pages as programs of its sizes, formats and rates, whatever they are.

One program a stage, with every form that the stage's formulas take; the one that the sizes
ask for is selected by the same conditions that a sweep splits its rows by.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources as package_resources
from typing import Any, Final

import numpy as np

from mkdocs_dsocr.inputs import Hardware, ModelConfig
from mkdocs_dsocr.inputs.workload import MAX_VIEW, VIEW_MULTIPLE
from mkdocs_dsocr.layers.metrics import largest
from mkdocs_dsocr.layers.operations import Tensor
from mkdocs_dsocr.models import STAGES, Batch, BatchPass, model_of
from mkdocs_dsocr.models.tokens import crop_grid
from mkdocs_dsocr.quantities import (
    Quantity,
    Symbol,
    equal,
    less,
    ratio,
    select,
    total,
)
from mkdocs_dsocr.report import timing
from mkdocs_dsocr.sweep import javascript
from mkdocs_dsocr.sweep.passes import Kind, Works, formulas, weights
from mkdocs_dsocr.sweep.program import Program
from mkdocs_dsocr.sweep.scenarios import FORMAT_NAMES, format_numbers, rated
from mkdocs_dsocr.trace import PassShape

Stages = Mapping[str, Sequence[BatchPass]]
"""The passes of each stage."""
STEPS: Final = ("first", "middle", "last")
"""Steps of the decode that are timed alone."""
IN_MEMORY: Final = ("kvcache_bytes", "activation_bytes")
"""Outputs of a pass that do not add up over its calls."""
CLASS: Final = "class_"
"""What the names of outputs begin with that are the time of a module class."""


def stage_program(config: ModelConfig, passes: Sequence[BatchPass]) -> Program:
    """Return the program of one call of a stage's passes; of decode, of all steps of a loop."""
    found = list(_forms(config, passes))
    names = dict.fromkeys(name for _, outputs in found for name in outputs)
    chosen = model_of(config).choices(config, passes[-1].pass_id, _Symbols())
    code = _code([Symbol("eager"), *chosen])
    return Program({name: _selected(code, found, name) for name in names})


def _forms(
    config: ModelConfig, passes: Sequence[BatchPass]
) -> Iterator[tuple[int, dict[str, Quantity]]]:
    """Yield the code of each form that any sizes ask for, and its formulas."""
    of_all, grown = passes[-1], tuple(dict.fromkeys(k for p in passes for k in p.last))
    fixed = {
        name: size
        for name, size in of_all.sizes.items()
        if isinstance(size, int) and all(p.sizes[name] == size for p in passes)
    }
    sizes = {**_every_size(), **fixed}
    rows = len(sizes["image_size"])
    chosen = model_of(config).choices(config, of_all.pass_id, sizes)
    flags = [np.broadcast_to(f, rows) for f in chosen]
    likes = {tuple(bool(f[row]) for f in flags): row for row in range(rows)}
    for is_eager, (choice, row) in itertools.product((False, True), likes.items()):
        like: dict[str, Any] = {
            name: int(np.broadcast_to(sizes[name], rows)[row]) for name in of_all.sizes
        }
        form = Kind(
            PassShape(of_all.pass_id, of_all.part, **like),
            columns=tuple(name for name in of_all.sizes if name not in fixed),
            grown=grown,
            eager=is_eager,
        )
        found = formulas(config, form, Works())
        by_class = {f"{CLASS}{name}": time for name, time in found.by_class.items()}
        yield int(_code([int(is_eager), *choice])), {**found.work, **found.times, **by_class}


def batch_passes(config: ModelConfig) -> dict[str, list[BatchPass]]:
    """Return the passes of a batch of pages in symbols, by stage."""
    result: dict[str, list[BatchPass]] = {stage: [] for stage in STAGES}
    for found in model_of(config).passes(config, _BATCH):
        result[found.stage].append(found)
    return result


def sizes_program(config: ModelConfig, stages: Stages) -> Program:
    """Return the program that plans a batch of pages: what its passes are fed."""
    outputs: dict[str, Any] = {
        name: getattr(_BATCH, name) for name in ("image_tokens", "seq_len", "steps")
    }
    for found in (p for passes in stages.values() for p in passes):
        for name, size in _inputs(found).items():
            outputs[f"{found.name}_{name}"] = size
    window = model_of(config).window(config)
    for name, number in zip(STEPS, (1, _BATCH.middle, _BATCH.steps), strict=True):
        step = _BATCH.loop(name, number, number, window)
        step = dataclasses.replace(step, calls=less(0, _BATCH.steps))
        for key, size in _inputs(step).items():
            outputs[f"{name}_{key}"] = size
    return Program(outputs)


def _inputs(found: BatchPass) -> dict[str, Any]:
    """Return what the program of a pass takes of its sizes."""
    last = {f"last_{name}": size for name, size in found.last.items()}
    return {**found.sizes, **last, "steps": found.steps, "calls": found.calls}


def grid_program(config: ModelConfig) -> Program:
    """Return the program of the model's grid rule."""
    tiles_w, tiles_h = crop_grid(Symbol("width"), Symbol("height"), model_of(config).max_tiles)
    return Program({"tiles_w": tiles_w, "tiles_h": tiles_h})


def rated_program() -> Program:
    """Return the program of the formats at whose peaks products run."""
    x = _Symbols()
    return Program(rated(x, x["activation_is_wide"]))


def totals_program(config: ModelConfig, stages: Stages, programs: Mapping[str, Program]) -> Program:
    """Return the program that sums up the passes of a batch.

    In go ``<pass>_<output>`` of `stages`, how often each pass is called, and rates; out come
    times of stages, module classes and decode steps, what a user waits for, bytes in memory.
    """
    runs, outputs = _Symbols(), dict[str, Any]()
    for stage, passes in stages.items():
        found = _stage(runs, stage, passes, list(programs[stage].outputs))
        outputs |= {f"{stage}_{name}": value for name, value in found.items()}
    for step in STEPS:
        launches = select(runs["cuda_graph"], 1, runs[f"{step}_dispatches"])
        waits = select(runs["cuda_graph"], 0, runs[f"{step}_synchronisations"])
        host = timing.host_ms(launches, waits, runs["dispatch_ms"], runs["wait_ms"])
        outputs[f"{step}_time_ms"] = timing.estimate_ms(runs[f"{step}_device_time_ms"], host)
    size = weights(config)
    for stage, passes in stages.items():
        outputs[f"{stage}_footprint_bytes"] = size + _beside_weights(config, runs, stage, passes)
    whole = total(outputs[f"{stage}_time_ms"] for stage in stages)
    before_decode = ("vision", "projector", "prefill")
    return Program(
        outputs
        | {
            "weight_bytes": size,
            "kvcache_bytes": largest(
                _where_it_runs(runs, p, runs[f"{p.name}_kvcache_bytes"])
                for stage in ("prefill", "decode")
                for p in stages[stage]
            ),
            "time_ms": whole,
            "floor_time_ms": total(outputs[f"{stage}_floor_time_ms"] for stage in stages),
            "ttft_ms": total(outputs[f"{stage}_time_ms"] for stage in before_decode),
            "tokens_per_s": ratio(1000 * runs["batch"], outputs["middle_time_ms"]),
            "pages_per_s": ratio(1000 * runs["batch"], whole),
            "footprint_bytes": largest(outputs[f"{stage}_footprint_bytes"] for stage in stages),
        }
    )


def _where_it_runs(runs: Mapping[str, Any], found: BatchPass, amount: Any) -> Any:
    """Return an amount of a pass; 0 where it does not run."""
    return select(less(0, runs[f"{found.name}_calls"]), amount, 0)


def _stage(
    runs: Mapping[str, Any], stage: str, passes: Sequence[BatchPass], names: Sequence[str]
) -> dict[str, Any]:
    """Return what the passes of a stage come to in one batch."""
    result: dict[str, Any] = {}
    for name in (n for n in names if n not in IN_MEMORY):
        once = name == "dispatches"  # of all calls already
        result[name] = total(
            # A pass that does not run takes no time, even in a format that the GPU does not know.
            _where_it_runs(
                runs, p, runs[f"{p.name}_{name}"] * (1 if once else runs[f"{p.name}_calls"])
            )
            for p in passes
        )
    launches, waits = result["dispatches"], result["synchronisations"]
    if stage == "decode":
        launches = select(runs["cuda_graph"], runs["steps"], launches)
        waits = select(runs["cuda_graph"], 0, waits)
    host = timing.host_ms(launches, waits, runs["dispatch_ms"], runs["wait_ms"])
    least, tensor = result["compulsory_io_bytes"], result["least_tensor_ms"]
    return result | {
        "host_time_ms": host,
        "time_ms": timing.estimate_ms(result["device_time_ms"], host),
        "floor_time_ms": timing.floor_ms(tensor, least, runs["bytes_per_ms"]),
    }


def _beside_weights(
    config: ModelConfig, runs: Mapping[str, Any], stage: str, passes: Sequence[BatchPass]
) -> Any:
    """Return the bytes beside the weights when a stage has most; 0 where it does not run."""
    tokens = runs["batch"] * runs["image_tokens"] * config.language.hidden_size
    is_language = stage in ("prefill", "decode")
    waiting: Any = 0 if is_language else Tensor("image tokens", tokens).bytes
    return largest(
        _where_it_runs(runs, p, total((waiting, *(runs[f"{p.name}_{name}"] for name in IN_MEMORY))))
        for p in passes
    )


def text(config: ModelConfig) -> str:
    """Return the formulas of a model as a script, around the functions of ``formulas.js``."""
    stages = batch_passes(config)
    programs = {stage: stage_program(config, passes) for stage, passes in stages.items()}
    others = {
        "sizes": sizes_program(config, stages),
        "grid": grid_program(config),
        "rated": rated_program(),
        "totals": totals_program(config, stages, programs),
    }
    constants = {
        "FORMATS": {name: format_numbers(name) for name in FORMAT_NAMES},
        "PASSES": {p.name: stage for stage, passes in stages.items() for p in passes}
        | dict.fromkeys(STEPS, "decode"),
    }
    written = [f"const {name} = {json.dumps(value)};\n" for name, value in constants.items()]
    written += [javascript.function(n, p) for n, p in {**programs, **others}.items()]
    template = (package_resources.files("mkdocs_dsocr.sweep") / "formulas.js").read_text("utf-8")
    return template.replace("/* FORMULAS */", "\n".join(written))


def gpu_rates(gpu: Hardware) -> dict[str, Any]:
    """Return what the script's ``batch`` takes of a GPU: FLOPs and bytes a millisecond."""
    host = gpu.host
    known = [name for name in FORMAT_NAMES if gpu.peak(name) is not None]
    return {
        "tensor": {name: gpu.tensor_tflops(name) * 1e9 for name in known},
        "peak": {name: gpu.peak_tflops(name) * 1e9 for name in known},
        "cuda": gpu.cuda_fp32.tflops * 1e9,
        "memory": gpu.memory_gb_s * 1e6,
        "bandwidth": gpu.bandwidth_gb_s * 1e6,
        "capacity": gpu.memory_gb * 1e9,
        "dispatch_ms": host.dispatch_us / 1000 if host else 0.0,
        "wait_ms": host.synchronise_us / 1000 if host else 0.0,
    }


class _Symbols(dict[str, Any]):
    """Every size as the symbol of its name."""

    def __missing__(self, name: str) -> Symbol:
        return Symbol(name)


_BATCH: Final = Batch(
    pages=Symbol("batch"),
    is_batched=Symbol("batched"),
    is_cut=Symbol("crop"),
    base_size=Symbol("base_size"),
    image_size=Symbol("image_size"),
    tiles_w=Symbol("tiles_w"),
    tiles_h=Symbol("tiles_h"),
    text_tokens=Symbol("text_tokens"),
    max_new_tokens=Symbol("max_new_tokens"),
    last_logits=Symbol("last_logits"),
)
"""Any batch of pages."""


def _every_size() -> dict[str, Any]:
    """Return columns in which every choice of a pass is made in each way that sizes can make it."""
    views = range(VIEW_MULTIPLE, MAX_VIEW + 1, VIEW_MULTIPLE)
    # No local views, views of one feature, and of more or fewer than the global one has.
    tiles = (0, VIEW_MULTIPLE, MAX_VIEW // 2, MAX_VIEW)
    image_size, tile_size, tiles_w = np.array(list(itertools.product(views, tiles, (1, 2)))).T
    ones = dict.fromkeys(("pages", "tiles_h", "image_tokens", "logits", "window"), 1)
    twos = dict.fromkeys(("batch", "q_len", "kv_len"), 2)
    return {"image_size": image_size, "tile_size": tile_size, "tiles_w": tiles_w, **ones, **twos}


def _code(flags: list[Any]) -> Any:
    """Return the number whose bits say which form sizes ask for."""
    return total(flag * 2**index for index, flag in enumerate(flags))


def _selected(code: Quantity, found: list[tuple[int, dict[str, Quantity]]], name: str) -> Quantity:
    """Return an output by the form of that code; where no other is asked for, the last."""
    *others, (_, last) = found
    result = last.get(name, 0)
    for number, outputs in reversed(others):
        result = select(equal(code, number), outputs.get(name, 0), result)
    return result
