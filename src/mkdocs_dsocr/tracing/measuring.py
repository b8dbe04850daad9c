"""Times of every pass and every distinct module of the reference model on a real device."""

from __future__ import annotations

import dataclasses
import platform
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import torch
from torch import nn

from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.inputs.measurement import (
    SCHEMA_VERSION,
    MeasuredModule,
    MeasuredPass,
    Measurement,
    fingerprint,
)
from mkdocs_dsocr.patterns import expand
from mkdocs_dsocr.reference.decoder import DeepseekV2MoE
from mkdocs_dsocr.report.measured import Task
from mkdocs_dsocr.tracing.operators import EVERYTHING, OperatorCounter
from mkdocs_dsocr.tracing.session import Cache, Session, build_session
from mkdocs_dsocr.tracing.stopwatch import achieved, device_name, synchronise, timing

INPUT_SETS: Final = 3
"""Inputs that a pass rotates over, so that no run finds its own in a cache."""
INSTANCES: Final = 4
"""Equal modules that a module's timing rotates over, so that weights are read anew."""


def measure(
    config: ModelConfig,
    profile_id: str,
    tasks: Sequence[Task],
    *,
    device: str,
    cuda_graph: bool = False,
    repeats: int = 20,
    progress: Callable[[str], None] = lambda _: None,
) -> Measurement:
    """Measure passes and modules of a model with random bfloat16 weights.

    Parameters
    ----------
    config, profile_id
        The model, and the id of the workload that `tasks` come from.
    tasks
        What is run.
    device
        ``cuda`` or ``cpu``.
    cuda_graph
        Replay decode steps from a CUDA graph instead of launching each kernel.
    repeats
        Timed calls of each pass and module.
    progress
        Called with a line for each step.
    """
    progress(f"building the model on {device_name(device)}")
    session = build_session(config, device)
    progress("measuring ceilings")
    ceilings = achieved(device)
    passes = []
    for task in tasks:
        progress(f"measuring {task.shape.pass_id}")
        graph = cuda_graph and task.shape.pass_id == "decode"
        passes.append(_measure_pass(session, task, graph, repeats))
    now = datetime.now(UTC).replace(microsecond=0)
    name = re.sub(r"[^A-Za-z0-9]+", "-", f"{profile_id}-{device}").strip("-")
    return Measurement(
        schema_version=SCHEMA_VERSION,
        run_id=f"{name[:40]}-{now:%Y%m%dT%H%M%SZ}",
        measured_at=now.isoformat(),
        model_variant=config.variant,
        model_fingerprint=fingerprint(config),
        profile_id=profile_id,
        device=device_name(device),
        versions=_versions(device),
        mode="cuda_graph" if cuda_graph else "eager",
        achieved=ceilings,
        weight_bytes=sum(p.nbytes for p in session.model.parameters()),
        passes=tuple(passes),
    )


def _measure_pass(session: Session, task: Task, graph: bool, repeats: int) -> MeasuredPass:
    run = session.prepare(task.shape)
    run()
    counts = OperatorCounter(session.model)
    with counts.watching():
        run()
    on_gpu = session.device == "cuda"
    if on_gpu:
        synchronise(session.device)
        torch.cuda.reset_peak_memory_stats()
    run()
    peak = torch.cuda.max_memory_allocated() if on_gpu else None
    modules = tuple(_measure_modules(session, task, run, repeats))
    timed: list[Callable[[], object]] = [_captured(session, run)] if graph else [run]
    # Further inputs come after the peak, which is that of one run.
    timed += [session.prepare(task.shape) for _ in range(0 if graph else INPUT_SETS - 1)]
    return MeasuredPass(
        shape=dataclasses.asdict(task.shape),
        timing=timing(timed, session.device, repeats),
        dispatches=counts.dispatches[EVERYTHING],
        synchronisations=counts.synchronisations,
        peak_memory_bytes=peak,
        modules=modules,
    )


def _measure_modules(
    session: Session, task: Task, run: Callable[[], Cache], repeats: int
) -> Iterable[MeasuredModule]:
    """Time each module alone, with the inputs that it had in the pass."""
    for module_id, pattern in task.modules:
        paths = [p for p in expand(pattern) if p]
        calls = _record_calls(session, paths, run)
        if calls:
            chosen = calls[:: max(1, len(calls) // INSTANCES)][:INSTANCES]
            yield MeasuredModule(
                module_id=module_id,
                calls=len(calls),
                timing=timing(chosen, session.device, repeats),
            )


def _record_calls(
    session: Session, paths: Sequence[str], run: Callable[[], Cache]
) -> list[Callable[[], object]]:
    """Run a pass and return what calls each module at `paths` again, as often as wanted."""
    calls: list[Callable[[], object]] = []

    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(_replay(session, module, *_own(session, args, kwargs)))

    modules = dict(session.model.named_modules())
    hooks = [modules[path].register_forward_pre_hook(record, with_kwargs=True) for path in paths]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _own(
    session: Session, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments with caches of their own, as a call extends the one that it is given."""
    own = session.own_cache
    return tuple(map(own, args)), {name: own(value) for name, value in kwargs.items()}


def _replay(
    session: Session, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[], object]:
    @torch.inference_mode()
    def call() -> object:
        again, named = _own(session, args, kwargs)
        return module(*again, **named)

    return call


def _captured(session: Session, run: Callable[[], Cache]) -> Callable[[], object]:
    """Return what replays a decode step from a CUDA graph, its routing fixed to this input's."""
    mixtures = [m for m in session.model.modules() if isinstance(m, DeepseekV2MoE)]
    hooks = [m.gate.register_forward_hook(_fix_load(m)) for m in mixtures]
    try:
        run()
        for hook in hooks:
            hook.remove()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
    finally:
        for mixture in mixtures:
            mixture.fixed_load = None
    return graph.replay


def _fix_load(moe: DeepseekV2MoE) -> Callable[..., None]:
    def hook(gate: nn.Module, args: Any, out: tuple[torch.Tensor, torch.Tensor]) -> None:
        load = torch.bincount(out[0].flatten(), minlength=len(moe.experts))
        moe.fixed_load = load.tolist()

    return hook


def _versions(device: str) -> dict[str, str]:
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    if device == "cuda":
        versions["cuda"] = str(torch.version.cuda)
        versions["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
    return versions
