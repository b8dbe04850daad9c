"""Models as analytic layers: DeepSeek-OCR."""

from mkdocs_dsocr.models.deepseek_ocr import (
    STAGES,
    Routing,
    build,
    pass_modules,
    traced_distinct_experts,
)
from mkdocs_dsocr.models.plan import Plan, Run, plan

__all__ = [
    "STAGES",
    "Plan",
    "Routing",
    "Run",
    "build",
    "pass_modules",
    "plan",
    "traced_distinct_experts",
]
