"""torchinfo over a full forward: the five ``torchinfo-*`` artifacts and the operator list.

The figures are torchinfo's own. Its mult-adds are far too low for this model (it
counts a Linear as its weights once a sample, whatever the sequence); they are
recorded as what torchinfo says, never used as the truth.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Call:
    """One call of a module, as torchinfo saw it."""

    path: str
    info: LayerInfo

    @property
    def is_leaf(self) -> bool:
        return bool(self.info.is_leaf_layer)


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
    layers = [_layer(c) for c in calls]
    unique = _unique_layers(session, calls)
    inputs = {
        "model_path": plan_model(session),
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


def plan_model(session: Session) -> str:
    """Return the model's folder name: a path of this machine says nothing elsewhere."""
    return session.config.variant


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


def _calls(infos: Iterable[LayerInfo]) -> list[_Call]:
    return [_Call(_path(info), info) for info in infos]


def _path(info: LayerInfo) -> str:
    segments: list[str] = []
    node: LayerInfo | None = info
    while node is not None and node.parent_info is not None:
        segments.append(node.var_name)
        node = node.parent_info
    return ".".join(["model", *reversed(segments)])


def _layer(call: _Call) -> dict[str, Any]:
    info = call.info
    return {
        "path": call.path,
        "class_name": info.class_name,
        "depth": info.depth,
        "input_size": list(info.input_size),
        "output_size": list(info.output_size),
        "num_params": info.num_params,
        "mult_adds": info.macs if call.is_leaf else None,
        "is_leaf": call.is_leaf,
        "is_repeated_call": bool(info.is_recursive),
    }


def _stages(
    session: Session, calls: list[_Call], step: torchinfo.ModelStatistics | None, steps: int
) -> list[dict[str, Any]]:
    """Return parameters, mult-adds and calls of sam, clip, projector, prefill and decode."""
    stages = [_stage(name, calls, roots, 1) for name, roots in session.stages.items()]
    decode = _calls(step.summary_list) if step is not None else []
    return [*stages, _stage("decode", decode, session.stages["prefill"], steps)]


def _stage(name: str, calls: list[_Call], roots: Sequence[str], repeats: int) -> dict[str, Any]:
    inside = [
        c for c in calls if any(c.path == root or c.path.startswith(f"{root}.") for root in roots)
    ]
    parameters = {
        f"{c.path}.{n}": p.numel() for c in inside for n, p in c.info.module.named_parameters()
    }
    tops = [c for c in inside if c.path == roots[-1] and c.info.executed]
    return {
        "stage": name,
        "modules": list(roots),
        "params": sum(parameters.values()),
        "mult_adds": repeats * sum(c.info.macs for c in inside if c.is_leaf),
        "calls": repeats * len(tops),
    }


def _unique_layers(session: Session, calls: list[_Call]) -> list[dict[str, Any]]:
    """Return an entry for each class that takes part in the forward."""
    modules = dict(session.model.named_modules())
    entries: dict[str, dict[str, set[str]]] = {}
    counts: dict[str, int] = {}
    for path in dict.fromkeys(c.path for c in calls):
        module = modules[path]
        name = _qualified(module)
        entry = entries.setdefault(name, {k: set() for k in _LISTS})
        counts[name] = counts.get(name, 0) + 1
        parent = modules[path.rpartition(".")[0]] if path != "model" else None
        entry["var_name"].add(path.rpartition(".")[2])
        entry["instance_name"].add(path)
        entry["filepaths"].add(type(module).__module__.replace(".", "/") + ".py")
        entry["parents"] |= {_qualified(parent)} if parent is not None else set()
        entry["children"] |= {_qualified(child) for child in module.children()}
    return [
        {
            "class_name_qualified": name,
            "class_name": name.rpartition(".")[2],
            **{key: sorted(values) for key, values in entries[name].items()},
            "is_torch_builtin": name.startswith("torch."),
            "count": counts[name],
        }
        for name in sorted(entries)
    ]


_LISTS = ("var_name", "instance_name", "filepaths", "parents", "children")


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
