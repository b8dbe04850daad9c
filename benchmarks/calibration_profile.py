"""Constants of the RTX 5090, from the kernel families of a published decode profile.

The profile is ``CodeGandee/llm-perf-opt`` (MIT), reports/20251107-dsocr: Nsight Systems, 64 decode
steps. Times are means of kernel families, without the gaps between kernels.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.calibration_tables import Constants, profile_means
from mkdocs_dsocr.cost.work import works
from mkdocs_dsocr.cost.workload import workload_cost
from mkdocs_dsocr.inputs import Hardware, load_workload
from mkdocs_dsocr.layers import tree
from mkdocs_dsocr.models import load_model_config, pass_layer

WORKLOAD: Final = Path(__file__).parent / "workloads/dsocr-grid-2x3-autocast.yaml"
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


def fit_profile(hardware: Hardware, folder: Path, c: Constants) -> Constants:
    """Return `c` with what the decode families of the profile give.

    Bandwidth and minimum time of matrix-vector products solve two equations: the LM head, which is
    the longest launch, and all products of a step.
    """
    found = profile_means(folder, "decode")

    def mean(families: Sequence[str]) -> float:
        return sum(found[f][1] for f in families) / sum(found[f][0] for f in families)

    products, head, attention_bytes = _moved()
    calls = sum(found[f][0] for f in MATVEC_FAMILIES) / PROFILED_STEPS
    longest = max(_longest_us(folder, f) for f in MATVEC_FAMILIES)
    step = mean(MATVEC_FAMILIES) * calls
    per_byte = (calls * longest - step) / (calls * head - products)
    attention = sum(found[f][1] / found[f][0] for f in ATTENTION_FAMILIES)
    return c | {
        "bandwidth_share": 1 / per_byte / (hardware.bandwidth_gb_s * 1e3),
        "matvec_us": (step - per_byte * products) / calls,
        "elementwise_us": mean(ELEMENTWISE_FAMILIES),
        "reduction_us": mean(REDUCTION_FAMILIES),
        "attention_us": attention - per_byte * attention_bytes,
    }


def _moved() -> tuple[float, float, float]:
    """Return the bytes of a step's matrix-vector products, of the LM head, and of one attention."""
    config = load_model_config("deepseek-ocr-v1-base")
    cost = workload_cost(config, load_workload(str(WORKLOAD)), WORKLOAD.name)
    shape = cost.plan.step(cost.plan.middle)
    products: list[tuple[int, float]] = []
    attention: list[float] = []
    for visit in tree.walk(pass_layer(config, shape, cost.workload)):
        for _, work, _ in works(visit):
            if work.pattern == "product" and _number(work.rows) <= 1:
                products.append((visit.modules, _number(work.moved)))
            elif work.pattern == "attention":
                attention.append(_number(work.moved))
    return sum(n * moved for n, moved in products), max(m for _, m in products), attention[0]


def _number(quantity: Any) -> float:
    return float(quantity)


def _longest_us(folder: Path, name: str) -> float:
    with (folder / "kernels-decode.csv").open(encoding="utf-8", newline="") as file:
        return next(
            int(row["max_ns"]) / 1000 for row in csv.DictReader(file) if row["kernel"] == name
        )
