"""Constants of the time model, with their errors: python -m benchmarks.calibrate.

Needs ``aiconfigurator-core==0.12.0`` (for its GEMM tables) and ``pyarrow``. Derives the constants
of each GPU, prints the errors on held-out data, and compares predicted with measured passes.

Options::

    --tables FOLDER    GEMM tables, if the package is not installed for this interpreter
    --profile FOLDER   kernel families of the published RTX 5090 profile (kernels-*.csv)
    --write            write data/calibration/ID.yaml

A constant is *measured* (from a table or profile of this GPU), *inherited* (from the named GPU of
the same or a close architecture) or *assumed*. No constant is fitted to a figure that is printed
as validation. Figures printed as reproduction use the data that constants were derived from.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from benchmarks.calibration_model import Constants, Gpu
from benchmarks.calibration_passes import (
    Comparison,
    PassKernel,
    compare,
    pass_kernels,
    profile_rows,
)
from benchmarks.calibration_tables import (
    HBM,
    MATVEC,
    SYSTEMS,
    DecodeBytes,
    Errors,
    bandwidth_share,
    fit_gemm,
    fit_own,
    fit_profile,
    gemms,
    gpu_of,
    halves,
    own_records,
    predict_gemms,
    predict_own,
    tables_folder,
)

ROOT: Final = Path(__file__).parents[1]
MEASUREMENTS: Final = ROOT / "data/measurements"
OUTPUT: Final = ROOT / "data/calibration"
PUBLISHED_WORKLOAD: Final = ROOT / "benchmarks/workloads/dsocr-grid-2x3-autocast.yaml"
RTX_5090: Final = "rtx-5090"
UNITS: Final = {
    "bandwidth_share": "share of the data-sheet memory bandwidth",
    "l2_share": "multiple of the data-sheet memory bandwidth",
    "tensor_share": "share of the dense tensor peak",
    "gemm_us": "µs",
    "matvec_us": "µs",
    "elementwise_us": "µs",
    "reduction_us": "µs",
    "attention_us": "µs",
    "elements_per_clock": "elements per clock and SM",
    "scores_per_clock": "scores per clock and SM",
}
OWN: Final = (
    "elementwise_us",
    "reduction_us",
    "attention_us",
    "elements_per_clock",
    "scores_per_clock",
)
"""Constants that GEMM tables do not give."""
PER_CLOCK: Final = ("elements_per_clock", "scores_per_clock")
TABLE: Final = "GEMM table of aiconfigurator-core 0.12.0, vLLM runs (NVIDIA, Apache-2.0)"
PROFILE: Final = "decode families of the Nsight profile in CodeGandee/llm-perf-opt (MIT)"


@dataclass
class Result:
    """The constants of a GPU, where each comes from, and errors by kind of kernel."""

    hardware_id: str
    gpu: Gpu
    constants: Constants
    origin: dict[str, tuple[str, str]]
    errors: dict[str, Errors] = field(default_factory=dict)

    def inherit(self, other: Result, names: Iterable[str]) -> None:
        """Take constants over from another GPU."""
        values = {name: getattr(other.constants, name) for name in names}
        self.constants = dataclasses.replace(self.constants, **values)
        self.origin |= dict.fromkeys(values, ("inherited", f"from {other.hardware_id}"))


def from_tables(folder: Path, hardware_id: str) -> Result:
    """Return the constants of GEMMs, with the error on the held-out half of the table."""
    gpu = gpu_of(hardware_id)
    calibration, held_out = halves(gemms(folder, hardware_id))
    share = bandwidth_share(gpu, gemms(folder, hardware_id, largest=1 << 30))
    constants = fit_gemm(hardware_id, share, calibration)
    origin = dict.fromkeys(("bandwidth_share", "tensor_share", "gemm_us"), ("measured", TABLE))
    if hardware_id not in HBM:
        origin["l2_share"] = ("measured", TABLE)
    if hardware_id in MATVEC:
        origin["matvec_us"] = ("measured", TABLE)
    result = Result(hardware_id, gpu, constants, origin)
    result.errors["GEMM, held-out half of the table"] = Errors.of(
        predict_gemms(gpu, constants, held_out), held_out.us
    )
    return result


def runs(hardware_id: str) -> list[Path]:
    """Return the folders of own measurements of a GPU."""
    return sorted((MEASUREMENTS / hardware_id).glob("run-*"))


def add_own(result: Result) -> None:
    """Derive the other constants from the first run's single operators; test on the last run's."""
    first, *_ = every = runs(result.hardware_id)
    result.constants = fit_own(result.gpu, result.constants, own_records(first / "kernels.json"))
    source = f"single operators, data/measurements/{result.hardware_id}/{first.name}/kernels.json"
    result.origin |= dict.fromkeys(OWN, ("measured", source))
    tested = "another machine" if len(every) > 1 else "same run; only linear is held out"
    by: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for record in own_records(every[-1] / "kernels.json"):
        us = predict_own(result.gpu, result.constants, record)
        if us is not None:
            by[record["family"] if record["family"] != "gemm" else "linear"].append(
                (us, record["us"])
            )
    for name, pairs in by.items():
        result.errors[f"single operators: {name} ({tested})"] = Errors.of(*zip(*pairs, strict=True))


def rtx_5090(profile: Path, h100: Result, rtx_pro: Result) -> Result:
    """Return the constants of the RTX 5090, from the decode families of its profile."""
    gpu = gpu_of(RTX_5090)
    result = Result(RTX_5090, gpu, rtx_pro.constants, {})
    result.inherit(rtx_pro, ("tensor_share", "gemm_us", "l2_share"))
    result.inherit(h100, PER_CLOCK)
    decode = pass_kernels(PUBLISHED_WORKLOAD)["decode"]
    result.constants = fit_profile(gpu, profile, decode_bytes(decode), result.constants)
    measured = (
        "bandwidth_share",
        "matvec_us",
        "elementwise_us",
        "reduction_us",
        "attention_us",
    )
    result.origin |= dict.fromkeys(measured, ("measured", PROFILE))
    return result


def decode_bytes(kernels: Sequence[PassKernel]) -> DecodeBytes:
    """Return what a decode step's matrix-vector products and one attention call move."""
    products = [k for k in kernels if k.kind == "matvec"]
    attention = next(k for k in kernels if k.kind == "attention")
    return DecodeBytes(
        sum(k.launches * k.num_bytes for k in products),
        max(k.num_bytes for k in products),
        attention.num_bytes,
    )


