"""Measure shipped workloads on a GPU: python -m benchmarks.gpu FOLDER [WORKLOAD …].

Writes each file as soon as its step is done, so that a run that is cut off still leaves data:

``kernels.json``
    launch costs, and kernel times of single operators at the model's shapes
``passes/ID.json``
    every kernel of every pass, as the profiler records it
``engine.json``
    a decode step as a serving engine schedules it
``trace/``
    what PyTorch counted on the GPU
``ID.json``
    a measurement file of each workload (batch 1 and 8, eager and with CUDA graphs);
    a site shows them with ``measurements: [FOLDER]``
``workloads/ID.yaml``
    the workloads that were measured

Last it looks for the largest batch. It fails where a step failed, or where the trace differs from
the formulas.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.build.trace_store import trace_model
from mkdocs_dsocr.inputs import ModelConfig, load_workload, shipped
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.measurement_plan import Task, tasks
from mkdocs_dsocr.tracing import Measurer

BATCHES: Final = (1, 8)
RECORDED_BATCHES: Final = (1, 8, 64)
"""Batches whose kernels are recorded."""
PUBLISHED: Final = Path(__file__).parent / "workloads/dsocr-grid-2x3-autocast.yaml"
"""A workload whose kernels somebody else published; only its passes are recorded."""
DECODE_STEPS: Final = 8
"""Steps in the recording of a decode pass."""


class Run:
    """The steps of one run, and the sentences of those that failed."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self._start = time.perf_counter()

    def step(self, name: str, do: Callable[[], object]) -> None:
        """Do a step; a failure is recorded and does not end the run."""
        begin = time.perf_counter()
        try:
            do()
        except Exception as error:  # the next step may still give data
            traceback.print_exc()
            self.failures.append(f"{name}: {error!r}")
        now = time.perf_counter()
        print(f"{now - self._start:7.1f} s  {now - begin:6.1f} s  {name}", flush=True)


def variant(name: str, batch: int, host_mode: str, folder: Path) -> str:
    """Write a workload with another batch and host mode, and return its path."""
    fields = load_workload(name).model_dump(mode="json", exclude_unset=True)
    if batch > 1:
        fields |= {"profile_id": f"{fields['profile_id']}-batch-{batch}"}
        fields |= {"batch_size": batch, "num_pages": batch}
    if host_mode != "eager":
        fields |= {"profile_id": f"{fields['profile_id']}-graph", "host_mode": host_mode}
    path = folder / f"{fields['profile_id']}.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(fields, file)
    return str(path)


def analyses(
    names: Sequence[str], batches: Sequence[int], host_mode: str, model: str, folder: Path
) -> list[Analysis]:
    """Return an analysis for each workload and batch."""
    files = [variant(n, b, host_mode, folder / "workloads") for b in batches for n in names]
    return [row[0] for row in pipeline.analyse(pipeline.Settings(model, tuple(files)))]


def pass_kernels(measurer: Measurer, analysis: Analysis) -> Iterator[dict[str, Any]]:
    """Yield every kernel of each pass of a workload; of a loop, at its middle step."""
    from benchmarks.kernels import device_events, summaries

    for task in tasks(analysis.plan, analysis.nodes):
        if not task.modules:  # the first or last step of a loop
            continue
        call, calls = measurer.pass_call(task.shape), 1
        if task.shape.pass_id == "decode":
            calls = DECODE_STEPS
        for _ in range(3):
            call()
        events = device_events(partial(_repeat, call, calls))
        yield {
            "shape": dataclasses.asdict(task.shape),
            "calls": calls,
            "launches": len(events) / calls,
            "kernel_ms": sum(time_us for _, time_us in events) / calls / 1000,
            "kernels": summaries(events),
        }


def measure_graphs(
    measurer: Measurer, analysis: Analysis, eager: Path, repeats: int
) -> dict[str, Any]:
    """Return a measurement with decode replayed from a graph, all other passes as in `eager`."""
    found = json.loads(eager.read_text(encoding="utf-8"))
    decode = [t for t in tasks(analysis.plan, analysis.nodes) if t.shape.pass_id == "decode"]
    bare = [Task(t.shape) for t in decode]
    graph = measurer.measure(
        analysis.workload.profile_id, bare, cuda_graph=True, repeats=repeats
    ).model_dump(mode="json")
    others = [p for p in found["passes"] if p["shape"]["pass_id"] != "decode"]
    return graph | {"passes": [*others, *graph["passes"]]}


