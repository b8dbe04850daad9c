"""What a trace depends on, found without torch."""

from __future__ import annotations

import dataclasses
import json
import os
from importlib import metadata
from pathlib import Path
from typing import Final

from mkdocs_dsocr import __version__
from mkdocs_dsocr.build.static import Analyses, distinct_shapes
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.checkpoint import remote_code
from mkdocs_dsocr.io import source_digest
from mkdocs_dsocr.models import model_of
from mkdocs_dsocr.report.build import generated_at
from mkdocs_dsocr.resources import PACKAGE

CODE: Final = (
    "tracing",
    "trace.py",
    "layers/costs.py",
    "inputs/constants.py",
    "models/tokens.py",
)
"""Code that a trace depends on."""


def cache_key(analyses: Analyses, device: str, *, trust: bool = False) -> str:
    """Return everything that a static analysis depends on, without importing torch."""
    packages = packages_of(analyses, *(["transformers"] if trust else []))
    versions = [release(name) for name in packages]
    # ``auto`` is what it was as long as there is a driver, or none.
    driver = [Path("/proc/driver/nvidia").exists(), os.environ.get("CUDA_VISIBLE_DEVICES")]
    code = code_digest()
    vendor = source_digest(remote_code(analyses[0][0].config.path)) if trust else None
    rest = [__version__, code, vendor, versions, driver, generated_at()]
    return json.dumps([trace_key(analyses, device, trust=trust), *rest])


def code_digest() -> str:
    """Return a digest of the code that a trace depends on."""
    return source_digest(PACKAGE / part for part in CODE)


def packages_of(analyses: Analyses, *further: str) -> list[str]:
    """Return the packages that a trace runs with."""
    own = model_of(analyses[0][0].config).packages
    return list(dict.fromkeys(("torch", "torchinfo", *own, *further)))


def release(distribution: str) -> str:
    """Return the version of an installed package.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError as error:
        place = f"what a trace runs with: pip install {distribution}"
        raise InputError("environment", distribution, "nothing of this name", place) from error


def trace_key(analyses: Analyses, device: str, *, trust: bool = False) -> str:
    """Return what a trace depends on, as one string: neither names nor GPUs."""
    main = analyses[0][0]
    shapes = [dataclasses.astuple(shape) for shape in distinct_shapes(analyses)]
    fields = {"base_size", "image_size", "crop_mode", "max_new_tokens"}
    workload = main.workload.model_dump(mode="json", include=fields)
    config = main.config.model_dump(mode="json", exclude={"path"})  # wherever it is installed
    return json.dumps([config, workload, shapes, device, trust])
