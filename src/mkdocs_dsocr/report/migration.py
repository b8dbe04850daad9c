"""Reports of earlier schema versions, read as reports of this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mkdocs_dsocr.inputs.hardware import TIME_ERROR, with_memory_bytes
from mkdocs_dsocr.report.schema import SCHEMA_VERSION

EARLIER: Final = ("1.0", "1.1", "1.2")
"""Versions whose module and class times are those of the device alone."""


def migrated(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a ``report.json`` in the schema of this version.

    A report of 1.x says what each module's kernels take. Its host time follows from its launches
    and waits, and from the costs in its hardware profile; its predicted time is the host's in a
    stage that is host-bound. Each dispatched operator counts as one kernel. A malformed report is
    returned as it is: validation names its fault.

    Parameters
    ----------
    content
        A report of any version.
    """
    if content.get("schema_version") not in EARLIER:
        return dict(content)
    try:
        return _from_1(content)
    except (KeyError, TypeError, AttributeError):
        return dict(content)


def _from_1(content: Mapping[str, Any]) -> dict[str, Any]:
    host = content["hardware"].get("host") or {"dispatch_us": 0, "synchronise_us": 0}
    stages = content["stages"]
    is_graph = content["workload"].get("host_mode") == "cuda_graph"
    replays = sum(r["calls"] * r["steps"] for r in content["passes"] if r["stage"] == "decode")
    own: dict[str, tuple[float, float]] = {}
    modules = {m["module_id"]: m for m in content["modules"]}
    for metrics in content["module_metrics"]:
        name, counts = metrics["module_id"], metrics["self"]
        stage = modules[name]["stage"]
        launches, waits = counts["dispatches"], counts["synchronisations"]
        if is_graph and stage == "decode":
            launches, waits = replays if name == stage else 0, 0
        host_ms = (launches * host["dispatch_us"] + waits * host["synchronise_us"]) / 1000
        bound = stages.get(stage, {}).get("binding_ceiling") == "host"
        own[name] = host_ms, host_ms if bound else metrics["self_time_ms"]
    total = dict(own)
    for name in reversed(modules):
        parent = modules[name]["parent_id"]
        if parent is not None:
            (host_ms, ms), (child_host_ms, child_ms) = total[parent], total[name]
            total[parent] = host_ms + child_host_ms, ms + child_ms
    return {
        **content,
        "schema_version": SCHEMA_VERSION,
        "stages": {name: _entry(stage) for name, stage in stages.items()},
        "hardware": with_memory_bytes(content["hardware"]),
        "memory": _memory(content),
        "device_time_error": TIME_ERROR["assumed"],
        "layers": [_layer(layer, modules, own) for layer in content["layers"]],
        "module_metrics": [
            _metrics(m, own[m["module_id"]], total[m["module_id"]], content)
            for m in content["module_metrics"]
        ],
    }


def _memory(content: Mapping[str, Any]) -> dict[str, Any]:
    room = round(content["hardware"]["memory_gb"] * 1e9)
    fits = content["memory"]["footprint_bytes"] <= room
    return {**content["memory"], "room_bytes": room, "fits": fits}


def _launched(figures: Mapping[str, Any]) -> dict[str, Any]:
    result = {**figures, "kernel_launches": figures["dispatches"]}
    result["host_syncs"] = result.pop("synchronisations")
    return result


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    result = _launched(entry)
    result["device_time_by_ceiling_ms"] = result.pop("time_by_ceiling_ms")
    return result


def _metrics(
    entry: Mapping[str, Any],
    own: tuple[float, float],
    total: tuple[float, float],
    content: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the metrics of a module, given host and predicted time without and with children."""
    result, predicted = _entry(entry), content["predicted_total_time_ms"]
    device, own_device = result["total_time_ms"], result.pop("self_time_ms")
    return result | {
        "self": _launched(entry["self"]),
        "device_time_ms": device,
        "host_time_ms": total[0],
        "total_time_ms": total[1],
        "share_of_model_time": total[1] / predicted if predicted else 0.0,
        "self_device_time_ms": own_device,
        "self_host_time_ms": own[0],
        "self_total_time_ms": own[1],
        "operator_breakdown": [
            {("device_time_ms" if k == "time_ms" else k): v for k, v in family.items()}
            for family in result["operator_breakdown"]
        ],
    }


def _layer(
    entry: Mapping[str, Any],
    modules: Mapping[str, Mapping[str, Any]],
    own: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:
    """Return the metrics of a class: the sum over its modules without children."""
    result = _entry(entry)
    mine = [own[n] for n, m in modules.items() if m["class_name"] == entry["class_name"]]
    return result | {
        "num_parameters": result.pop("parameters"),
        "device_time_ms": result.pop("time_ms"),
        "host_time_ms": sum(host for host, _ in mine),
        "total_time_ms": sum(time for _, time in mine),
    }
