"""The report in one readable Markdown file, for a shell or a pull request."""

from __future__ import annotations

from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site import units


def report_markdown(analysis: Analysis) -> str:
    """Return stages, top modules and classes of a report as Markdown tables."""
    report = analysis.report
    lines = [
        f"# {report.report_id}",
        "",
        f"{report.model.model_id}, {report.workload.num_pages} page(s), "
        f"{report.workload.seq_len} prompt tokens and {report.workload.max_new_tokens} new ones, "
        f"on {report.hardware.name}: "
        f"{units.milliseconds(report.predicted_total_time_ms)} predicted.",
        "",
        "## Stages",
        "",
        "| stage | time | binds most | matmul FLOPs | bytes |",
        "|---|---:|---|---:|---:|",
    ]
    lines += [
        f"| {name} | {units.milliseconds(s.time_ms)} | {s.binding_ceiling} | "
        f"{units.integer(s.matmul_flops)} | {units.integer(s.io_bytes)} |"
        for name, s in report.stages.items()
    ]
    lines += [
        "",
        "## Top modules by own time",
        "",
        "| module | own time | share of model time, children included |",
        "|---|---:|---:|",
    ]
    lines += [
        f"| `{m.module_id}` | "
        f"{units.milliseconds(report.metrics(m.module_id).self_total_time_ms)} | "
        f"{units.percent(m.share_of_model_time)} |"
        for m in analysis.summary.top_modules
    ]
    lines += [
        "",
        "## Classes, own work",
        "",
        "| class | modules | parameters | FLOPs | bytes | time |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {c.class_name} | {units.integer(c.instances)} | {units.integer(c.num_parameters)} | "
        f"{units.integer(c.tensor_core_flops + c.cuda_core_flops)} | {units.integer(c.io_bytes)} | "
        f"{units.milliseconds(c.total_time_ms)} |"
        for c in report.layers
    ]
    return "\n".join([*lines, "", report.notes, ""])
