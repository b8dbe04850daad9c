"""Static analysis with PyTorch: build the reference, run every pass, count."""

from mkdocs_dsocr.tracing.analyzer import DeepseekOCRStaticAnalyzer
from mkdocs_dsocr.tracing.measuring import measure
from mkdocs_dsocr.tracing.session import DeepSeekOCRSession, Device, resolve_device
from mkdocs_dsocr.tracing.torchinfo_artifacts import torchinfo_artifacts

__all__ = [
    "DeepSeekOCRSession",
    "DeepseekOCRStaticAnalyzer",
    "Device",
    "measure",
    "resolve_device",
    "torchinfo_artifacts",
]
