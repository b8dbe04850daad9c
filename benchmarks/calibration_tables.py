"""Tables of measured kernel times, and fits of constants to them.

Sources:

- ``aiconfigurator-core`` 0.12.0 (NVIDIA, Apache-2.0, on PyPI): GEMM tables in bfloat16. The rows
  of its vLLM runs are used, because they time ``torch.nn.functional.linear``, which this model
  calls. The tables time kernels back to back, so their minimum time contains the gap between two
  launches. A loop rotates six weights, so weights of at most a sixth of the L2 cache are warm.
- ``data/measurements/*/run-*/kernels.json``: single operators at this model's shapes, measured by
  :mod:`benchmarks.kernels`. Times are the kernels' own, without gaps. Operands are cold.
- Kernel families of one decode step on an RTX 5090 (``CodeGandee/llm-perf-opt``, MIT): mean times
  of Nsight Systems, without gaps.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from benchmarks.calibration_model import (
    Constants,
    Gpu,
    attention_us,
    elementwise_us,
    gemm_us,
    memory_us,
)
from mkdocs_dsocr.inputs import load_hardware

Array = Any
"""A NumPy array."""

SYSTEMS: Final = {
    "h100-sxm": "h100_sxm",
    "h200-sxm": "h200_sxm",
    "a100-80gb-sxm": "a100_sxm",
    "b200-sxm": "b200_sxm",
    "l40s": "l40s",
    "rtx-pro-6000": "rtx_pro_6000_server",
}
"""The GPUs that have a GEMM table, and their names there."""
CORRECTED: Final[dict[str, dict[str, Any]]] = {
    "b200-sxm": {"gb_s": 7670},
    "l40s": {"tensor_tflops": 362.05, "cuda_tflops": 90.5, "clock_ghz": 2.49},
}
"""Data-sheet values that differ from today's hardware profiles (kernel-times.md, AMENDMENTS.md)."""
RTX_PRO_6000: Final = Gpu(467.8, 116.9, 1792, 188, 2.43, 128e6)
"""RTX PRO 6000 Blackwell Server Edition at the clock that aiconfigurator observed."""
LARGEST: Final = 8192
"""The largest m, n and k of the GEMMs that constants are fitted to and tested on."""
FITTED: Final = 3000
"""GEMMs that constants are fitted to, a random part of the calibration half."""
ROTATED: Final = 6
"""Weights that the loop of a GEMM table rotates."""
HBM: Final = frozenset({"h100-sxm", "h200-sxm", "a100-80gb-sxm", "b200-sxm"})
"""GPUs whose tables show no gain from a warm L2 cache."""
MATVEC: Final = frozenset({"a100-80gb-sxm", "l40s", "rtx-pro-6000"})
"""GPUs on which cuBLAS runs products of one row as matrix-vector products."""


@dataclass(frozen=True)
class Errors:
    """Absolute errors of predictions relative to measured times."""

    count: int
    mean: float
    median: float
    p90: float
    bias: float

    @classmethod
    def of(cls, predicted: Array, measured: Array) -> Errors:
        signed = np.asarray(predicted, float) / np.asarray(measured, float) - 1
        off = np.abs(signed)
        return cls(
            len(off),
            float(off.mean()),
            float(np.median(off)),
            float(np.quantile(off, 0.9)),
            float(signed.mean()),
        )


@dataclass(frozen=True)
class Gemms:
    """Rows of a GEMM table: sizes, and times in µs."""

    m: Array
    n: Array
    k: Array
    us: Array

    def part(self, rows: Array) -> Gemms:
        return Gemms(self.m[rows], self.n[rows], self.k[rows], self.us[rows])


