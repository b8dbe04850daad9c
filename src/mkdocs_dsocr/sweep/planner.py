"""A batch of pages as programs of its sizes, formats and rates, whatever they are.

One program a stage, with every form that the stage's formulas take; the one that the sizes
ask for is selected by the same conditions that a sweep splits its rows by.
"""

from __future__ import annotations

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
from mkdocs_dsocr.models.tokens import crop_grid, global_tokens, local_tokens
from mkdocs_dsocr.quantities import (
    Quantity,
    Symbol,
    ceil_div,
    equal,
    less,
    maximum,
    ratio,
    select,
    total,
)
from mkdocs_dsocr.report import timing
from mkdocs_dsocr.sweep import javascript
from mkdocs_dsocr.sweep.passes import Works, formulas, weights
from mkdocs_dsocr.sweep.program import Program
from mkdocs_dsocr.sweep.scenarios import FORMAT_NAMES, choices, format_numbers, kind, rated

PASSES: Final = {
    "vision": ("vision_global", "vision_local"),
    "projector": ("projector_global", "projector_local"),
    "prefill": ("prefill",),
    "decode": ("decode",),
}
"""The passes of each stage."""
STEPS: Final = ("first", "middle", "last")
"""Steps of the decode that are timed alone."""
IN_MEMORY: Final = ("kvcache_bytes", "activation_bytes")
"""Outputs of a pass that do not add up over its calls."""
CLASS: Final = "class_"
"""What the names of outputs begin with that are the time of a module class."""


def stage_program(config: ModelConfig, stage: str) -> Program:
    """Return the program of one call of a pass of a stage; of decode, of all its steps."""
    pass_id = stage if stage in ("prefill", "decode") else f"{stage}.local"
    found = list(_forms(config, pass_id))
    names = dict.fromkeys(name for _, outputs in found for name in outputs)
    code = _code([Symbol("eager"), *choices(config, pass_id, _Symbols())])
    return Program({name: _selected(code, found, name) for name in names})


def _forms(config: ModelConfig, pass_id: str) -> Iterator[tuple[int, dict[str, Quantity]]]:
    """Yield the code of each form that any sizes ask for, and its formulas."""
    sizes = _every_size(q_len=1 if pass_id == "decode" else 2)
    flags = [np.broadcast_to(f, len(sizes["pages"])) for f in choices(config, pass_id, sizes)]
    rows = {tuple(bool(f[row]) for f in flags): row for row in range(len(sizes["pages"]))}
    for is_eager, (chosen, row) in itertools.product((False, True), rows.items()):
        form = kind(config, pass_id, (False, is_eager, *chosen), sizes, row)
        found = formulas(config, form, Works())
        by_class = {f"{CLASS}{name}": time for name, time in found.by_class.items()}
        yield int(_code([int(is_eager), *chosen])), {**found.work, **found.times, **by_class}


def sizes_program() -> Program:
    """Return the program that plans a batch of pages: what its passes are fed."""
    x = _Symbols()
    has_tiles = x["crop"] * less(1, x["tiles_w"] * x["tiles_h"])
    view = select(x["crop"], x["base_size"], x["image_size"])
    local = local_tokens(x["image_size"], x["tiles_w"], x["tiles_h"])
    image_tokens = global_tokens(view) + select(has_tiles, local, 0)
    seq_len, steps = image_tokens + x["text_tokens"], x["max_new_tokens"] - 1
    first = seq_len + 1
    return Program(
        {
            "global_view": view,
            "has_tiles": has_tiles,
            "image_tokens": image_tokens,
            "seq_len": seq_len,
            "logits": select(x["last_logits"], 1, seq_len),
            "steps": steps,
            "pages": select(x["batched"], x["batch"], 1),
            "calls": select(x["batched"], 1, x["batch"]),
            "first_kv_len": first,
            # Half of the way, rounded down.
            "middle_kv_len": first + ceil_div(maximum(steps - 2, 0), 2),
            "last_kv_len": seq_len + steps,
        }
    )


def grid_program() -> Program:
    """Return the program of the model's grid rule."""
    tiles_w, tiles_h = crop_grid(Symbol("width"), Symbol("height"))
    return Program({"tiles_w": tiles_w, "tiles_h": tiles_h})


def rated_program() -> Program:
    """Return the program of the formats at whose peaks products run."""
    x = _Symbols()
    return Program(rated(x, x["activation_is_wide"]))