def save(path: Path, content: object) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _engine(config: ModelConfig, file: Path) -> None:
    """Record an engine's decode steps; the import compiles, so only a GPU's run pays it."""
    from benchmarks.engine_step import engine_steps

    save(file, list(engine_steps(config)))


def main(
    folder: Path,
    names: Sequence[str] = (),
    model: str = "deepseek-ocr-v1-base",
    device: str = "cuda",
    repeats: int = 20,
) -> list[str]:
    """Measure, trace, and return a sentence for each step or comparison that failed."""
    from benchmarks.kernels import main as kernels

    on_gpu, run = device == "cuda", Run()
    names = names or shipped("workloads")
    folder.mkdir(parents=True, exist_ok=True)
    eager = analyses(names, BATCHES, "eager", model, folder)
    if on_gpu:
        run.step("kernel times", partial(kernels, folder / "kernels.json", device))
    measurer = Measurer(eager[0].config, device, print)
    if on_gpu:
        run.step("trace", lambda: run.failures.extend(_trace(eager, "cuda", folder / "trace")))
        published = analyses([str(PUBLISHED)], (1,), "eager", model, folder)
        for analysis in (*published, *analyses(names, RECORDED_BATCHES, "eager", model, folder)):
            file = folder / "passes" / _file(analysis)
            run.step(f"kernels of {file.stem}", partial(_passes, measurer, analysis, file))
        run.step("engine", partial(_engine, eager[0].config, folder / "engine.json"))
    for analysis in eager:
        file = folder / _file(analysis)
        run.step(file.stem, partial(_eager, measurer, analysis, file, repeats))
    graphs = analyses(names, BATCHES, "cuda_graph", model, folder) if on_gpu else []
    for before, after in zip(eager, graphs, strict=False):
        file = folder / _file(after)
        run.step(file.stem, partial(_graph, measurer, after, folder / _file(before), file, repeats))
    if not on_gpu:
        run.step("trace", lambda: run.failures.extend(_trace(eager, "meta", folder / "trace")))
    for analysis in eager if on_gpu else ():
        if analysis.plan.batch == 1:
            file = folder / _file(analysis)
            run.step(f"largest batch: {file.stem}", partial(_capacity, measurer, analysis, file))
    return run.failures


def _file(analysis: Analysis) -> str:
    return f"{analysis.workload.profile_id}.json"


def _repeat(call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        call()


def _passes(measurer: Measurer, analysis: Analysis, file: Path) -> None:
    save(file, list(pass_kernels(measurer, analysis)))


def _graph(measurer: Measurer, analysis: Analysis, eager: Path, file: Path, repeats: int) -> None:
    save(file, measure_graphs(measurer, analysis, eager, repeats))


def _eager(measurer: Measurer, analysis: Analysis, file: Path, repeats: int) -> None:
    found = measurer.measure(
        analysis.workload.profile_id, tasks(analysis.plan, analysis.nodes), repeats=repeats
    )
    save(file, found.model_dump(mode="json"))


def _trace(eager: Sequence[Analysis], device: str, folder: Path) -> list[str]:
    """Trace on a device, keep what was counted, and compare it with the formulas."""
    rows = tuple((analysis,) for analysis in eager)
    static = trace_model(rows, device, print)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in static.artifacts.items():
        (folder / name).write_text(text, encoding="utf-8")
    verification = pipeline.complete(rows, static).verification
    (folder / "verification.json").write_text(verification.to_json(), encoding="utf-8")
    return verification.failures


def _capacity(measurer: Measurer, analysis: Analysis, file: Path) -> None:
    found = json.loads(file.read_text(encoding="utf-8"))
    held = measurer.largest_batch(analysis.batches)
    save(file, found | {"capacity": held.model_dump(mode="json")})


if __name__ == "__main__":
    sys.exit("\n".join(main(Path(sys.argv[1]), sys.argv[2:], repeats=10)) or None)
