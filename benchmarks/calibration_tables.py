"""Tables of measured kernel times, and the constants of the time model that fit them.

Sources:

- ``aiconfigurator-core`` 0.12.0 (NVIDIA, Apache-2.0, on PyPI): GEMM tables in bfloat16. The rows
  of its vLLM runs are used, because they time ``torch.nn.functional.linear``, which this model
  calls. The tables time kernels back to back, so their minimum time contains the gap between two
  launches. A loop rotates six weights, so weights of at most a sixth of the L2 cache are warm.
- ``data/measurements/*/run-*/kernels.json``: single operators at this model's shapes, measured by
  :mod:`benchmarks.kernels`. Times are the kernels' own, without gaps. Operands are cold.
- Kernel families of one decode step on an RTX 5090 (``CodeGandee/llm-perf-opt``, MIT): mean times
  of Nsight Systems, without gaps.

Predictions are those of the product: :mod:`mkdocs_dsocr.cost.work`.
"""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from mkdocs_dsocr.cost.rates import MsPer, ms_per
from mkdocs_dsocr.cost.work import Work, exposed_ms, parts_ms, start_ms, work_of
from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.inputs.hardware import KernelConstants
from mkdocs_dsocr.layers.builtin import dot_product_attention
from mkdocs_dsocr.layers.kernels import Kernel
from mkdocs_dsocr.layers.operations import Operation, Tensor
from mkdocs_dsocr.layers.products import Product

Array = Any
"""A NumPy array."""
Constants = dict[str, float]
"""Constants of the time model by name."""

SYSTEMS: Final = {
    "h100-sxm": "h100_sxm",
    "h200-sxm": "h200_sxm",
    "a100-80gb-sxm": "a100_sxm",
    "b200-sxm": "b200_sxm",
    "b300-sxm": "b300_sxm",
    "gb200": "gb200",
    "gb300": "gb300",
    "l40s": "l40s",
    "rtx-pro-6000": "rtx_pro_6000_server",
}
"""The GPUs that have a GEMM table, and their names there."""
LARGEST: Final = 8192
"""The largest m, n and k of the GEMMs that constants are fitted to and tested on."""
FITTED: Final = 3000
"""GEMMs that constants are fitted to, a random part of the calibration half."""
ROTATED: Final = 6
"""Weights that the loop of a GEMM table rotates."""
HBM: Final = frozenset(
    {"h100-sxm", "h200-sxm", "a100-80gb-sxm", "b200-sxm", "b300-sxm", "gb200", "gb300"}
)
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


def with_constants(hardware: Hardware, constants: Constants) -> MsPer:
    """Return the times of a GPU with these constants, and assumed ones for the rest."""
    block = KernelConstants(kind="measured", source="a fit", **constants)
    return ms_per(hardware.model_copy(update={"kernels": (block,), "achieved": None}))


def time_us(work: Work, per: MsPer, most_activations: Any = 1) -> Any:
    """Return the time of one kernel; activations that may be in the L2 cache are there."""
    parts = parts_ms(work, per, most_activations)
    longest: Any = 0
    for part in parts:
        longest = np.maximum(longest, part)
    return 1000 * (start_ms(work, per) + longest + exposed_ms(work, parts))


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


def linear_work(m: Any, n: Any, k: Any, moved: Any, warm: Any) -> Work:
    """Return the work of a product, as the layers state it."""
    product = Operation("x Wᵀ", "linear", products=(Product(m, k, n),), unit="tensor")
    work = work_of(Kernel((product,), (), ()))
    return work.with_each(
        lambda name: {"moved": moved, "activations": warm}.get(name, getattr(work, name))
    )


def predict_gemms(per: MsPer, g: Gemms) -> Array:
    """Return predicted times of a GEMM table's rows, as its loop runs them."""
    weights = 2.0 * g.n * g.k
    rest = 2.0 * (g.m * g.k + g.m * g.n)
    warm = rest + np.where(ROTATED * weights <= per.l2_bytes, weights, 0.0)
    return time_us(linear_work(g.m, g.n, g.k, weights + rest, warm), per)


def bandwidth_share(hardware: Hardware, table: Gemms) -> float:
    """Return the bandwidth of products of at most 16 rows with 400 MB of weights or more."""
    chosen = table.part((table.m <= 16) & (2 * table.n * table.k >= 400e6))
    moved = 2 * (chosen.m * chosen.k + chosen.n * chosen.k + chosen.m * chosen.n)
    return float(np.median(moved / chosen.us / 1e3)) / hardware.bandwidth_gb_s


