"""Times of every pass and every distinct module of the reference model on a real device."""

from __future__ import annotations

import dataclasses
import gc
import platform
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Final

import torch
from torch import nn

from mkdocs_dsocr import __version__
from mkdocs_dsocr.inputs import InputError, ModelConfig
from mkdocs_dsocr.inputs.measurement import (
    SCHEMA_VERSION,
    Capacity,
    MeasuredModule,
    MeasuredPass,
    Measurement,
    fingerprint,
)
from mkdocs_dsocr.models import model_of
from mkdocs_dsocr.patterns import expand
from mkdocs_dsocr.report.measurement_plan import Batches, Task
from mkdocs_dsocr.trace import PassShape
from mkdocs_dsocr.tracing.autocast import autocast
from mkdocs_dsocr.tracing.capacity import capacity
from mkdocs_dsocr.tracing.counter import EVERYTHING, OperatorCounter
from mkdocs_dsocr.tracing.modules import Modules
from mkdocs_dsocr.tracing.session import Session, build_session
from mkdocs_dsocr.tracing.stopwatch import (
    achieved,
    device_name,
    device_work,
    synchronise,
    timing,
)

INPUT_SETS: Final = 3
"""Inputs that a pass uses in turn, so that no run finds its own in a hardware cache."""
INSTANCES: Final = 16
"""Equal modules that are timed in one run, so that only the first pays the start of a call."""


class Measurer:
    """A model with random bfloat16 weights on a device, and what the device achieves.

    Parameters
    ----------
    config
        Dimensions of the model.
    device
        ``cuda`` or ``cpu``.
    progress
        Called with a line for each step.
    """

    def __init__(
        self, config: ModelConfig, device: str, progress: Callable[[str], None] = lambda _: None
    ) -> None:
        self._progress = progress
        progress(f"building the model on {device_name(device)}")
        self._session = build_session(config, device)
        progress("measuring ceilings")
        self._ceilings = achieved(device)

    def measure(
        self,
        profile_id: str,
        tasks: Sequence[Task],
        *,
        cuda_graph: bool = False,
        repeats: int = 20,
        batches: Batches | None = None,
    ) -> Measurement:
        """Return the times of passes and modules.

        Parameters
        ----------
        profile_id
            The id of the workload that `tasks` come from.
        tasks
            What is run.
        cuda_graph
            Replay decode steps from a CUDA graph instead of launching each kernel.
        repeats
            Timed calls of each pass and module.
        batches
            If given, the largest batch that fits on the GPU is measured as well.

        Raises
        ------
        InputError
            If a decode step cannot be captured.
        """
        session, passes, held = self._session, [], None
        for task in tasks:
            self._progress(f"{profile_id}: measuring {task.shape.pass_id}")
            graph = cuda_graph and task.shape.pass_id == "decode"
            passes.append(_measure_pass(session, task, graph, repeats))
        if batches is not None:
            self._progress(f"{profile_id}: looking for the largest batch")
            held = self.largest_batch(batches)
        now = datetime.now(UTC).replace(microsecond=0)
        return Measurement(
            schema_version=SCHEMA_VERSION,
            run_id=_run_id(f"{profile_id}-{session.device}", now),
            measured_at=now.isoformat(),
            model_variant=session.config.variant,
            model_fingerprint=fingerprint(session.config),
            profile_id=profile_id,
            device=device_name(session.device),
            versions=_versions(session),
            mode="cuda_graph" if cuda_graph else "eager",
            achieved=self._ceilings,
            weight_bytes=sum(p.nbytes for p in session.model.parameters()),
            capacity=held,
            passes=tuple(passes),
        )

    def largest_batch(self, batches: Batches) -> Capacity:
        """Return the largest batch that runs on the GPU; one more does not."""
        return capacity(batches, lambda shape: _prepared(self._session, shape, once=True)())

    def pass_call(self, shape: PassShape) -> Callable[[], object]:
        """Return a function that runs a pass in its precision mode; it can be called many times."""
        return _prepared(self._session, shape)


def _run_id(name: str, now: datetime) -> str:
    """Return an id of a measurement that is safe in a file name."""
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')[:40]}-{now:%Y%m%dT%H%M%SZ}"


