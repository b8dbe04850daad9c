"""What if: a saved report, evaluated again for other workloads and GPUs. Nothing else is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mkdocs_dsocr.inputs import Hardware, InputError, ModelConfig, Workload
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.inputs.files import validate
from mkdocs_dsocr.inputs.model_config import check_shapes
from mkdocs_dsocr.inputs.references import shipped
from mkdocs_dsocr.models import known_models, load_model_config
from mkdocs_dsocr.report.analysis import Analysis
from mkdocs_dsocr.report.schema import AnalyticModelReport, OCRWorkloadProfile

FIGURES: Final = (
    "ttft_ms",
    "tpot_middle_ms",
    "pages_per_s",
    "predicted_total_time_ms",
    "floor_total_time_ms",
    "footprint_bytes",
    "fits",
)
"""What is evaluated; `fits`: whether the footprint is within the GPU's memory."""
DEEPSEEK_OCR: Final = "DeepseekOCRForCausalLM"
"""What a report before 1.2 is of."""
VIEWS: Final = ("base_size", "image_size", "page_size", "crop_grid", "max_tiles")
"""Fields that a request without an image has not."""
PROMPT: Final = (*VIEWS, "text_only", "crop_mode", "text_tokens")
"""Fields from which a prompt's length follows."""


@dataclass(frozen=True)
class Scenario:
    """One evaluation: what was changed, on which GPU, and its figures."""

    changes: Mapping[str, Any]
    hardware_id: str
    figures: Mapping[str, float | bool | None]


def as_config(report: AnalyticModelReport, source: Path) -> ModelConfig:
    """Return the model of a report; what a report of 1.0 leaves out is taken from what ships.

    Raises
    ------
    InputError
        If the report says too little, or its dimensions make no model.
    """
    model = report.model
    if model.dimensions is None:
        if model.model_variant not in shipped("models"):
            allowed = "dimensions: write the report again with this version"
            raise InputError(source, "model.dimensions", "nothing", allowed)
        return load_model_config(model.model_variant)
    architecture = model.architecture or DEEPSEEK_OCR
    if architecture not in known_models():
        allowed = " or ".join(sorted(known_models()))
        raise InputError(source, "model.architecture", repr_short(architecture), allowed)
    check_shapes(source, model.dimensions)
    return ModelConfig(
        **dict(model.dimensions),
        architecture=architecture,
        variant=model.model_variant,
        model_id=model.model_id,
        path=Path(model.config_path),
        revision=model.hf_revision,
        storage=model.storage,
    )


def as_workload(
    profile: OCRWorkloadProfile, changes: Mapping[str, Any] | None = None, source: Path | str = ""
) -> Workload:
    """Return the workload that a report echoes, with some of its fields changed.

    Raises
    ------
    InputError
        If it is none.
    """
    known = Workload.model_fields
    fields = {k: v for k, v in profile.model_dump(mode="json").items() if k in known}
    changes = changes or {}
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise InputError("option", unknown[0], "an unknown field", f"one of {', '.join(known)}")
    crop_mode = changes.get("crop_mode", profile.crop_mode)
    if not crop_mode or "page_size" in changes or (profile.page_size and "max_tiles" in changes):
        fields["crop_grid"] = None
    if not crop_mode:
        fields["base_size"] = fields["max_tiles"] = None
    if "crop_grid" in changes:
        fields["page_size"] = None
    if changes.get("text_only", profile.text_only):
        fields |= {**dict.fromkeys(VIEWS), "crop_mode": False}
    if profile.num_pages == profile.batch_size:
        fields["num_pages"] = None  # as many as a batch has
    if any(name in changes for name in PROMPT):
        fields["seq_len"] = None
    return validate(Workload, {**fields, **changes}, source or "report.json")


def evaluated(
    report: AnalyticModelReport,
    source: Path,
    variants: Sequence[Mapping[str, Any]],
    gpus: Sequence[Hardware] = (),
) -> Iterator[Scenario]:
    """Yield a scenario for each set of changes (outer) and each GPU (inner).

    Parameters
    ----------
    report, source
        What was saved, and where.
    variants
        Fields of a workload, with their values.
    gpus
        The report's own where there are none.

    Raises
    ------
    InputError
        If the report or a change makes no sense.
    """
    config = as_config(report, source)
    for changes in variants:
        workload = as_workload(report.workload, changes, source)
        for gpu in gpus or (report.hardware,):
            analysis = Analysis(config, workload, gpu, str(source))
            analysis.check_formats()
            yield Scenario(changes, gpu.hardware_id, _figures(analysis))


def _figures(analysis: Analysis) -> dict[str, float | bool | None]:
    latency = analysis.latency
    needed = analysis.footprint_bytes
    values: dict[str, float | bool | None] = {
        "ttft_ms": latency.ttft_ms,
        "tpot_middle_ms": latency.tpot_middle_ms,
        "pages_per_s": latency.pages_per_s,
        "predicted_total_time_ms": analysis.predicted_ms,
        "floor_total_time_ms": analysis.floor_ms,
        "footprint_bytes": needed,
        "fits": needed <= analysis.hardware.room_bytes,
    }
    return {name: values[name] for name in FIGURES}
