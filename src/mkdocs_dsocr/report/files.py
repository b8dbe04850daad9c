"""The report's files: JSON, YAML, CSV and the schema, as text."""

from __future__ import annotations

import csv
import json
from functools import lru_cache
from io import StringIO
from typing import Final

from pydantic import BaseModel

from mkdocs_dsocr.report import explorer
from mkdocs_dsocr.report.analysis import Analysis
from mkdocs_dsocr.report.fields import Integers
from mkdocs_dsocr.report.json_schema import json_schema
from mkdocs_dsocr.report.schema import AnalyticModelReport
from mkdocs_dsocr.report.timeline import decode_step
from mkdocs_dsocr.report.yaml_text import yaml_text

SUMMARY: Final = "summary.json"
TIMES: Final = ("total_time_ms", "device_time_ms", "host_time_ms")
REPORT_FILES: Final = (
    "report.json",
    "report.yaml",
    SUMMARY,
    "modules.csv",
    "report.schema.json",
)


def report_files(analysis: Analysis) -> dict[str, str]:
    """Return the text of each file of the report by its name."""
    report = analysis.report
    return {
        "report.json": _json(report),
        "report.yaml": yaml_text(report.model_dump(mode="json", by_alias=True)),
        SUMMARY: summary_json(analysis),
        "modules.csv": modules_csv(report),
        "report.schema.json": _schema_text(),
    }


def viewer_files(analysis: Analysis) -> dict[str, str]:
    """Return the files for Perfetto (where there is a decode step) and Model Explorer by name."""
    files = {
        "decode-step.trace.json": decode_step(analysis),
        "model-explorer.json": explorer.graph(analysis),
        "model-explorer-times.json": explorer.node_data(analysis),
    }
    return {name: text for name, text in files.items() if text is not None}


def summary_json(analysis: Analysis) -> str:
    """Return the report in short as JSON."""
    return _json(analysis.summary)


@lru_cache(maxsize=1)
def _schema_text() -> str:
    return json.dumps(json_schema(), indent=1) + "\n"


def modules_csv(report: AnalyticModelReport) -> str:
    """Return a row for each node: identity, integers with and without children, time."""
    integers = list(Integers.model_fields)
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["module_id", "class_name", "stage", "parent_id", "instances", "calls"]
    own = [f"self_{name}" for name in integers]
    writer.writerow(
        [*head, *integers, *TIMES, "share_of_model_time", *own, *(f"self_{t}" for t in TIMES)]
    )
    for module, metrics in zip(report.modules, report.module_metrics, strict=True):
        writer.writerow(
            [
                module.module_id,
                module.class_name,
                module.stage,
                module.parent_id or "",
                module.instances,
                metrics.calls,
                *(getattr(metrics, name) for name in integers),
                *(getattr(metrics, name) for name in TIMES),
                metrics.share_of_model_time,
                *(getattr(metrics.self_, name) for name in integers),
                *(getattr(metrics, f"self_{name}") for name in TIMES),
            ]
        )
    return out.getvalue()


def _json(model: BaseModel) -> str:
    # Pydantic's own writer; the models hold no NaN.
    return model.model_dump_json(indent=1, by_alias=True) + "\n"
