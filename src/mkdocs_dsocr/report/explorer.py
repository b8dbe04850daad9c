"""The module tree as a graph for Google's Model Explorer, and the times of its nodes.

Model Explorer adds up the nodes of a group, so each node has the figures of its own operations.
"""

from __future__ import annotations

import json
from typing import Any, Final

from mkdocs_dsocr.report.analysis import Analysis

GRADIENT: Final = ({"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#d9822b"})
"""Colours from the shortest to the longest time."""
FIGURES: Final = ("self_device_time_ms", "self_host_time_ms", "calls")


def graph(analysis: Analysis) -> str:
    """Return every module with operations of its own as a node, in groups by its path.

    Edges follow the order of execution.
    """
    report = analysis.report
    nodes: list[dict[str, Any]] = []
    for module in report.modules:
        metrics = report.metrics(module.module_id)
        if module.children and not metrics.self_total_time_ms:
            continue
        figures = {name: getattr(metrics, name) for name in FIGURES}
        figures |= {f"self_{name}": value for name, value in metrics.self_.model_dump().items()}
        attributes = {"class": module.class_name, "instances": module.instances, **figures}
        group = (module.module_id if module.children else module.parent_id) or ""
        nodes.append(
            {
                "id": module.module_id,
                "label": f"{module.name} ({module.class_name})",
                "namespace": group.replace(".", "/"),
                "attrs": [{"key": k, "value": str(v)} for k, v in attributes.items()],
                "incomingEdges": [{"sourceNodeId": node["id"]} for node in nodes[-1:]],
            }
        )
    return json.dumps([{"id": report.report_id, "nodes": nodes}]) + "\n"


def node_data(analysis: Analysis) -> str:
    """Return the predicted time of each node's own operations, for the nodes of :func:`graph`."""
    report = analysis.report
    times = {m.module_id: {"value": m.self_total_time_ms} for m in report.module_metrics}
    data = {"name": "predicted time, ms", "results": times, "gradient": GRADIENT}
    return json.dumps({report.report_id: data}) + "\n"