def gpu_of(hardware_id: str) -> Gpu:
    """Return the data-sheet values of a GPU."""
    if hardware_id == "rtx-pro-6000":
        return RTX_PRO_6000
    h = load_hardware(hardware_id)
    assert h.tensor_bf16 is not None
    assert h.l2 is not None
    gpu = Gpu(
        h.tensor_bf16.tflops,
        h.cuda_fp32.tflops,
        h.bandwidth_gb_s,
        h.tensor_bf16.units,
        h.tensor_bf16.clock_ghz,
        h.l2.megabytes * 1e6,
    )
    return dataclasses.replace(gpu, **CORRECTED.get(hardware_id, {}))


def tables_folder(given: Path | None = None) -> Path:
    """Return the folder of aiconfigurator's tables, without importing the package.

    Raises
    ------
    FileNotFoundError
        If the package is not installed and no folder is given.
    """
    if given is None:
        spec = importlib.util.find_spec("aiconfigurator_core")
        if spec is None or spec.origin is None:
            raise FileNotFoundError("install aiconfigurator-core==0.12.0, or give --tables FOLDER")
        given = Path(spec.origin).parent / "systems/data"
    return given


def gemms(folder: Path, hardware_id: str, framework: str = "vllm", largest: int = LARGEST) -> Gemms:
    """Return the bfloat16 GEMMs of a GPU's table with m, n and k up to `largest`."""
    file = sorted((folder / SYSTEMS[hardware_id] / "gemm" / framework).glob("*/*.parquet"))[-1]
    table = pq.read_table(file, columns=["gemm_dtype", "m", "n", "k", "latency"])
    column = {name: table[name].to_numpy() for name in table.column_names}
    wanted = column["gemm_dtype"].astype(str) == "bfloat16"
    for side in "mnk":
        wanted &= column[side] <= largest
    m, n, k = (column[side][wanted].astype(np.int64) for side in "mnk")
    return Gemms(m, n, k, 1000 * column["latency"][wanted])


def halves(table: Gemms, seed: int = 0) -> tuple[Gemms, Gemms]:
    """Return a random calibration half and the held-out half."""
    order = np.random.default_rng(seed).permutation(len(table.us))
    half = len(order) // 2
    return table.part(order[:half]), table.part(order[half:])


def predict_gemms(gpu: Gpu, c: Constants, g: Gemms) -> Array:
    """Return predicted times of a GEMM table's rows, as its loop runs them."""
    weights = 2.0 * g.n * g.k
    rest = 2.0 * (g.m * g.k + g.m * g.n)
    cold = weights
    if c.l2_share is not None:
        cold = np.where(ROTATED * weights <= gpu.l2_bytes, 0.0, weights)
    memory = memory_us(gpu, c, cold, weights - cold + rest)
    times = gemm_us(gpu, c, g.m, g.n, g.k, memory)
    if c.matvec_us is not None:
        times = np.where(g.m == 1, c.matvec_us + memory, times)
    return times


def bandwidth_share(gpu: Gpu, table: Gemms) -> float:
    """Return the bandwidth of products of at most 16 rows with 400 MB of weights or more."""
    chosen = table.part((table.m <= 16) & (2 * table.n * table.k >= 400e6))
    moved = 2 * (chosen.m * chosen.k + chosen.n * chosen.k + chosen.m * chosen.n)
    return float(np.median(moved / chosen.us / 1e3)) / gpu.gb_s


def fit_gemm(hardware_id: str, share: float, table: Gemms) -> Constants:
    """Return the constants of GEMMs, fitted to a part of the calibration half of a table.

    They minimise the mean absolute error relative to the measured time. `share` is the bandwidth
    of large products, which is not fitted.
    """
    gpu = gpu_of(hardware_id)
    chosen = table.part(np.arange(len(table.us)) < FITTED)
    names = ["gemm_us", "tensor_share"]
    names += [] if hardware_id in HBM else ["l2_share"]
    names += ["matvec_us"] if hardware_id in MATVEC else []
    start = Constants(share, 0.8, 2.5)
    if hardware_id not in HBM:
        start = dataclasses.replace(start, l2_share=1.5)
    if hardware_id in MATVEC:
        start = dataclasses.replace(start, matvec_us=2.5)

    def loss(c: Constants) -> float:
        return Errors.of(predict_gemms(gpu, c, chosen), chosen.us).mean

    return fit(loss, start, names)


