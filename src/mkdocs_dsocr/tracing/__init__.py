"""Static analysis with PyTorch: build the reference, run every pass, count."""

from mkdocs_dsocr.tracing.analyzer import StaticAnalyzer
from mkdocs_dsocr.tracing.measuring import Measurer
from mkdocs_dsocr.tracing.session import Device, Session, resolve_device
from mkdocs_dsocr.tracing.torchinfo_artifacts import torchinfo_artifacts

__all__ = [
    "Device",
    "Measurer",
    "Session",
    "StaticAnalyzer",
    "resolve_device",
    "torchinfo_artifacts",
]
