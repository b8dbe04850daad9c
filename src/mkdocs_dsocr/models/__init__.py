"""Models: what each runs on a workload, as analytic layers. Each is found by its entry point."""

from mkdocs_dsocr.models.batch import Batch, BatchPass, Sizes, rounds
from mkdocs_dsocr.models.checks import (
    check_autocast,
    check_bfloat16,
    check_pages,
    check_sides,
    check_text,
)
from mkdocs_dsocr.models.door import STAGES, Choices, Load, Model
from mkdocs_dsocr.models.passes import (
    Routing,
    build,
    built_pass,
    compute_dtypes,
    expected_load,
    expert_shares,
    pass_layer,
    plain_format,
)
from mkdocs_dsocr.models.plan import (
    NO_VIEW,
    Plan,
    Run,
    max_tiles_of,
    plan,
    resolved,
    runs_of,
)
from mkdocs_dsocr.models.registry import known_models, load_model_config, model_of
from mkdocs_dsocr.models.storage import formats_of

__all__ = [
    "NO_VIEW",
    "STAGES",
    "Batch",
    "BatchPass",
    "Choices",
    "Load",
    "Model",
    "Plan",
    "Routing",
    "Run",
    "Sizes",
    "build",
    "built_pass",
    "check_autocast",
    "check_bfloat16",
    "check_pages",
    "check_sides",
    "check_text",
    "compute_dtypes",
    "expected_load",
    "expert_shares",
    "formats_of",
    "known_models",
    "load_model_config",
    "max_tiles_of",
    "model_of",
    "pass_layer",
    "plain_format",
    "plan",
    "resolved",
    "rounds",
    "runs_of",
]
