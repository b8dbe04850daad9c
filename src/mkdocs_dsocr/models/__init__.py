"""Models as analytic layers: DeepSeek-OCR."""

from mkdocs_dsocr.models.deepseek_ocr import (
    STAGES,
    Load,
    Routing,
    build,
    pass_modules,
    traced_load,
)
from mkdocs_dsocr.models.plan import Plan, Run, plan

__all__ = [
    "STAGES",
    "Load",
    "Plan",
    "Routing",
    "Run",
    "build",
    "pass_modules",
    "plan",
    "traced_load",
]
