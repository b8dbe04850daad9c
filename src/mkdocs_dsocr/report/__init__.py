"""The layer tree's numbers as a report for people and machines."""

from mkdocs_dsocr.report.analysis import Analysis
from mkdocs_dsocr.report.files import report_files
from mkdocs_dsocr.report.json_schema import TargetOperatorList, json_schema
from mkdocs_dsocr.report.schema import AnalyticModelReport

__all__ = ["Analysis", "AnalyticModelReport", "TargetOperatorList", "json_schema", "report_files"]
