"""Engines against what was measured and published; part of the page *Accuracy*."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from ruamel.yaml import YAML

from mkdocs_dsocr.inputs import Hardware, Serving, load_hardware, load_workload
from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.serving import EngineSteps, engine_memory, engine_workload, steady_state
from mkdocs_dsocr.serving.steps import rates_of

ROOT: Final = Path(__file__).parents[1]
MEASUREMENTS: Final = ROOT / "data/measurements"
PUBLISHED: Final = MEASUREMENTS / "engines.yaml"
MODEL: Final = "deepseek-ocr-v1-base"
TEXT: Final = ROOT / "benchmarks/workloads/text-197-278-vllm.yaml"


@dataclass(frozen=True)
class EngineRow:
    """A measured figure of an engine, and what the model says."""

    figure: str
    unit: str
    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """The signed relative error."""
        return self.predicted / self.measured - 1


def engine_steps(gpu: Hardware, path: Path | str, model: str = MODEL, **keys: Any) -> EngineSteps:
    """Return an engine's steps for a workload, some keys of which are changed."""
    config, page = load_model_config(model), load_workload(str(path))
    page = page.model_copy(update=keys)
    return EngineSteps(config, engine_workload(config, page), rates_of([gpu]), str(path))


def steps_on(hardware: str) -> Iterator[EngineRow]:
    """Yield each decode step that was measured with an engine's schedule of kernels."""
    [file] = (MEASUREMENTS / hardware).glob("*/engine.json")
    steps = engine_steps(load_hardware(hardware), TEXT)
    none = np.zeros(1)
    for row in json.loads(file.read_text(encoding="utf-8")):
        batch, kv_len = np.array([row["batch"]]), np.array([row["kv_len"]])
        predicted = steps.gpu_ms(batch, kv_len, none, none).item()
        figure = f"`{hardware}`, {row['batch']} sequences, {row['kv_len']:,} positions each"
        yield EngineRow(figure, "ms", row["kernel_ms"], predicted)


def published() -> Any:
    """Return the file of published figures."""
    return YAML(typ="safe").load(PUBLISHED.read_text(encoding="utf-8"))


def published_rows() -> Iterator[EngineRow]:
    """Yield the published figures whose setting is known."""
    for row in published()["rows"]:
        gpu = load_hardware(row["hardware"])
        steps = engine_steps(gpu, ROOT / row["workload"], serving=Serving(**row.get("serving", {})))
        if row["unit"] == "ms":
            predicted = steady_state(steps, np.array([1])).tpot_ms.item()
        else:
            [memory] = engine_memory(steps, [gpu])
            cache = row.get("cache_bytes", memory.cache)
            blocks = cache // (memory.block_size * memory.token_bytes)
            tokens = blocks * memory.block_size
            predicted = tokens if row["unit"] == "tokens" else memory.weights / 2**30
        yield EngineRow(f"{row['id']}: {row['figure']}", row["unit"], row["measured"], predicted)


def fits(memory_bytes: int, **serving: Any) -> int:
    """Return the sequences that fit a GPU of 8 GB class with some memory."""
    gpu = load_hardware("rtx-3090").model_copy(update={"memory_bytes": round(0.995 * memory_bytes)})
    steps = engine_steps(gpu, "dsocr-a4-gundam", serving=Serving(**serving))
    [memory] = engine_memory(steps, [gpu])
    return memory.largest


@dataclass(frozen=True)
class Shape:
    """The output rate by new tokens, relative to that of the fewest."""

    model: str
    new_tokens: tuple[int, ...]
    measured: tuple[float, ...]
    predicted: tuple[float, ...]

    def changes(self, rates: tuple[float, ...]) -> float:
        """Return the change from the fewest to the most new tokens."""
        return rates[-1] / rates[0] - 1


def shapes() -> Iterator[Shape]:
    """Yield the published rates by output length, whose GPU and concurrency are not stated."""
    content = published()["shapes"]
    gpu, lengths = load_hardware(content["hardware"]), tuple(content["new_tokens"])
    for row in content["rows"]:
        rates = []
        for new in lengths:
            keys = {"text_tokens": content["prompt_tokens"], "max_new_tokens": new}
            steps = engine_steps(gpu, TEXT, row["model"], **keys)
            state = steady_state(steps, np.array([content["concurrency"]]))
            rates.append(state.tokens_per_s.item())
        yield Shape(row["model"], lengths, tuple(row["tokens_per_s"]), tuple(rates))
