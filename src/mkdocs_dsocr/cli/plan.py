"""The command ``dsocr plan``: how many GPUs a number of pages per day needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from mkdocs_dsocr.cli.command import Command, say, show, show_json
from mkdocs_dsocr.cli.options import HARDWARE, RATE, json_option, model_option, workload_option
from mkdocs_dsocr.text import counted

if TYPE_CHECKING:
    from mkdocs_dsocr.inputs import Hardware
    from mkdocs_dsocr.serving.chips import Required
    from mkdocs_dsocr.serving.planning import Fleet
    from mkdocs_dsocr.serving.simulation import Percentiles

CHEAPEST: Final = 3
"""Configurations that are named first."""


@click.command(cls=Command)
@click.option("--pages-per-day", type=RATE, required=True, help="Pages per day, evenly over it.")
@click.option("--ttft-ms", type=RATE, help="Longest mean time to the first token, ms.")
@click.option("--tpot-ms", type=RATE, help="Longest mean time per output token, ms.")
@click.option(
    "--hardware",
    multiple=True,
    type=HARDWARE,
    help="Id or path; may be given often. All that ship otherwise.",
)
@click.option(
    "--require",
    is_flag=True,
    help="Print what a chip needs instead: rates and memory, scaled from --hardware (h100-sxm).",
)
@click.option(
    "--gpus",
    type=click.IntRange(1, 10**6),
    help="With --require: equal chips that share the pages.  [default: 1]",
)
@click.option(
    "--p99",
    is_flag=True,
    help="Simulate the three cheapest with requests at random times: 99th percentiles.",
)
@model_option
@workload_option
@json_option("the rows, and the settings of the engine,")
def plan(
    pages_per_day: float,
    ttft_ms: float | None,
    tpot_ms: float | None,
    hardware: tuple[str, ...],
    require: bool,
    gpus: int | None,
    p99: bool,
    model: str,
    workload: str,
    as_json: bool,
) -> None:
    """Print how many GPUs of each profile read a number of pages per day, and what binds.

    One engine with the whole model runs on each GPU. The key `serving` of the workload has the
    engine's settings; its engine and batch are not used. Prices are examples, energy is an upper
    estimate: board power for every second.
    """
    from mkdocs_dsocr.inputs import load_hardware, load_workload, shipped
    from mkdocs_dsocr.models import load_model_config
    from mkdocs_dsocr.resources import DEFAULT_PLANNED
    from mkdocs_dsocr.serving.chips import required
    from mkdocs_dsocr.serving.planning import Engines, Target
    from mkdocs_dsocr.serving.steps import engine_workload

    _check(require=require, p99=p99, gpus=gpus)
    config, page = load_model_config(model), load_workload(workload)
    target = Target(pages_per_day, ttft_ms, tpot_ms)
    rows: Sequence[Required] | Sequence[Fleet]
    simulated: list[Percentiles] = []
    if require:
        chip = _one(hardware, DEFAULT_PLANNED)
        rows = required(config, page, load_hardware(chip), target, gpus or 1, workload)
    else:
        profiles = [load_hardware(value) for value in hardware or shipped("hardware")]
        engines = Engines(config, page, profiles, workload)
        rows = engines.fleets(target)
        if p99:
            simulated = [engines.percentiles(row, target) for row in _cheapest(rows)]
    serving = engine_workload(config, page).serving
    assert serving is not None  # an engine's workload has settings
    if as_json:
        show_json(
            {
                "target": dataclasses.asdict(target),
                "rows": [dataclasses.asdict(row) for row in rows],
                "simulated": [dataclasses.asdict(row) for row in simulated],
                "serving": serving.model_dump(mode="json"),
            }
        )
        return
    for line in _required(rows) if require else _fleets(rows, profiles):  # type: ignore[arg-type]
        show(line)
    for row in simulated:
        tpot = _number(row.tpot_p99_ms, 2)
        show(f"  {row.hardware_id}: 99 % below TTFT {row.ttft_p99_ms:,.0f} ms, TPOT {tpot} ms")
    settings = ", ".join(f"{name} {value:g}" for name, value in serving if name != "draft_tokens")
    say(f"engine (assumed): {settings}")


def _check(*, require: bool, p99: bool, gpus: int | None) -> None:
    """Refuse options that do not go together.

    Raises
    ------
    InputError
        If there are any.
    """
    from mkdocs_dsocr.inputs import InputError

    if p99 and require:
        raise InputError("option", "--p99", "--p99 with --require", "one of the two")
    if gpus is not None and not require:
        raise InputError("option", "--gpus", str(gpus), "only with --require: a plan finds it")


def _one(hardware: tuple[str, ...], default: str) -> str:
    """Return the profile to scale.

    Raises
    ------
    InputError
        If several are given.
    """
    from mkdocs_dsocr.inputs import InputError

    if len(hardware) > 1:
        allowed = "one profile with --require: its rates are scaled"
        raise InputError("option", "--hardware", f"{len(hardware)} profiles", allowed)
    return hardware[0] if hardware else default


def _fleets(rows: Sequence[Fleet], profiles: Sequence[Hardware]) -> list[str]:
    """Return the table of fleets, and the cheapest ones in a sentence each."""
    names = {gpu.hardware_id: gpu.name for gpu in profiles}
    able = [row for row in rows if row.gpus is not None]
    lines = [
        f"{'GPU':18} {'GPUs':>9} {'concurrency':>11} {'pages/s':>8} {'tokens/s':>9} {'TTFT ms':>8} "
        f"{'TPOT ms':>8} {'KV':>5} {'USD/h':>9} {'USD/1000':>9} {'kWh/1000':>9}  binds"
    ]
    for row in able:
        latencies = f"{_number(row.ttft_ms, 1):>8} {_number(row.tpot_ms, 2):>8}"
        lines.append(
            f"{row.hardware_id:18} {row.number:>9} {row.concurrency:11,} {row.pages_per_s:8.2f} "
            f"{row.tokens_per_s:9,.0f} {latencies} {row.kv_share:5.0%} "
            f"{_number(row.usd_per_hour, 2):>9} {_number(row.usd_per_1000_pages, 4):>9} "
            f"{_number(row.kwh_per_1000_pages, 4):>9}  {row.binds}"
        )
    lines += [f"{row.hardware_id:18} {row.number:>9}  {row.binds}" for row in rows if not row.gpus]
    cheapest = _cheapest(rows)
    if cheapest:
        lines += ["", "Cheapest (prices are examples):"]
    for row in cheapest:
        pages = counted(row.concurrency, "page")
        lines.append(
            f"  {row.number} × {names[row.hardware_id]}, {pages} at once "
            f"on each: {row.usd_per_hour:,.2f} USD/h; {row.binds} binds"
        )
    if able:
        lines.append(
            f"All of them: {counted(able[0].workers, 'busy CPU worker')}, "
            f"{able[0].gbit_per_s:.3g} Gbit/s of pages over the network"
        )
    return lines


def _cheapest(rows: Sequence[Fleet]) -> list[Fleet]:
    """Return the cheapest fleets: rows are in the order of their price."""
    return [row for row in rows if row.gpus and row.usd_per_hour is not None][:CHEAPEST]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _required(rows: Sequence[Required]) -> list[str]:
    """Return the table of what a chip needs."""
    lines = [f"{'concurrency':>11} {'TFLOP/s':>9} {'GB/s':>9} {'memory, GB':>10}"]
    for row in rows:
        rates = (row.tensor_tflops, row.bandwidth_gb_s)
        words = " ".join(f"{_number(rate, 1) if rate else 'none':>9}" for rate in rates)
        lines.append(f"{row.concurrency:11,} {words} {row.memory_bytes / 1e9:10.2f}")
    return lines