def totals_program(config: ModelConfig, stages: Mapping[str, Program]) -> Program:
    """Return the program that sums up the passes of a batch.

    In go ``<pass>_<output>`` of `stages`, how often each pass is called, and rates; out come
    times of stages, module classes and decode steps, what a user waits for, bytes in memory.
    """
    runs, outputs = _Symbols(), dict[str, Any]()
    for stage, passes in PASSES.items():
        found = _stage(runs, stage, passes, list(stages[stage].outputs))
        outputs |= {f"{stage}_{name}": value for name, value in found.items()}
    for step in STEPS:
        launches = select(runs["cuda_graph"], 1, runs[f"{step}_dispatches"])
        waits = select(runs["cuda_graph"], 0, runs[f"{step}_synchronisations"])
        host = timing.host_ms(launches, waits, runs["dispatch_ms"], runs["wait_ms"])
        outputs[f"{step}_time_ms"] = timing.estimate_ms(runs[f"{step}_device_time_ms"], host)
    size = weights(config)
    for stage, passes in PASSES.items():
        outputs[f"{stage}_footprint_bytes"] = size + _beside_weights(config, runs, stage, passes)
    whole = total(outputs[f"{stage}_time_ms"] for stage in PASSES)
    before_decode = ("vision", "projector", "prefill")
    return Program(
        outputs
        | {
            "weight_bytes": size,
            "kvcache_bytes": select(
                less(0, runs["decode_calls"]),
                runs["decode_kvcache_bytes"],
                runs["prefill_kvcache_bytes"],
            ),
            "time_ms": whole,
            "floor_time_ms": total(outputs[f"{stage}_floor_time_ms"] for stage in PASSES),
            "ttft_ms": total(outputs[f"{stage}_time_ms"] for stage in before_decode),
            "tokens_per_s": ratio(1000 * runs["batch"], outputs["middle_time_ms"]),
            "pages_per_s": ratio(1000 * runs["batch"], whole),
            "footprint_bytes": largest(outputs[f"{stage}_footprint_bytes"] for stage in PASSES),
        }
    )


def _stage(
    runs: Mapping[str, Any], stage: str, passes: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    """Return what the passes of a stage come to in one batch."""
    result: dict[str, Any] = {}
    for name in (n for n in names if n not in IN_MEMORY):
        once = name == "dispatches"  # of all calls already
        result[name] = total(
            # A pass that does not run takes no time, even in a format that the GPU does not know.
            select(less(0, calls), runs[f"{p}_{name}"] * (1 if once else calls), 0)
            for p in passes
            for calls in [runs[f"{p}_calls"]]
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
    config: ModelConfig, runs: Mapping[str, Any], stage: str, passes: Sequence[str]
) -> Any:
    """Return the bytes beside the weights when a stage has most; 0 where it does not run."""
    tokens = runs["batch"] * runs["image_tokens"] * config.language.hidden_size
    is_language = stage in ("prefill", "decode")
    waiting: Any = 0 if is_language else Tensor("image tokens", tokens).bytes
    needed = [total((waiting, *(runs[f"{p}_{k}"] for k in IN_MEMORY))) for p in passes]
    return largest(
        select(less(0, runs[f"{p}_calls"]), n, 0) for p, n in zip(passes, needed, strict=True)
    )


def text(config: ModelConfig) -> str:
    """Return the formulas of a model as a script, around the functions of ``formulas.js``."""
    stages = {stage: stage_program(config, stage) for stage in PASSES}
    others = {
        "sizes": sizes_program(),
        "grid": grid_program(),
        "rated": rated_program(),
        "totals": totals_program(config, stages),
    }
    formats = {name: format_numbers(name) for name in FORMAT_NAMES}
    written = [f"const FORMATS = {json.dumps(formats)};\n"]
    written += [javascript.function(n, p) for n, p in {**stages, **others}.items()]
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


def _every_size(q_len: int) -> dict[str, Any]:
    """Return columns in which every choice of a pass is made in each way that sizes can make it."""
    views = np.arange(VIEW_MULTIPLE, MAX_VIEW + 1, VIEW_MULTIPLE)
    language = {"batch": 2, "q_len": q_len, "kv_len": 2, "image_tokens": q_len - 1, "logits": 1}
    return {
        "image_size": np.tile(views, 2),
        "tiles_w": np.repeat([1, 2], len(views)),
        **{name: np.full(2 * len(views), n) for name, n in language.items()},
        **{name: np.ones(2 * len(views), int) for name in ("tiles_h", "pages")},
    }


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
