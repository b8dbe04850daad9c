"""The model and the workload that a saved report says: nothing else is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mkdocs_dsocr.inputs import InputError, ModelConfig, Workload
from mkdocs_dsocr.inputs.errors import repr_short, suggestion
from mkdocs_dsocr.inputs.files import validate
from mkdocs_dsocr.inputs.model_config import check_shapes
from mkdocs_dsocr.inputs.references import shipped
from mkdocs_dsocr.inputs.serving import ENGINE_TILES
from mkdocs_dsocr.inputs.workload import ENGINES
from mkdocs_dsocr.models import known_models, load_model_config
from mkdocs_dsocr.report.schema import AnalyticModelReport, OCRWorkloadProfile

DEEPSEEK_OCR: Final = "DeepseekOCRForCausalLM"
"""What a report before 1.2 is of."""
VIEWS: Final = ("base_size", "image_size", "page_size", "crop_grid", "max_tiles")
"""Fields that a request without an image has not."""
PROMPT: Final = (*VIEWS, "text_only", "crop_mode", "text_tokens", "pages_per_prompt")
"""Fields from which a prompt's length follows."""


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
    for tower in ("clip", "encoder"):
        is_there = getattr(model.dimensions, tower) is not None
        if is_there != (tower == known_models()[architecture].tower):
            found, allowed = ("a tower", "none") if is_there else ("nothing", "one")
            raise InputError(
                source, f"model.dimensions.{tower}", found, f"{allowed}, as {architecture} has it"
            )
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
        found = "an unknown field" + suggestion(unknown[0], known)
        raise InputError("--set", unknown[0], found, f"one of {', '.join(known)}")
    crop_mode = changes.get("crop_mode", profile.crop_mode)
    is_other_engine = changes.get("engine", profile.engine) != profile.engine
    has_other_limit = is_other_engine or "max_tiles" in changes
    if not crop_mode or "page_size" in changes or (profile.page_size and has_other_limit):
        fields["crop_grid"] = None
    if not crop_mode:
        fields["base_size"] = fields["max_tiles"] = None
    if "crop_grid" in changes:
        fields["page_size"] = None
    if changes.get("text_only", profile.text_only):
        fields |= {**dict.fromkeys(VIEWS), "crop_mode": False}
    if profile.num_pages == profile.batch_size * profile.pages_per_prompt:
        fields["num_pages"] = None  # as many as a batch has
    if is_other_engine:  # keys that the previous engine set get the new engine's values
        replaced = {key for keys in ENGINES.values() for key in keys} | {"serving"}
        if profile.max_tiles == ENGINE_TILES:
            replaced.add("max_tiles")
        fields = {k: v for k, v in fields.items() if k not in replaced}
    if is_other_engine or any(name in changes for name in PROMPT):
        fields["seq_len"] = None
    place = "--set" if changes else source or "report.json"
    return validate(Workload, {**fields, **changes}, place)
