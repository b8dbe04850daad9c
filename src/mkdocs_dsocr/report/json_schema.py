"""The JSON Schema of everything that is written for machines."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from mkdocs_dsocr.report import schema as report
from mkdocs_dsocr.report.fields import Record
from mkdocs_dsocr.resources import docstring


class OperatorSpec(Record):
    """A module class that torchinfo met."""

    class_name: str
    class_name_qualified: str
    is_pytorch_builtin: bool
    is_custom: bool
    children_classes: list[str]
    default_category_id: str


class TargetOperatorList(Record):
    """The canonical list of classes that need an analytic layer."""

    snapshot_id: str
    source_artifact_dir: str
    layers_md_path: str
    layers_json_path: str
    stages_json_path: str
    operators: list[OperatorSpec]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the report; the other files' types are in its ``$defs``."""
    types: list[type[BaseModel]] = [
        report.AnalyticModelReport,
        report.DeepSeekOCRAnalyticReportSummary,
        TargetOperatorList,
    ]
    _, schema = models_json_schema(
        [(t, "serialization") for t in types], by_alias=True, ref_template="#/$defs/{model}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"mkdocs-dsocr/report/{report.SCHEMA_VERSION}",
        "title": "mkdocs-dsocr report",
        "description": " ".join(docstring(report).split()),
        "$ref": "#/$defs/AnalyticModelReport",
        **schema,
    }
