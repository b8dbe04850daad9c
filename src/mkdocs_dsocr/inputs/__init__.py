"""Model configuration, workload and hardware: parsed and validated."""

from mkdocs_dsocr.inputs.errors import InputError
from mkdocs_dsocr.inputs.hardware import Hardware, load_hardware
from mkdocs_dsocr.inputs.model_config import ModelConfig
from mkdocs_dsocr.inputs.references import shipped
from mkdocs_dsocr.inputs.serving import Serving
from mkdocs_dsocr.inputs.workload import Workload, load_workload

__all__ = [
    "Hardware",
    "InputError",
    "ModelConfig",
    "Serving",
    "Workload",
    "load_hardware",
    "load_workload",
    "shipped",
]
