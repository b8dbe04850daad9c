"""Predicted against measured kernel times; the page *Accuracy*, run by mkdocs-gen-files.

``python -m benchmarks.accuracy`` prints every row and records the error that the tests allow.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from ruamel.yaml import YAML

from mkdocs_dsocr.build.pipeline import Settings, analyse
from mkdocs_dsocr.cost.rates import ms_per
from mkdocs_dsocr.cost.workload import WorkloadCost, workload_cost
from mkdocs_dsocr.inputs import load_hardware, load_workload
from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.trace import PassShape

ROOT: Final = Path(__file__).parents[1]
MEASUREMENTS: Final = ROOT / "data/measurements"
RECORDED: Final = Path(__file__).parent / "results/accuracy.json"
MODEL: Final = "deepseek-ocr-v1-base"
VALIDATION, REPRODUCTION = "validation", "reproduction"


@dataclass(frozen=True)
class Row:
    """A measured figure and its prediction, in ms.

    Attributes
    ----------
    hardware, run, workload, figure
        What was measured, and where.
    batch
        Pages that are decoded together.
    kind
        ``validation``: it set no constant; ``reproduction``: the constants of this GPU come from
        data that contain it.
    shape
        What ran, where the project measured it. Several runs and batches have the same one.
    """

    hardware: str
    run: str
    workload: str
    figure: str
    batch: int
    measured_ms: float
    predicted_ms: float
    kind: str
    shape: PassShape | None = None

    @property
    def error(self) -> float:
        """The signed relative error."""
        return self.predicted_ms / self.measured_ms - 1


@lru_cache(maxsize=64)
def _cost(path: Path) -> WorkloadCost:
    return workload_cost(load_model_config(MODEL), load_workload(str(path)), path.name)


def own_rows() -> Iterator[Row]:
    """Yield the kernel time of every pass that this project measured."""
    for file in sorted(MEASUREMENTS.glob("*/*/passes/*.json")):
        run = file.parents[1]
        hardware, cost = run.parent.name, _cost(run / "workloads" / f"{file.stem}.yaml")
        per = ms_per(load_hardware(hardware))
        for found in json.loads(file.read_text(encoding="utf-8")):
            shape = PassShape(**found["shape"])
            yield Row(
                hardware,
                run.name,
                file.stem,
                shape.pass_id,
                cost.plan.batch,
                found["kernel_ms"],
                cost.pass_cost(shape).on(per).device_ms,
                VALIDATION,
                shape,
            )


def published_rows() -> Iterator[Row]:
    """Yield figures that others published."""
    for file in sorted((MEASUREMENTS / "published").glob("*.yaml")):
        content = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
        hardware, cost = load_hardware(content["hardware"]), _cost(ROOT / content["workload"])
        nodes = cost.on(hardware).nodes
        for row in content["rows"]:
            node = nodes[row["module"]]
            total = node.total
            steps = cost.plan.steps if row["module"].startswith("decode") else 1
            ms = total.host_time_ms if row.get("host") else total.device_time_ms
            figure = f"{row['figure']} ({row['id']})"
            yield Row(
                content["hardware"],
                "published",
                cost.workload.profile_id,
                figure,
                cost.plan.batch,
                row["measured_ms"],
                ms / steps,
                row["kind"],
            )


def not_comparable() -> Iterator[tuple[str, str, str]]:
    """Yield the source, the rows and the reason of published figures that are no rows here."""
    for file in sorted((MEASUREMENTS / "published").glob("*.yaml")):
        content = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
        for row in content["not_comparable"]:
            yield file.stem, row["id"], row["why"]


def rows() -> list[Row]:
    """Return every row."""
    return [*published_rows(), *own_rows()]


@dataclass(frozen=True)
class LaunchRow:
    """A decode step that was launched operator by operator: what the CPU took for it.

    Attributes
    ----------
    hardware, run, workload
        What was measured, and where.
    launches
        Operators of a step.
    measured_ms, device_ms, predicted_ms
        Wall time and kernel time of a step, and the predicted wall time.
    """

    hardware: str
    run: str
    workload: str
    launches: float
    measured_ms: float
    device_ms: float
    predicted_ms: float

    @property
    def launch_us(self) -> float:
        """The wall time per operator."""
        return 1000 * self.measured_ms / self.launches


def launch_rows() -> Iterator[LaunchRow]:
    """Yield the mean decode step of every eager workload that this project measured."""
    for file in sorted(MEASUREMENTS.glob("*/*/*.json")):
        run, source = file.parent, file.parent / f"workloads/{file.stem}.yaml"
        if not source.exists():
            continue
        settings = Settings(
            MODEL, (str(source),), (run.parent.name,), measurements=(str(file),), base=ROOT
        )
        [[analysis]] = analyse(settings)
        if analysis.workload.host_mode != "eager" or analysis.comparison is None:
            continue
        decode = next(row for row in analysis.comparison.stages if row.stage == "decode")
        assert decode.device_ms is not None  # a GPU says how long its kernels took
        steps = analysis.plan.steps
        yield LaunchRow(
            run.parent.name,
            run.name,
            file.stem,
            decode.dispatches / steps,
            decode.measured_ms / steps,
            decode.device_ms / steps,
            analysis.stage_times["decode"].time_ms / steps,
        )


def by_shape(found: Iterable[Row]) -> list[list[Row]]:
    """Return rows by GPU, figure and shape: runs that differ in something else are together."""
    groups: dict[tuple[str, str, PassShape | None], list[Row]] = {}
    for row in found:
        groups.setdefault((row.hardware, row.figure, row.shape), []).append(row)
    return list(groups.values())


def mean_error(found: Iterable[Row]) -> float:
    """Return the mean absolute relative error of distinct shapes, each the mean of its rows."""
    return statistics.fmean(
        statistics.fmean(abs(row.error) for row in group) for group in by_shape(found)
    )


def validation(found: Sequence[Row]) -> dict[str, float]:
    """Return the mean absolute error over validation rows, by figure and GPU."""
    groups: dict[str, list[Row]] = {}
    for row in found:
        if row.kind == VALIDATION:
            groups.setdefault(f"{row.hardware}: {row.figure}", []).append(row)
    return {name: round(mean_error(group), 4) for name, group in sorted(groups.items())}


def lines(found: Sequence[Row]) -> list[str]:
    """Return a line of text for each row, the largest error first."""
    ordered = sorted(found, key=lambda row: -abs(row.error))
    return [
        f"{row.error:+7.1%}  {row.predicted_ms:10.4g} ms for {row.measured_ms:10.4g} ms  "
        f"{row.hardware}/{row.run} {row.workload}: {row.figure} ({row.kind})"
        for row in ordered
    ]


if __name__ == "__main__":
    every = rows()
    print("\n".join(lines(every)))
    checked = [row for row in every if row.kind == VALIDATION]
    print(f"{len(checked)} validation rows, mean absolute error {mean_error(checked):.1%}")
    RECORDED.write_text(json.dumps(validation(every), indent=1) + "\n", encoding="utf-8")
