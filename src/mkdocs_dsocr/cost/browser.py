"""A batch of pages as a script for a browser: the engine evaluated on symbols."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources as package_resources
from typing import Any, Final

from mkdocs_dsocr.cost import javascript
from mkdocs_dsocr.cost.formats import FORMAT_NAMES, compute_dtypes, format_numbers
from mkdocs_dsocr.cost.forms import stage_program
from mkdocs_dsocr.cost.memory import needed_bytes, waiting_bytes
from mkdocs_dsocr.cost.passes import (
    COUNTS,
    LOAD,
    SYMBOLIC_MS,
    weights,
)
from mkdocs_dsocr.cost.program import Program
from mkdocs_dsocr.cost.rates import ms_per, quantities, rates
from mkdocs_dsocr.cost.time import stage_ms
from mkdocs_dsocr.inputs import Hardware, ModelConfig, Workload
from mkdocs_dsocr.layers.figures import LAUNCHED
from mkdocs_dsocr.models import STAGES, Batch, BatchPass, expected_load, max_tiles_of, model_of
from mkdocs_dsocr.quantities import (
    Quantity,
    Symbol,
    largest,
    less,
    ratio,
    select,
    total,
)

Stages = Mapping[str, Sequence[BatchPass]]
"""The passes of each stage."""
RULE_TILES: Final = 100
"""The browser knows the grid rule for limits up to this one."""
STEPS: Final = ("first", "middle", "last")
"""Steps of the decode that are timed alone."""
IN_MEMORY: Final = ("kvcache_bytes", "activation_bytes")
"""Outputs of a pass that do not add up over its calls."""


def batch_passes(config: ModelConfig) -> dict[str, list[BatchPass]]:
    """Return the passes of a batch of pages in symbols, by stage."""
    result: dict[str, list[BatchPass]] = {stage: [] for stage in STAGES}
    for found in model_of(config).passes(config, _batch(config)):
        result[found.stage].append(found)
    return result


def sizes_program(config: ModelConfig, stages: Stages) -> Program:
    """Return the program that plans a batch of pages: what its passes are fed."""
    batch = _batch(config)
    outputs: dict[str, Any] = {
        name: getattr(batch, name) for name in ("image_tokens", "seq_len", "steps")
    }
    for found in (p for passes in stages.values() for p in passes):
        for name, size in _inputs(found).items():
            outputs[f"{found.name}_{name}"] = size
    window = model_of(config).window(config)
    for name, number in zip(STEPS, (1, batch.middle, batch.steps), strict=True):
        step = batch.loop(name, number, number, window)
        step = dataclasses.replace(step, calls=less(0, batch.steps))
        for key, size in _inputs(step).items():
            outputs[f"{name}_{key}"] = size
    return Program(outputs)


def _inputs(found: BatchPass) -> dict[str, Any]:
    """Return what the program of a pass takes of its sizes."""
    last = {f"last_{name}": size for name, size in found.last.items()}
    result = {**found.sizes, **last, "steps": found.steps, "calls": found.calls}
    if found.part == "language":
        result["tokens"] = found.sizes["batch"] * found.sizes["q_len"]
    return result


def grid_program(config: ModelConfig, workloads: Sequence[Workload]) -> Program:
    """Return the program of the grid rule, for the limit of the model and of each workload."""
    model = model_of(config)
    limits = (max_tiles_of(config, workload) for workload in workloads)
    most = max((n for n in limits if n <= RULE_TILES), default=0)
    most = max(most, model.max_tiles)
    page = Symbol("width"), Symbol("height")
    tiles_w, tiles_h = model.grid(*page, Symbol("max_tiles"), most)
    return Program({"tiles_w": tiles_w, "tiles_h": tiles_h})


def rated_program() -> Program:
    """Return the program of the formats at whose peaks products run."""
    x = _Symbols()
    return Program(compute_dtypes(x, x["activation_is_wide"]))


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
        counts = {name: runs[f"{step}_{name}"] for name in COUNTS}
        device, causal = (runs[f"{step}_{name}"] for name in ("device_time_ms", "causal_ms"))
        times = stage_ms(counts, device, causal, SYMBOLIC_MS, runs["cuda_graph"], 1)
        outputs[f"{step}_time_ms"] = times["time_ms"]
    size = weights(config)
    for stage, passes in stages.items():
        for name, value in _memory(config, runs, stage, passes, size).items():
            outputs[f"{stage}_{name}"] = value
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
            "pages_per_s": ratio(1000 * runs["batch"] * runs["pages_per_prompt"], whole),
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
    for name in (n for n in names if n not in (*IN_MEMORY, "is_known")):
        once = name in LAUNCHED  # of all calls already
        result[name] = total(
            # A pass that does not run takes no time, even in a format that the GPU does not know.
            _where_it_runs(
                runs, p, runs[f"{p.name}_{name}"] * (1 if once else runs[f"{p.name}_calls"])
            )
            for p in passes
        )
    is_graph = runs["cuda_graph"] if stage == "decode" else 0
    device, causal = result["device_time_ms"], result["causal_ms"]
    return result | stage_ms(result, device, causal, SYMBOLIC_MS, is_graph, runs["steps"])


def _memory(
    config: ModelConfig,
    runs: Mapping[str, Any],
    stage: str,
    passes: Sequence[BatchPass],
    weight_bytes: Quantity,
) -> dict[str, Any]:
    """Return the bytes in memory when a stage has most, and their parts.

    The weights alone where the stage does not run.
    """
    waiting = waiting_bytes(config, stage, runs["batch"], runs["image_tokens"])
    names = ("footprint_bytes", "kvcache_bytes", "waiting_bytes", "activation_bytes")
    found: dict[str, Any] = dict(zip(names, (weight_bytes, 0, 0, 0), strict=True))
    for one in passes:
        kvcache, activations = (runs[f"{one.name}_{name}"] for name in IN_MEMORY)
        whole = needed_bytes(weight_bytes, kvcache, waiting, activations)
        is_most = less(0, runs[f"{one.name}_calls"]) * less(found["footprint_bytes"], whole)
        for name, value in zip(names, (whole, kvcache, waiting, activations), strict=True):
            found[name] = select(is_most, value, found[name])
    return found


def text(config: ModelConfig, workloads: Sequence[Workload] = ()) -> str:
    """Return the formulas of a model as a script, around the functions of ``formulas.js``.

    Parameters
    ----------
    config
        The model.
    workloads
        The loads of experts that the script knows are theirs, and an even one.
    """
    stages = batch_passes(config)
    programs = {stage: stage_program(config, passes) for stage, passes in stages.items()}
    loads = load_programs(config, workloads)
    others = {
        "sizes": sizes_program(config, stages),
        "grid": grid_program(config, workloads),
        "rated": rated_program(),
        "rates": rates_program(),
        "totals": totals_program(config, stages, programs),
        **{f"load{index}": program for index, program in enumerate(loads.values())},
    }
    constants = {
        "FORMATS": {name: format_numbers(name) for name in FORMAT_NAMES},
        "PASSES": {p.name: stage for stage, passes in stages.items() for p in passes}
        | dict.fromkeys(STEPS, "decode"),
    }
    written = [f"const {name} = {json.dumps(value)};\n" for name, value in constants.items()]
    written += [javascript.function(n, p) for n, p in {**programs, **others}.items()]
    pairs = ", ".join(f"[JSON.stringify({key}), load{index}]" for index, key in enumerate(loads))
    written.append(f"const LOADS = new Map([{pairs}]);\n")
    template = (package_resources.files("mkdocs_dsocr.cost") / "formulas.js").read_text("utf-8")
    return template.replace("/* FORMULAS */", "\n".join(written))


def rates_program() -> Program:
    """Return the times of a GPU from its peaks, shares and minimum times."""
    symbols = _Symbols()
    found = rates(symbols)
    return Program(found, floats=symbols)


def load_programs(config: ModelConfig, workloads: Sequence[Workload]) -> dict[str, Program]:
    """Return the load of the experts for any number of tokens, by ``expert_load`` as JSON."""
    found: dict[str, Program] = {}
    for workload in (None, *workloads):
        given = workload.expert_load if workload else None
        key = json.dumps(given, separators=(",", ":"))
        if key not in found:
            load = expected_load(config, Symbol("tokens"), workload)
            found[key] = Program(dict(zip(LOAD, load, strict=True)))
    return found


def gpu_rates(gpu: Hardware) -> dict[str, Any]:
    """Return what the script's ``batch`` takes of a GPU.

    ``of``: what :func:`mkdocs_dsocr.cost.rates.rates` takes; ``peak_ms``: for
    a FLOP at the dense peak, by format; ``capacity``: bytes of memory.
    """
    per = ms_per(gpu)
    return {
        "of": quantities(gpu),
        "peak_ms": dict(per.tensor_peak),
        "capacity": gpu.room_bytes,
        "reserved": gpu.reserved_bytes,
    }


def gpus_text(gpus: Iterable[Hardware]) -> str:
    """Return what the script takes of some GPUs, and the figures that a user may replace."""
    found = {
        gpu.hardware_id: {
            "rates": gpu_rates(gpu),
            "own": {
                "tensor_tflops": gpu.tensor_peak.tflops,
                "cuda_tflops": gpu.cuda_fp32.tflops,
                "bandwidth_gb_s": gpu.bandwidth_gb_s,
                "memory_gb": gpu.memory_bytes / 1e9,
                **({"dispatch_us": gpu.dispatch_us} if gpu.host else {}),
                **({"synchronise_us": gpu.synchronise_us} if gpu.host else {}),
            },
        }
        for gpu in gpus
    }
    return f"globalThis.dsocrGpus = {json.dumps(found, indent=1)};\n"


class _Symbols(dict[str, Any]):
    """Every size as the symbol of its name."""

    def __missing__(self, name: str) -> Symbol:
        self[name] = Symbol(name)
        return Symbol(name)


def _batch(config: ModelConfig) -> Batch:
    """Return any batch of prompts, in symbols."""
    model = model_of(config)
    return Batch(
        prompts=Symbol("batch"),
        is_batched=Symbol("batched"),
        crop_mode=Symbol("crop"),
        base_size=Symbol("base_size"),
        image_size=Symbol("image_size"),
        tiles_w=Symbol("tiles_w"),
        tiles_h=Symbol("tiles_h"),
        text_tokens=Symbol("text_tokens"),
        max_new_tokens=Symbol("max_new_tokens"),
        last_logits=Symbol("last_logits"),
        text_only=Symbol("text_only"),
        layout=model.layout,
        pages_per_prompt=Symbol("pages_per_prompt") if model.reads_many_pages else 1,
    )