def _measure_pass(session: Session, task: Task, graph: bool, repeats: int) -> MeasuredPass:
    run = _prepared(session, task.shape)
    run()
    counts = OperatorCounter(Modules(session.model))
    with counts.watching():
        run()
    modules = tuple(_measure_modules(session, task, run, repeats))
    if graph:
        timed: list[Callable[[], object]] = [_captured(session, run)]
    else:
        timed = [run, *(_prepared(session, task.shape) for _ in range(INPUT_SETS - 1))]
    result = MeasuredPass(
        shape=dataclasses.asdict(task.shape),
        timing=timing(timed, session.device, repeats),
        dispatches=counts.dispatches[EVERYTHING],
        host_syncs=counts.host_syncs,
        peak_memory_bytes=None,
        device_work=device_work(timed[0], session.device),
        modules=modules,
    )
    # Only now, as all that was prepared above is gone: the peak is that of one run.
    del run, timed, counts
    return result.model_copy(update={"peak_memory_bytes": _peak_bytes(session, task.shape)})


def _prepared(session: Session, shape: PassShape, *, once: bool = False) -> Callable[[], int]:
    """Return a function that runs a pass in its precision mode."""
    run = session.prepare(shape, once=once)

    def call() -> int:
        with autocast(session.device, enabled=shape.autocast):
            return run()

    return call


def _peak_bytes(session: Session, shape: PassShape) -> int | None:
    """Return the peak of allocated memory in one run, inputs and weights included."""
    if session.device != "cuda":
        return None
    run = _prepared(session, shape, once=True)
    gc.collect()
    synchronise(session.device)
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated()


def _measure_modules(
    session: Session, task: Task, run: Callable[[], int], repeats: int
) -> Iterable[MeasuredModule]:
    """Time each module alone, with the inputs that it had in the pass."""

    def in_turn(calls: Sequence[Callable[[], object]]) -> Callable[[], None]:
        def every() -> None:
            with autocast(session.device, enabled=task.shape.autocast):
                for call in calls:
                    call()

        return every

    for module_id, pattern in task.modules:
        paths = [p for p in expand(pattern) if p]
        calls = _record_calls(session, paths, run)
        if calls:
            chosen = calls[:: max(1, len(calls) // INSTANCES)][:INSTANCES]
            yield MeasuredModule(
                module_id=module_id,
                calls=len(calls),
                timing=timing([in_turn(chosen)], session.device, repeats, len(chosen)),
            )


def _record_calls(
    session: Session, paths: Sequence[str], run: Callable[[], int]
) -> list[Callable[[], object]]:
    """Run a pass, and return functions that repeat the call of each module at `paths`."""
    calls: list[Callable[[], object]] = []

    def own(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments with copies of caches: a call extends the one that it is given."""
        named = {name: session.own_cache(value) for name, value in kwargs.items()}
        return [session.own_cache(value) for value in args], named

    def record(module: nn.Module, *given: Any) -> None:
        args, kwargs = own(*given)

        @torch.inference_mode()
        def call() -> object:
            again, named = own(args, kwargs)
            return module(*again, **named)

        calls.append(call)

    modules = dict(session.model.named_modules())
    with ExitStack() as hooks:
        for path in paths:
            hook = modules[path].register_forward_pre_hook(record, with_kwargs=True)
            hooks.enter_context(hook)
        run()
    return calls


def _captured(session: Session, run: Callable[[], int]) -> Callable[[], object]:
    """Return a function that replays a decode step from a CUDA graph, with the routing of `run`."""
    graph = torch.cuda.CUDAGraph()
    try:
        with session.fixed_routing(run), torch.cuda.graph(graph):
            run()
    except RuntimeError as error:
        found = f"a decode step that cannot be captured: {str(error).partition(chr(10))[0]}"
        raise InputError("option", "--cuda-graph", found, "to leave it out") from error
    return graph.replay


def _versions(session: Session) -> dict[str, str]:
    versions = {
        "mkdocs-dsocr": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: metadata.version(name) for name in model_of(session.config).packages},
    }
    if session.device == "cuda":
        versions["cuda"] = str(torch.version.cuda)
        versions["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
    return versions
