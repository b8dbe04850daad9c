"""An analysis → the report."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from mkdocs_dsocr import resources
from mkdocs_dsocr.cost.memory import StageMemory
from mkdocs_dsocr.cost.totals import Node, Totals, merged
from mkdocs_dsocr.inputs import InputError, ModelConfig, Workload
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.layers.categories import AROUND, CATEGORIES, OTHER
from mkdocs_dsocr.layers.tree import NodeVisit
from mkdocs_dsocr.models import STAGES, Plan, expected_load, formats_of, model_of
from mkdocs_dsocr.quantities import BITS_PER_BYTE, GIGABYTE, TERABIT, TFLOP
from mkdocs_dsocr.report import schema
from mkdocs_dsocr.report.analysed import Analysed
from mkdocs_dsocr.report.fields import Integers
from mkdocs_dsocr.report.left_out import not_modelled
from mkdocs_dsocr.text import printable
from mkdocs_dsocr.trace import PassShape


def build_report(analysis: Analysed) -> schema.AnalyticModelReport:
    """Return the report of an analysis."""
    config, workload, resolved = analysis.config, analysis.workload, analysis.plan
    nodes, measured = analysis.nodes, analysis.comparison
    predicted_ms = analysis.predicted_ms
    return schema.AnalyticModelReport(
        schema_version=schema.SCHEMA_VERSION,
        report_id=analysis.report_id,
        generated_at=generated_at(),
        model=_model(config, analysis.root.total),
        workload=_workload(config, resolved),
        hardware=analysis.hardware,
        passes=[
            schema.PassRun(
                stage=run.stage,  # type: ignore[arg-type]
                calls=run.calls,
                steps=run.steps,
                first=dataclasses.asdict(run.first),
                last=dataclasses.asdict(run.last),
                distinct_experts=_distinct(config, run.first, workload),
            )
            for run in resolved.runs
        ],
        stages={s: _stage(analysis, s) for s in STAGES},
        layers=[_layer(name, group) for name, group in analysis.classes.items()],
        modules=[_module(module_id, node) for module_id, node in nodes.items()],
        operator_categories=_categories(class_families(analysis)),
        module_metrics=[
            _metrics(module_id, node, workload.profile_id, predicted_ms)
            for module_id, node in nodes.items()
        ],
        operator_coverage=_coverage(analysis),
        profile_run_id=measured.measurement.run_id if measured else None,
        predicted_total_time_ms=predicted_ms,
        device_time_error=analysis.hardware.time_error,
        floor_total_time_ms=analysis.floor_ms,
        latency=analysis.latency,
        serving=analysis.serving,
        memory=_memory(analysis.stage_memory, analysis.hardware.room_bytes),
        measured_total_time_ms=measured.measured_ms if measured else None,
        predicted_vs_measured_ratio=predicted_ms / measured.measured_ms if measured else None,
        notes=analysis.notes,
        warnings=list(analysis.warnings),
        not_modelled=list(not_modelled(config).values()),
        layer_docs_dir="layers",
    )


def _categories(families: Mapping[str, str]) -> list[schema.OperatorCategory]:
    return [
        schema.OperatorCategory(
            category_id=c.category_id,
            display_name=c.display_name,
            description=c.description,
            match_classes=[n for n, family in families.items() if family == c.category_id],
        )
        for c in CATEGORIES.values()
    ]


def class_families(analysis: Analysed) -> dict[str, str]:
    """Return the operator family that the work of each module class mainly belongs to.

    It is that of its own matrix products where it has any, else of most that runs in it.
    """
    result = {}
    for name, nodes in analysis.classes.items():
        own, whole = merged(n.own for n in nodes), merged(n.total for n in nodes)
        found = (own if own.matmul_flops else whole).families.items()
        made_for = [(f.flops, f.io_bytes, key) for key, f in found if key not in AROUND]
        result[name] = max(made_for)[2] if made_for else OTHER
    return result


def generated_at() -> str | None:
    """Return ``SOURCE_DATE_EPOCH`` in ISO 8601, or None: same inputs, same bytes.

    Raises
    ------
    InputError
        If the variable is set and is no number of seconds.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        return None
    try:
        return datetime.fromtimestamp(int(epoch), UTC).isoformat()
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(
            "environment", "SOURCE_DATE_EPOCH", repr_short(epoch), "seconds since 1970"
        ) from error