def fit(
    loss: Callable[[Constants], float], start: Constants, names: Sequence[str], rounds: int = 8
) -> Constants:
    """Return the constants that minimise a loss, one by one by golden section, in rounds."""
    best = start
    for number in range(rounds):
        reach = 1 + 0.8 / (1 + number)
        for name in names:
            value = getattr(best, name)
            found = _golden(partial(_changed, loss, best, name), value / reach, value * reach)
            changed = dataclasses.replace(best, **{name: found})
            if loss(changed) <= loss(best):
                best = changed
    return best


def _changed(loss: Callable[[Constants], float], c: Constants, name: str, value: float) -> float:
    changes: dict[str, Any] = {name: value}
    return loss(dataclasses.replace(c, **changes))


def _golden(f: Callable[[float], float], low: float, high: float, steps: int = 18) -> float:
    share = (5**0.5 - 1) / 2
    a, b = high - share * (high - low), low + share * (high - low)
    at_a, at_b = f(a), f(b)
    for _ in range(steps):
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - share * (high - low)
            at_a = f(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + share * (high - low)
            at_b = f(b)
    return (low + high) / 2


Record = Mapping[str, Any]
"""A case of ``kernels.json``."""


def own_records(file: Path) -> list[dict[str, Any]]:
    """Return the cases of a ``kernels.json``, each with ``us``: the time of one call's kernels."""
    records = json.loads(file.read_text(encoding="utf-8"))["cases"]
    for record in records:
        calls = min((k["launches"] for k in record["kernels"]), default=1)
        record["us"] = sum(k["total_us"] for k in record["kernels"]) / calls
    return [r for r in records if r["kernels"]]


VECTORISED: Final = ("copy", "add", "multiply", "negate", "silu", "gelu", "fill", "cat")
REDUCTIONS: Final = ("mean of squares float32", "softmax float32", "argmax float32", "top-k")


def fit_own(gpu: Gpu, c: Constants, records: Sequence[Record]) -> Constants:
    """Return `c` with the constants of elementwise, reduction and attention kernels.

    Minimum times are means over small operands (at most 10,240 elements) of single kernels. The
    rate per element is that of casts of 65,536 elements and more to float32. Attention is fitted.
    """
    small = [r for r in records if r["num_bytes"] <= 81920]
    simple = [r["us"] for r in small if r["name"] in VECTORISED]
    sums = [
        kernel["total_us"] / kernel["launches"]
        for r in small
        if r["name"] in REDUCTIONS
        for kernel in r["kernels"]
        if not kernel["kernel"].startswith("void at::native::vectorized")
    ]
    casts = [
        r["sizes"]["elements"] / (r["us"] - float(np.mean(simple)))
        for r in records
        if r["name"] == "cast to float32" and r["sizes"]["elements"] >= 7_000_000
    ]
    c = dataclasses.replace(
        c,
        elementwise_us=float(np.mean(simple)),
        reduction_us=float(np.mean(sums)),
        elements_per_clock=float(np.mean(casts)) / (gpu.units * gpu.clock_ghz * 1e3),
        attention_us=6.0,
        scores_per_clock=3.0,
    )
    chosen = [r for r in records if r["family"] == "attention"]
    measured = np.array([r["us"] for r in chosen])

    def loss(at: Constants) -> float:
        predicted = np.array([predict_own(gpu, at, r) for r in chosen])
        return Errors.of(predicted, measured).mean

    return fit(loss, c, ["attention_us", "scores_per_clock"])


def predict_own(gpu: Gpu, c: Constants, record: Record) -> float | None:
    """Return the predicted time of a case of ``kernels.json``; None where it has no formula."""
    s, name = record["sizes"], record["name"]
    cold = Constants(c.bandwidth_share, c.tensor_share, c.gemm_us)  # operands rotate: no L2 cache
    memory = memory_us(gpu, cold, record["num_bytes"], 0)
    if name == "linear bfloat16":
        return float(gemm_us(gpu, c, s["m"], s["n"], s["k"], memory))
    if record["family"] == "attention":
        heads, causal = s["batch"] * s["heads"], "causal prefill" in name
        return float(
            attention_us(gpu, c, heads, s["q_len"], s["kv_len"], s["head_dim"], memory, causal)
        )
    if name in VECTORISED or name == "gather rows":
        return float(elementwise_us(gpu, c, "vectorised", 0, memory))
    if name == "cast to float32":
        return float(elementwise_us(gpu, c, "per element", s["elements"], memory))
    if name == "scatter rows":
        return float(elementwise_us(gpu, c, "per element", s["rows"] * s["width"], memory))
    return None


def profile_means(folder: Path, name: str) -> dict[str, tuple[int, float]]:
    """Return launches and total µs of each kernel family of a profile (``kernels-NAME.csv``)."""
    with (folder / f"kernels-{name}.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["kernel"]: (int(row["launches"]), int(row["total_ns"]) / 1000)
            for row in csv.DictReader(file)
        }


ELEMENTWISE_FAMILIES: Final = (
    "multiply",
    "copy / cast",
    "silu bf16",
    "add",
    "neg bf16",
    "pow",
    "rsqrt",
    "cos",
    "sin",
    "scatter fill",
    "floor divide int64",
    "gather rows (embedding, index)",
    "fill",
    "arange",
    "compare / mask",
)
REDUCTION_FAMILIES: Final = (
    "mean float32",
    "sum float32",
    "sum int64",
    "top-k",
    "sort (bitonic)",
    "softmax float32",
    "scan (cub)",
)
MATVEC_FAMILIES: Final = ("cublas gemv bf16 (template 7)", "cublas gemv bf16 (template 6)")
ATTENTION_FAMILIES: Final = ("flash-attn split-kv", "flash-attn split-kv combine")


PROFILED_STEPS: Final = 64


@dataclass(frozen=True)
class DecodeBytes:
    """Bytes of a decode step: all matrix-vector products, the LM head, and one attention call."""

    products: float
    head: float
    attention: float


def fit_profile(gpu: Gpu, folder: Path, moved: DecodeBytes, c: Constants) -> Constants:
    """Return `c` with what the decode families of the RTX 5090 profile give.

    Bandwidth and minimum time of matrix-vector products solve two equations: the LM head, which is
    the longest launch, and all products of a step.
    """
    found = profile_means(folder, "decode")

    def mean(families: Sequence[str]) -> float:
        return sum(found[f][1] for f in families) / sum(found[f][0] for f in families)

    calls = sum(found[f][0] for f in MATVEC_FAMILIES) / PROFILED_STEPS
    head = max(_longest_us(folder, f) for f in MATVEC_FAMILIES)
    step = mean(MATVEC_FAMILIES) * calls
    per_byte = (calls * head - step) / (calls * moved.head - moved.products)
    attention = sum(found[f][1] / found[f][0] for f in ATTENTION_FAMILIES)
    return dataclasses.replace(
        c,
        bandwidth_share=1 / per_byte / (gpu.gb_s * 1e3),
        matvec_us=(step - per_byte * moved.products) / calls,
        elementwise_us=mean(ELEMENTWISE_FAMILIES),
        reduction_us=mean(REDUCTION_FAMILIES),
        attention_us=attention - per_byte * moved.attention,
    )


def _longest_us(folder: Path, name: str) -> float:
    with (folder / "kernels-decode.csv").open(encoding="utf-8", newline="") as file:
        return next(
            int(row["max_ns"]) / 1000 for row in csv.DictReader(file) if row["kernel"] == name
        )
