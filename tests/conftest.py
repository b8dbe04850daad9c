"""Fixtures that are costly once: the reference model, a trace, a built site."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mkdocs_dsocr import pipeline
from mkdocs_dsocr.inputs import (
    Hardware,
    ModelConfig,
    Workload,
    load_hardware,
    load_model_config,
    load_workload,
)
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.tracing import DeepseekOCRStaticAnalyzer

ROOT = Path(__file__).parents[1]
WORKLOADS = (
    "dsocr-standard-v1",
    "dsocr-snapshot-2x2",
    "dsocr-a4-gundam",
    "dsocr-tiny",
    "dsocr-small",
    "dsocr-base",
    "dsocr-large",
)


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    return load_model_config("deepseek-ocr-v1-base")


@pytest.fixture(scope="session")
def gpu() -> Hardware:
    return load_hardware("rtx-5090")


@pytest.fixture(scope="session")
def analyzer(config: ModelConfig) -> DeepseekOCRStaticAnalyzer:
    return DeepseekOCRStaticAnalyzer(config)


@pytest.fixture(scope="session")
def analyse(config: ModelConfig, gpu: Hardware) -> Callable[..., Analysis]:
    """Analyse a shipped workload, with some of its fields replaced."""

    def make(workload: str | Workload, **changes: object) -> Analysis:
        if isinstance(workload, str):
            workload = load_workload(workload)
        fields = {**workload.model_dump(), **changes}
        return Analysis(config, Workload.model_validate(fields), gpu)

    return make


@pytest.fixture(scope="session")
def result(config: ModelConfig) -> pipeline.Result:
    """The standard workload, traced and verified."""
    analyses = pipeline.analyse(pipeline.Settings())
    static = pipeline.trace_model(analyses, "meta", lambda _: None)
    return pipeline.complete(analyses, static)


@dataclasses.dataclass(frozen=True)
class BuiltSite:
    """A site built by a real ``mkdocs build`` process."""

    folder: Path
    site: Path
    output: str
    returncode: int

    def read(self, path: str) -> str:
        return (self.site / path).read_text(encoding="utf-8")


BuildSite = Callable[..., BuiltSite]


@pytest.fixture(scope="session")
def build_site(tmp_path_factory: pytest.TempPathFactory) -> BuildSite:
    """Build a site from the text of ``mkdocs.yml`` and of further files."""

    def build(yml: str, files: dict[str, str] | None = None, *, strict: bool = True) -> BuiltSite:
        folder = tmp_path_factory.mktemp("site")
        (folder / "docs").mkdir()
        for name, text in {"docs/index.md": "# Home\n", "mkdocs.yml": yml, **(files or {})}.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "mkdocs", "build", *(["--strict"] if strict else [])]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        return BuiltSite(folder, folder / "site", done.stdout + done.stderr, done.returncode)

    return build


MINIMAL = "site_name: s\ntheme: material\nplugins: [search, dsocr]\n"


@pytest.fixture(scope="session")
def material_site(build_site: BuildSite) -> BuiltSite:
    """The site that four lines of ``mkdocs.yml`` make."""
    built = build_site(MINIMAL)
    assert built.returncode == 0, built.output
    return built


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def offline_site(build_site: BuildSite) -> BuiltSite:
    """The site as README's mkdocs.yml sets it up: Material without fonts from elsewhere."""
    built = build_site(MINIMAL.replace("theme: material", "theme: {name: material, font: false}"))
    assert built.returncode == 0, built.output
    return built
