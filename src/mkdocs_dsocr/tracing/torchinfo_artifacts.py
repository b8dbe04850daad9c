"""torchinfo over a full forward: the five ``torchinfo-*`` artifacts and the operator list.

The figures are torchinfo's own. Its mult-adds are far too low for this model (it
counts a Linear as its weights once per sample, whatever the sequence); they are
recorded as what torchinfo says, never used as the truth.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torchinfo
from torch import Tensor
from torchinfo.layer_info import LayerInfo

from mkdocs_dsocr.layers.categories import OTHER
from mkdocs_dsocr.models import Plan
from mkdocs_dsocr.tracing.session import Session

SUMMARY_DEPTH = 4
"""Depth of the text summary; the JSON files go all the way down."""


Call = tuple[str, LayerInfo]
"""The path of a module, and one call of it as torchinfo saw it."""


def torchinfo_artifacts(
    session: Session, plan: Plan, families: Mapping[str, str]
) -> dict[str, str]:
    """Return the text of each artifact by its file name.

    Parameters
    ----------
    session
        A built model.
    plan
        The workload whose first page is run: its views, prefill and one decode step.
    families
        The operator family of each module class that has an analytic layer.
    """
    statistics = _summary(session, *session.page_inputs(plan))
    calls = _calls(statistics.summary_list)
    step = _summary(session, *session.step_inputs(plan)) if plan.steps else None
    layers = [_layer(*call) for call in calls]
    unique = _unique_layers(session, calls)
    inputs = {
        # The name of the folder only: a path of this machine has no meaning elsewhere.
        "model_path": session.config.variant,
        "device": session.device,
        "base_size": plan.global_view,
        "image_size": plan.workload.image_size,
        "seq_len": plan.seq_len,
        "crop_mode": plan.workload.crop_mode,
    }
    return {
        "torchinfo-summary.txt": f"{statistics}\n",
        "torchinfo-layers.json": _json(layers),
        "torchinfo-stages.json": _json(_stages(session, calls, step, plan.steps)),
        "torchinfo-unique-layers.json": _json(
            {
                "generated_at": None,
                **inputs,
                "depth": max(layer["depth"] for layer in layers),
                "total_params": statistics.total_params,
                "total_macs": statistics.total_mult_adds,
                "num_unique_layers": len(unique),
                "layers": unique,
            }
        ),
        "torchinfo-unique-layers.md": _unique_markdown(unique),
        "target-operators.json": _json(_target_operators(plan, unique, families)),
    }


def _summary(
    session: Session, inputs: list[Tensor], further: dict[str, Any]
) -> torchinfo.ModelStatistics:
    with torch.inference_mode(), session.answering():
        return torchinfo.summary(
            session.model.model,
            input_data=inputs,
            device=session.device,
            depth=SUMMARY_DEPTH,
            col_names=("input_size", "output_size", "num_params", "mult_adds"),
            row_settings=("var_names",),
            verbose=0,
            **further,
        )


def _calls(infos: Iterable[LayerInfo]) -> list[Call]:
    return [(_path(info), info) for info in infos]


def _path(info: LayerInfo) -> str:
    parent = info.parent_info
    return "model" if parent is None else f"{_path(parent)}.{info.var_name}"


def _layer(path: str, info: LayerInfo) -> dict[str, Any]:
    return {
        "path": path,
        "class_name": info.class_name,
        "depth": info.depth,
        "input_size": list(info.input_size),
        "output_size": list(info.output_size),
        "num_params": info.num_params,
        "mult_adds": info.macs if info.is_leaf_layer else None,
        "is_leaf": bool(info.is_leaf_layer),
        "is_repeated_call": bool(info.is_recursive),
    }


def _stages(
    session: Session, calls: list[Call], step: torchinfo.ModelStatistics | None, steps: int
) -> list[dict[str, Any]]:
    """Return parameters, mult-adds and calls of sam, clip, projector, prefill and decode."""
    stages = [_stage(name, calls, roots, 1) for name, roots in session.stages.items()]
    decode = _calls(step.summary_list) if step is not None else []
    return [*stages, _stage("decode", decode, session.stages["prefill"], steps)]


def _stage(name: str, calls: list[Call], roots: Sequence[str], repeats: int) -> dict[str, Any]:
    inside = [
        (path, info)
        for path, info in calls
        if any(path == root or path.startswith(f"{root}.") for root in roots)
    ]
    parameters = {
        f"{path}.{name}": parameter.numel()
        for path, info in inside
        if path in roots
        for name, parameter in info.module.named_parameters()
    }
    return {
        "stage": name,
        "modules": list(roots),
        "params": sum(parameters.values()),
        "mult_adds": repeats * sum(info.macs for _, info in inside if info.is_leaf_layer),
        "calls": repeats * sum(path == roots[-1] and info.executed for path, info in inside),
    }


def _unique_layers(session: Session, calls: list[Call]) -> list[dict[str, Any]]:
    """Return an entry for each class that takes part in the forward."""
    modules = dict(session.model.named_modules())
    instances: dict[str, list[str]] = {}
    for path in dict.fromkeys(path for path, _ in calls):
        instances.setdefault(_qualified(modules[path]), []).append(path)
    return [
        {
            "class_name_qualified": name,
            "class_name": name.rpartition(".")[2],
            "var_name": sorted({path.rpartition(".")[2] for path in paths}),
            "instance_name": sorted(paths),
            "filepaths": [type(modules[paths[0]]).__module__.replace(".", "/") + ".py"],
            "parents": sorted(
                {_qualified(modules[path.rpartition(".")[0]]) for path in paths if path != "model"}
            ),
            "children": sorted({_qualified(c) for p in paths for c in modules[p].children()}),
            "is_torch_builtin": name.startswith("torch."),
            "count": len(paths),
        }
        for name, paths in sorted(instances.items())
    ]


def _qualified(module: torch.nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _unique_markdown(unique: list[dict[str, Any]]) -> str:
    rows = [
        f"| `{u['class_name']}` | `{u['class_name_qualified']}` | {u['count']} | "
        f"{'yes' if u['is_torch_builtin'] else 'no'} |"
        for u in unique
    ]
    head = ["| class | qualified name | instances | PyTorch's own |", "|---|---|---:|---|"]
    return "\n".join([f"# {len(unique)} module classes", "", *head, *rows, ""])


def _target_operators(
    plan: Plan, unique: list[dict[str, Any]], families: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "snapshot_id": plan.workload.profile_id,
        "source_artifact_dir": ".",
        "layers_md_path": "torchinfo-unique-layers.md",
        "layers_json_path": "torchinfo-layers.json",
        "stages_json_path": "torchinfo-stages.json",
        "operators": [
            {
                "class_name": u["class_name"],
                "class_name_qualified": u["class_name_qualified"],
                "is_pytorch_builtin": u["is_torch_builtin"],
                "is_custom": not u["is_torch_builtin"],
                "children_classes": u["children"],
                "default_category_id": families.get(u["class_name"], OTHER),
            }
            for u in unique
        ],
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"
