"""Constants of the time model, with their errors: python -m benchmarks.calibrate.

Needs ``aiconfigurator-core==0.12.0`` (for its GEMM tables) and ``pyarrow``: ``nox -s calibrate``.
Derives the constants of each GPU, prints them beside those of its profile, prints the errors on
held-out data, and fails if a profile has another constant.

Options::

    --tables FOLDER    GEMM tables, if the package is not installed for this interpreter
    --profile FOLDER   kernel families of the published RTX 5090 profile (kernels-*.csv)

A constant is *measured* (from a table or profile of this GPU), *inherited* (from the named GPU) or
*assumed*. No constant is fitted to a figure that is shown as validation.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from benchmarks.calibration_profile import fit_profile
from benchmarks.calibration_tables import (
    SYSTEMS,
    Constants,
    Errors,
    bandwidth_share,
    fit_gemm,
    fit_own,
    gemms,
    halves,
    own_records,
    predict_gemms,
    predict_own,
    sector_share,
    tables_folder,
    with_constants,
)
from mkdocs_dsocr.inputs import load_hardware

ROOT: Final = Path(__file__).parents[1]
MEASUREMENTS: Final = ROOT / "data/measurements"
RECORDED: Final = Path(__file__).parent / "results/calibration.json"
OWN: Final = ("h100-sxm", "h200-sxm")
"""GPUs that this project measured."""
TOLERANCE: Final = 0.01
"""Profiles have three digits."""

Found = dict[str, dict[str, Errors]]
"""Errors by GPU and data."""


def derived(folder: Path, profile: Path | None, errors: Found) -> Iterator[tuple[str, Constants]]:
    """Yield the measured constants of each GPU; errors are added to `errors`."""
    for hardware_id in SYSTEMS:
        hardware, table = load_hardware(hardware_id), gemms(folder, hardware_id)
        calibration, held_out = halves(table)
        share = bandwidth_share(hardware, gemms(folder, hardware_id, largest=1 << 30))
        constants = fit_gemm(hardware, share, calibration)
        predicted = predict_gemms(with_constants(hardware, constants), held_out)
        errors[hardware_id]["products, held-out half of the table"] = Errors.of(
            predicted, held_out.us
        )
        if hardware_id in OWN:
            constants = _own(hardware_id, constants, errors)
        yield hardware_id, constants
    if profile is not None:
        yield "rtx-5090", fit_profile(load_hardware("rtx-5090"), profile, {})


def _own(hardware_id: str, constants: Constants, errors: Found) -> Constants:
    """Return constants with those of single operators: the first run; tested on the last one."""
    hardware = load_hardware(hardware_id)
    first, *_ = runs = sorted((MEASUREMENTS / hardware_id).glob("run-*"))
    constants = fit_own(hardware, constants, own_records(first / "kernels.json"))
    for permuted in (MEASUREMENTS / hardware_id).glob("permuted-*"):
        records = own_records(permuted / "kernels.json")
        constants["sector_share"] = sector_share(hardware, constants, records)
    tested = "another machine" if len(runs) > 1 else "same run; only products are held out"
    by: dict[str, list[tuple[float, float]]] = defaultdict(list)
    per = with_constants(hardware, constants)
    for record in own_records(runs[-1] / "kernels.json"):
        us = predict_own(per, record)
        if us is not None:
            by[record["family"]].append((us, record["us"]))
    for name, pairs in by.items():
        predicted, measured = zip(*pairs, strict=True)
        errors[hardware_id][f"single operators: {name} ({tested})"] = Errors.of(predicted, measured)
    return constants


def differences(hardware_id: str, constants: Constants) -> Iterator[str]:
    """Yield what is different in a shipped profile; print each constant."""
    shipped = load_hardware(hardware_id).constants
    for name, value in constants.items():
        given, of = shipped[name]
        print(f"{hardware_id} {name}: {value:.4g}, in the profile {given:g} ({of.kind})")
        if abs(value - given) > TOLERANCE * given:
            yield f"{hardware_id}: {name} is {given:g}, and {value:.3g} is derived"


def main(arguments: Sequence[str] | None = None) -> int:
    """Derive and compare the constants, and record their errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tables", type=Path, help="folder of GEMM tables")
    parser.add_argument("--profile", type=Path, help="folder of the RTX 5090 profile")
    options = parser.parse_args(arguments)
    errors: Found = defaultdict(dict)
    wrong = [
        line
        for hardware_id, constants in derived(
            tables_folder(options.tables), options.profile, errors
        )
        for line in differences(hardware_id, constants)
    ]
    found = {
        hardware_id: {
            name: {key: round(value, 4) for key, value in asdict(e).items()}
            for name, e in by.items()
        }
        for hardware_id, by in errors.items()
    }
    RECORDED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1), *wrong, sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
