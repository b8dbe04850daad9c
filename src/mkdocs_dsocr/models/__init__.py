"""Models as analytic layers: DeepSeek-OCR."""

from mkdocs_dsocr.models.deepseek_ocr import STAGES, build, pass_modules
from mkdocs_dsocr.models.plan import Plan, Run, plan

__all__ = ["STAGES", "Plan", "Run", "build", "pass_modules", "plan"]