def _model(config: ModelConfig, total: Totals) -> schema.DeepSeekOCRModelSpec:
    language = config.language
    return schema.DeepSeekOCRModelSpec(
        model_id=config.model_id,
        model_variant=config.variant,
        hf_revision=config.revision,
        config_path=_config_path(config),
        hidden_size=language.hidden_size,
        intermediate_size=language.intermediate_size,
        num_layers=language.num_hidden_layers,
        num_attention_heads=language.num_attention_heads,
        vision_backbone="other",
        uses_moe=language.has_experts,
        num_parameters=total.num_parameters,
        notes=model_of(config).vision,
        architecture=config.architecture,
        dimensions=config.dimensions,
        storage=config.storage,
        unused_keys=list(config.unused_keys),
    )


def _config_path(config: ModelConfig) -> str:
    """Return where config.json lies without saying anything about this machine."""
    if config.path.is_relative_to(resources.data_dir()):
        return f"data/{config.path.relative_to(resources.data_dir()).as_posix()}"
    path = config.path
    shown = "/".join(path.parts[-2:]) if path.is_absolute() else path.as_posix()
    return printable(shown)


def _workload(config: ModelConfig, plan: Plan) -> schema.OCRWorkloadProfile:
    workload, formats = plan.workload, formats_of(config.storage, plan.workload)
    return schema.OCRWorkloadProfile(
        profile_id=workload.profile_id,
        description=workload.description,
        seq_len=plan.seq_len,
        base_size=workload.base_size or workload.image_size or 0,
        image_size=workload.image_size or 0,
        crop_mode=workload.crop_mode,
        text_only=workload.text_only,
        max_tiles=workload.max_tiles,
        max_new_tokens=workload.max_new_tokens,
        doc_kind=workload.doc_kind,
        num_pages=workload.pages,
        page_size=list(workload.page_size) if workload.page_size else None,
        crop_grid=list(plan.grid),
        image_tokens=plan.image_tokens,
        text_tokens=plan.text_tokens,
        batch_size=workload.batch_size,
        pages_per_prompt=workload.pages_per_prompt,
        logits_positions=workload.logits_positions,
        host_mode=workload.host_mode,
        vision_batching=workload.vision_batching,
        precision_mode=workload.precision_mode,
        **formats._asdict(),
        traffic=workload.traffic,
        expert_load=list(workload.expert_load) if workload.expert_load else None,
        engine=workload.engine,
        serving=workload.serving,
    )


def _distinct(
    config: ModelConfig, shape: PassShape, workload: Workload
) -> schema.DistinctExperts | None:
    language = config.language
    if shape.part != "language" or not language.has_experts:
        return None
    choices = shape.batch * shape.q_len * language.num_experts_per_tok
    return schema.DistinctExperts(
        expected=float(expected_load(config, shape.batch * shape.q_len, workload).distinct),  # type: ignore[arg-type]
        fewest=language.num_experts_per_tok,
        most=min(language.n_routed_experts, choices),
    )


def _stage(analysis: Analysed, stage: str) -> schema.StageMetrics:
    total = analysis.stage_totals[stage]
    times = analysis.stage_times[stage]
    memory = analysis.stage_memory.get(stage)
    peak = {"activation_bytes": memory.activations if memory else 0}
    return schema.StageMetrics(
        **(total.figures() | peak),
        time_ms=times.time_ms,
        device_time_ms=times.device_ms,
        host_time_ms=times.host_ms,
        floor_time_ms=times.floor_ms,
        device_time_by_ceiling_ms=total.device_time_by_ceiling_ms,
        binding_ceiling=times.binding,
    )


def _memory(stages: dict[str, StageMemory], room_bytes: int) -> schema.Memory:
    rows = {
        stage: schema.StageMemory(
            weight_bytes=m.weights,
            kvcache_bytes=m.kvcache,
            waiting_bytes=m.waiting,
            activation_bytes=m.activations,
            total_bytes=m.total,
            peak_at=m.peak_at,
        )
        for stage, m in stages.items()
    }
    stage = max(rows, key=lambda s: rows[s].total_bytes)
    return schema.Memory(
        stages=rows,  # type: ignore[arg-type]
        footprint_bytes=rows[stage].total_bytes,
        largest_stage=stage,  # type: ignore[arg-type]
        room_bytes=room_bytes,
        fits=rows[stage].total_bytes <= room_bytes,
    )


