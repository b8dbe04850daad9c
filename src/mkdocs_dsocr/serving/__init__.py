"""Many pages at once in an engine: its steps, its memory, its steady state, and how many GPUs.

The times are those of the kernels in :mod:`mkdocs_dsocr.cost`; nothing here times a kernel itself.
"""

from mkdocs_dsocr.serving.memory import EngineMemory, engine_memory
from mkdocs_dsocr.serving.steady import Steady, steady_state
from mkdocs_dsocr.serving.steps import EngineSteps, engine_workload

__all__ = [
    "EngineMemory",
    "EngineSteps",
    "Steady",
    "engine_memory",
    "engine_workload",
    "steady_state",
]