def derive(folder: Path, profile: Path | None) -> dict[str, Result]:
    """Return the constants of every GPU that has a table or a profile."""
    results = {hardware_id: from_tables(folder, hardware_id) for hardware_id in SYSTEMS}
    for hardware_id in ("h100-sxm", "h200-sxm"):
        add_own(results[hardware_id])
    h100 = results["h100-sxm"]
    for hardware_id in ("a100-80gb-sxm", "b200-sxm"):
        results[hardware_id].inherit(h100, OWN)
    if profile is not None:
        results[RTX_5090] = rtx_5090(profile, h100, results["rtx-pro-6000"])
    donor = results.get(RTX_5090, h100)
    for hardware_id in ("l40s", "rtx-pro-6000"):
        results[hardware_id].inherit(donor, ("elementwise_us", "reduction_us", "attention_us"))
        results[hardware_id].inherit(h100, PER_CLOCK)
    return results


def write(result: Result) -> None:
    """Write the constants of a GPU to ``data/calibration/ID.yaml``."""
    constants: dict[str, Any] = {}
    for name, unit in UNITS.items():
        value = getattr(result.constants, name)
        if value is not None:
            kind, source = result.origin[name]
            constants[name] = {
                "value": float(f"{value:.3g}"),
                "unit": unit,
                "kind": kind,
                "source": source,
            }
    errors = {
        name: {
            "count": e.count,
            **{key: round(getattr(e, key), 3) for key in ("mean", "median", "p90", "bias")},
        }
        for name, e in result.errors.items()
    }
    content: dict[str, Any] = {"hardware_id": result.hardware_id, "constants": constants}
    if errors:
        content["relative_errors"] = errors
    OUTPUT.mkdir(parents=True, exist_ok=True)
    yaml = YAML()
    yaml.width = 100
    with (OUTPUT / f"{result.hardware_id}.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def show_constants(results: Iterable[Result]) -> None:
    """Print the constants and the errors of each GPU as tables."""
    print("| GPU |", " | ".join(UNITS), "|")
    print("|---" * (1 + len(UNITS)) + "|")
    results = list(results)
    for r in results:
        cells = []
        for name in UNITS:
            value = getattr(r.constants, name)
            mark = {"measured": "", "inherited": "*"}.get(r.origin.get(name, ("", ""))[0], "")
            cells.append("–" if value is None else f"{value:.3g}{mark}")
        print(f"| {r.hardware_id} |", " | ".join(cells), "|")
    print("\n* inherited\n")
    print("| GPU | data | cases | mean | median | p90 | bias |")
    print("|---|---|---|---|---|---|---|")
    for r in results:
        for name, e in r.errors.items():
            shares = " | ".join(f"{v:.1%}" for v in (e.mean, e.median, e.p90))
            print(f"| {r.hardware_id} | {name} | {e.count} | {shares} | {e.bias:+.1%} |")


def show_passes(comparisons: Iterable[Comparison]) -> None:
    """Print predicted and measured kernel time of each pass."""
    print("\n| GPU | workload | pass | predicted, ms | measured, ms | error | launches |")
    print("|---|---|---|---|---|---|---|")
    for c in comparisons:
        if c.pass_id.startswith("projector"):
            continue  # 10 to 30 µs
        times = f"{c.predicted / 1000:.2f} | {c.measured.us / 1000:.2f} | {c.error:+.1%}"
        launches = f"{c.launches:.0f} of {c.measured.launches:.0f}"
        print(f"| {c.gpu} | {c.workload} | {c.pass_id} | {times} | {launches} |")


def show_profile(profile: Path, result: Result) -> None:
    """Print predicted and measured ranges of the RTX 5090 profile."""
    print("\n| RTX 5090 profile | predicted, ms | measured, ms | error | use |")
    print("|---|---|---|---|---|")
    for row in profile_rows(profile, PUBLISHED_WORKLOAD, result.gpu, result.constants):
        times = f"{row.predicted / 1000:.3f} | {row.measured / 1000:.3f} | {row.error:+.1%}"
        print(f"| {row.name} | {times} | {row.use} |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Derive, print and, if asked to, write the constants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tables", type=Path, help="folder of GEMM tables")
    parser.add_argument("--profile", type=Path, help="folder of the RTX 5090 profile")
    parser.add_argument("--write", action="store_true", help="write data/calibration/ID.yaml")
    options = parser.parse_args(arguments)
    results = derive(tables_folder(options.tables), options.profile)
    show_constants(results.values())
    cache: dict[str, dict[str, list[PassKernel]]] = {}
    show_passes(
        comparison
        for hardware_id in ("h100-sxm", "h200-sxm")
        for run in runs(hardware_id)
        for comparison in compare(
            hardware_id, run, results[hardware_id].gpu, results[hardware_id].constants, cache
        )
    )
    if options.profile is not None:
        show_profile(options.profile, results[RTX_5090])
    if options.write:
        for result in results.values():
            write(result)


if __name__ == "__main__":
    main()