def _layer(class_name: str, nodes: Iterable[Node]) -> schema.LayerMetrics:
    group = list(nodes)
    total = merged(n.own for n in group)
    instances = {n.visit.torch_path: n.visit.instances for n in group}
    peak = {"activation_bytes": max(n.total.activation_bytes for n in group)}
    return schema.LayerMetrics(
        **(total.figures() | peak),
        class_name=class_name,
        instances=sum(instances.values()),
        num_parameters=total.num_parameters,
        calls=sum(n.calls for n in group),
        total_time_ms=total.time_ms,
        device_time_ms=total.device_time_ms,
        host_time_ms=total.host_time_ms,
        device_time_by_ceiling_ms=total.device_time_by_ceiling_ms,
    )


def _module(module_id: str, node: Node) -> schema.AnalyticModuleNode:
    visit, child = node.visit, node.visit.child
    return schema.AnalyticModuleNode(
        module_id=module_id,
        name=child.name,
        class_name=node.class_name,
        qualified_class_name=f"{type(visit.layer).__module__}.{type(visit.layer).__qualname__}",
        torch_path=visit.torch_path,
        instances=visit.instances if visit.torch_path else 0,
        stage=node.stage,  # type: ignore[arg-type]
        parent_id=visit.parent_id,
        children=node.children,
        repetition=child.repetition,
        repetition_count=child.count if child.repetition != "none" else None,
        constructor_params=constructor_params(visit),
    )


def constructor_params(
    visit: NodeVisit,
) -> dict[str, int | float | bool | list[int | float]]:
    """Return the dimensions of a layer; ``[first, last]`` where they grow."""
    first, last = (
        {
            f.name: value
            for f in dataclasses.fields(layer)
            if isinstance(value := getattr(layer, f.name), int | float)
        }
        for layer in (visit.layer, visit.last)
    )
    return {k: v if v == last[k] else [v, last[k]] for k, v in first.items()}


def _metrics(
    module_id: str, node: Node, profile_id: str, model_time_ms: float
) -> schema.ModuleMetricsSnapshot:
    total = node.total
    integers = total.figures()
    return schema.ModuleMetricsSnapshot(
        **integers,
        module_id=module_id,
        profile_id=profile_id,
        calls=node.calls,
        total_time_ms=total.time_ms,
        total_flops_tflops=total.flops / TFLOP,
        total_io_tb=BITS_PER_BYTE * total.io_bytes / TERABIT,
        memory_weights_gb=integers["weight_bytes"] / GIGABYTE,
        memory_activations_gb=total.activation_bytes / GIGABYTE,
        memory_kvcache_gb=integers["kvcache_bytes"] / GIGABYTE,
        peak_at=node.peak_at,
        share_of_model_time=total.time_ms / model_time_ms if model_time_ms else 0.0,
        device_time_ms=total.device_time_ms,
        host_time_ms=total.host_time_ms,
        device_time_by_ceiling_ms=total.device_time_by_ceiling_ms,
        self=Integers(**node.own.figures()),
        self_total_time_ms=node.own.time_ms,
        self_device_time_ms=node.own.device_time_ms,
        self_host_time_ms=node.own.host_time_ms,
        operator_breakdown=[
            schema.OperatorMetrics(
                category_id=name,
                calls=family.calls,
                flops_tflops=family.flops / TFLOP,
                io_tb=BITS_PER_BYTE * family.io_bytes / TERABIT,
                device_time_ms=family.device_time_ms,
                share_of_module_flops=family.flops / total.flops if total.flops else 0.0,
            )
            for name, family in sorted(total.families.items())
        ],
    )


def _coverage(analysis: Analysed) -> schema.OperatorCoverage | None:
    if analysis.traced is None:
        return None
    other = sorted(analysis.traced - set(analysis.classes))
    classes = len(analysis.traced)
    return schema.OperatorCoverage(classes=classes, covered=classes - len(other), other=other)
