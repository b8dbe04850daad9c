"""Models as analytic layers: DeepSeek-OCR."""

from mkdocs_dsocr.models.deepseek_ocr import (
    STAGES,
    Load,
    Routing,
    build,
    built_pass,
    expected_load,
    expert_shares,
    pass_layer,
    rates,
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
    "built_pass",
    "expected_load",
    "expert_shares",
    "pass_layer",
    "plan",
    "rates",
    "traced_load",
]
