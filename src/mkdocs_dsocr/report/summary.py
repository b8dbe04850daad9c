"""An analysis → the report in short."""

from __future__ import annotations

from typing import Final

from mkdocs_dsocr.cost.totals import Node
from mkdocs_dsocr.quantities import GIGABYTE, TFLOP
from mkdocs_dsocr.report import schema
from mkdocs_dsocr.report.analysed import Analysed

TOP: Final = 10


def build_summary(analysis: Analysed) -> schema.DeepSeekOCRAnalyticReportSummary:
    """Return the report in short; the whole of it is not made for it."""
    measured = analysis.comparison
    predicted_ms = analysis.predicted_ms
    timed = analysis.timed
    top = sorted(timed.counted, key=lambda name: (-timed.own_ms[name], name))[:TOP]
    return schema.DeepSeekOCRAnalyticReportSummary(
        report_id=analysis.report_id,
        model_variant=analysis.config.variant,
        workload_profile_id=analysis.workload.profile_id,
        hardware_id=analysis.hardware.hardware_id,
        predicted_total_time_ms=predicted_ms,
        floor_total_time_ms=analysis.floor_ms,
        measured_total_time_ms=measured.measured_ms if measured else None,
        predicted_vs_measured_ratio=predicted_ms / measured.measured_ms if measured else None,
        stages={
            stage: schema.StageTimes(  # type: ignore[misc]
                time_ms=times.time_ms,
                device_time_ms=times.device_ms,
                host_time_ms=times.host_ms,
                floor_time_ms=times.floor_ms,
                binding_ceiling=times.binding,
            )
            for stage, times in analysis.stage_times.items()
        },
        latency=analysis.latency,
        footprint_bytes=analysis.footprint_bytes,
        largest_batch=analysis.largest_batch,
        top_modules=[
            _module(module_id, timed.counted[module_id], timed.total_ms[module_id], predicted_ms)
            for module_id in top
        ],
        notes=analysis.notes,
    )


def _module(
    module_id: str, node: Node, time_ms: float, predicted_ms: float
) -> schema.AnalyticModuleSummary:
    return schema.AnalyticModuleSummary(
        module_id=module_id,
        name=node.visit.child.name,
        stage=node.stage,  # type: ignore[arg-type]
        share_of_model_time=time_ms / predicted_ms if predicted_ms else 0.0,
        total_time_ms=time_ms,
        total_flops_tflops=node.total.flops / TFLOP,
        memory_activations_gb=node.total.activation_bytes / GIGABYTE,
    )