def fit_gemm(hardware: Hardware, share: float, table: Gemms) -> Constants:
    """Return the constants of GEMMs, fitted to a part of the calibration half of a table.

    They minimise the mean absolute error relative to the measured time. `share` is the bandwidth
    of large products, which is not fitted.
    """
    chosen = table.part(np.arange(len(table.us)) < FITTED)
    start: Constants = {"gemm_us": 2.5, "tensor_share": 0.8}
    if hardware.hardware_id not in HBM:
        start["l2_share"] = 1.5
    if hardware.hardware_id in MATVEC:
        start["matvec_us"] = 2.5

    def loss(constants: Constants) -> float:
        return Errors.of(predict_gemms(with_constants(hardware, constants), chosen), chosen.us).mean

    return fit(loss, {"bandwidth_share": share, **start}, list(start))


def fit(
    loss: Callable[[Constants], float], start: Constants, names: Sequence[str], rounds: int = 8
) -> Constants:
    """Return the constants that minimise a loss, one by one by golden section, in rounds."""
    best = start
    for number in range(rounds):
        reach = 1 + 0.8 / (1 + number)
        for name in names:
            high = best[name] * reach
            if name in ("tensor_share", "bandwidth_share"):
                high = min(high, 1.0)
            found = _golden(partial(_changed, loss, best, name), best[name] / reach, high)
            changed = best | {name: found}
            if loss(changed) <= loss(best):
                best = changed
    return best


def _changed(loss: Callable[[Constants], float], c: Constants, name: str, value: float) -> float:
    return loss(c | {name: value})


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


def fit_own(hardware: Hardware, c: Constants, records: Sequence[Record]) -> Constants:
    """Return `c` with the constants of elementwise, reduction and attention kernels.

    Minimum times are means over small operands (at most 10,240 elements) of single kernels. The
    rate per element is that of casts of 7 million elements and more to float32. Attention is
    fitted.
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
    chip = hardware.tensor_peak
    c = c | {
        "elementwise_us": float(np.mean(simple)),
        "reduction_us": float(np.mean(sums)),
        "elements_per_clock": float(np.mean(casts)) / (chip.units * chip.clock_ghz * 1e3),
        "attention_us": 6.0,
        "scores_per_clock": 3.0,
    }
    chosen = [r for r in records if r["family"] == "attention"]
    measured = np.array([r["us"] for r in chosen])

    def loss(at: Constants) -> float:
        per = with_constants(hardware, at)
        return Errors.of(np.array([predict_own(per, r) for r in chosen]), measured).mean

    return fit(loss, c, ["attention_us", "scores_per_clock"])


def predict_own(per: MsPer, record: Record) -> float | None:
    """Return the predicted time of a case of ``kernels.json``; None where it has no formula.

    Operands rotate, so that none is in the L2 cache.
    """
    s, name, moved = record["sizes"], record["name"], record["num_bytes"]
    if name == "linear bfloat16":
        work = linear_work(s["m"], s["n"], s["k"], moved, 0)
    elif record["family"] == "attention":
        work = _attention_work(s, moved, "causal prefill" in name)
    elif name in VECTORISED or name == "gather rows":
        work = Work("contiguous", None, moved=moved)
    elif name in ("cast to float32", "scatter rows"):
        elements = s.get("elements") or s["rows"] * s["width"]
        work = Work("per element", None, threads=elements, moved=moved)
    else:
        return None
    return float(time_us(work, per))


def _attention_work(s: Mapping[str, int], moved: int, is_causal: bool) -> Work:
    heads = s["batch"] * s["heads"]
    sizes = (heads * s["q_len"], s["kv_len"], s["head_dim"])
    attended = dot_product_attention(
        "attention", sizes, heads, (), Tensor("o", 0), causal_pairs=1 if is_causal else None
    )
    work = work_of(Kernel((attended,), (), ()))
    return work.with_each(lambda name: moved if name == "moved" else getattr(work, name))


def sector_share(hardware: Hardware, c: Constants, records: Sequence[Record]) -> float:
    """Return the rate of 32-byte sectors in permuted copies over the memory bandwidth."""
    gb_s = [
        32 * r["flops"] / (kernel["median_us"] - c["elementwise_us"]) / 1e3
        for r in records
        if r["name"] == "copy, permuted"
        for kernel in r["kernels"]
    ]
    return float(np.median(gb_s)) / hardware.bandwidth_gb_s


def profile_means(folder: Path, name: str) -> dict[str, tuple[int, float]]:
    """Return launches and total µs of each kernel family of a profile (``kernels-NAME.csv``)."""
    with (folder / f"kernels-{name}.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["kernel"]: (int(row["launches"]), int(row["total_ns"]) / 1000)
            for row in csv.DictReader(file)
        }
