"""Fixtures that are costly once: the reference model, a trace, a built site."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from playwright.sync_api import Browser

# Workers of pytest share the cores: threads of torch that wait for each other would spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.build.static import Analyses
from mkdocs_dsocr.build.trace_store import trace_model
from mkdocs_dsocr.inputs import (
    Hardware,
    ModelConfig,
    Workload,
    load_hardware,
    load_workload,
)
from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.trace import PassRecord, PassShape
from mkdocs_dsocr.tracing import StaticAnalyzer
from tests.browsing import launched, served
from tests.sharing import collect_less_garbage, made_once

# Formulas are checked, not how long a busy machine takes to.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).parents[1]
FULL = os.environ.get("DSOCR_SOAK") == "1"
"""Whether the tests of many inputs, edits and kills run in full: ``nox -s soak``."""
WORKLOADS = (
    "dsocr-standard-v1",
    "dsocr-snapshot-2x2",
    "dsocr-a4-gundam",
    "dsocr-tiny",
    "dsocr-small",
    "dsocr-base",
    "dsocr-large",
)
TINY_DECODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "vocab_size": 100,
}


def _tiny_config() -> str:
    """Return the config of a small model of the same architecture, quick to trace and to run."""
    path = ROOT / "data/models/deepseek-ocr-v1-base/config.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw |= TINY_DECODER
    raw["language_config"] |= TINY_DECODER
    width = raw["vision_config"]["width"]
    width["clip-l-14-224"] |= {"width": 32, "heads": 4, "layers": 2}
    width["sam_vit_b"] |= {
        "width": 24,
        "heads": 3,
        "layers": 2,
        "global_attn_indexes": [1],
        "downsample_channels": [16, 32],
    }
    raw["projector_config"] |= {"input_dim": 64, "n_embed": 32}
    return json.dumps(raw)


def _tiny_unlimited() -> str:
    """Return the same of the other model."""
    path = ROOT / "data/models/unlimited-ocr/config.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    text, vision = raw["text_config"], raw["vision_config"]
    text |= TINY_DECODER | {
        "sliding_window": 4,
        "mlp_layer_types": ["dense", "sparse", "sparse"],
        "layer_types": text["layer_types"][:3],
    }
    vision["encoder_config"] |= {
        "hidden_size": 32,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
    }
    vision["sam_config"] |= {
        "hidden_size": 24,
        "mlp_dim": 96,
        "num_attention_heads": 3,
        "num_hidden_layers": 2,
        "global_attn_indexes": [1],
        "downsample_channels": [16, 32],
    }
    return json.dumps(raw)


TINY_CONFIG = _tiny_config()
TINY_UNLIMITED = _tiny_unlimited()


def small_got(side: int = 256, **text: Any) -> dict[str, Any]:
    """Return GOT-OCR-2.0's config.json with few and narrow layers, and views of some side."""
    path = ROOT / "data/models/got-ocr-2/config.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    content["text_config"] |= {
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": 100,
        **text,
    }
    content["vision_config"] |= {
        "hidden_size": 24,
        "mlp_dim": 96,
        "num_attention_heads": 3,
        "num_hidden_layers": 2,
        "global_attn_indexes": [1],
        "image_size": side,
    }
    return content


TINY_GOT = json.dumps(small_got(512))  # the side of dsocr-tiny


def pytest_collection_finish() -> None:
    collect_less_garbage()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep builds out of the user's cache; they share one of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    return load_model_config("deepseek-ocr-v1-base")


@pytest.fixture(scope="session")
def gpu() -> Hardware:
    return load_hardware("rtx-5090")


class _CountsOnce(StaticAnalyzer):
    """Counts each shape once, however many tests ask for it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self._records: dict[PassShape, PassRecord] = {}

    def count(self, shape: PassShape) -> PassRecord:
        if shape not in self._records:
            self._records[shape] = super().count(shape)
        return self._records[shape]


@pytest.fixture(scope="session")
def analyzer(config: ModelConfig) -> StaticAnalyzer:
    return _CountsOnce(config)


def _few_layers(model: str, **parts: dict[str, Any]) -> StaticAnalyzer:
    """Return a model with few layers of each kind, quick to trace."""
    config = load_model_config(model)
    parts["sam"] = {"layers": 3, "global_attn_indexes": (2,)}
    few = {name: getattr(config, name).model_copy(update=part) for name, part in parts.items()}
    return _CountsOnce(config.model_copy(update=few))


@pytest.fixture(scope="session")
def unlimited() -> StaticAnalyzer:
    """Unlimited-OCR with few layers of each kind."""
    return _few_layers("unlimited-ocr", language={"num_hidden_layers": 2}, clip={"layers": 2})


@pytest.fixture(scope="session")
def got() -> StaticAnalyzer:
    """GOT-OCR-2.0 with few layers of each kind."""
    language = {"num_hidden_layers": 2, "first_k_dense_replace": 2}
    return _few_layers("got-ocr-2", language=language)


@pytest.fixture(scope="session")
def ocr2() -> StaticAnalyzer:
    """DeepSeek-OCR-2 with few layers of each kind."""
    return _few_layers("deepseek-ocr-2", language={"num_hidden_layers": 2}, encoder={"layers": 2})


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
    static = trace_model(analyses, "meta", lambda _: None)
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

    def build(
        yml: str, files: dict[str, str | bytes] | None = None, *, strict: bool = True
    ) -> BuiltSite:
        folder = tmp_path_factory.mktemp("site")
        (folder / "docs").mkdir()
        always = {"docs/index.md": "# Home\n", "mkdocs.yml": yml, "tiny/config.json": TINY_CONFIG}
        for name, content in {**always, **(files or {})}.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())
        command = [sys.executable, "-m", "mkdocs", "build", *(["--strict"] if strict else [])]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        return BuiltSite(folder, folder / "site", done.stdout + done.stderr, done.returncode)

    return build


def measured_on_cpu(analyses: Analyses) -> str:
    """Return the measurement file of the main workload, run here."""
    options = pipeline.MeasureOptions("cpu", repeats=1)
    return next(text for _, text in pipeline.measure(analyses, options, lambda _: None))


MINIMAL = "site_name: s\ntheme: material\nplugins: [search, dsocr]\n"


@pytest.fixture(scope="session")
def offline_site(build_site: BuildSite, tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    """The site as README's mkdocs.yml sets it up: Material without fonts from elsewhere."""
    settings = MINIMAL.replace("theme: material", "theme: {name: material, font: false}")
    settings = settings.replace("dsocr]", "dsocr: {hardware: [rtx-5090, h100-sxm]}]")
    assert "h100-sxm" in settings
    built = made_once(tmp_path_factory, "offline_site", lambda: build_site(settings))
    assert built.returncode == 0, built.output
    return built


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    # Without build isolation nothing is downloaded.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, in a folder of their own."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def material_site(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    """The site that four lines of ``mkdocs.yml`` make where the wheel is installed."""
    folder = tmp_path_factory.mktemp("four-lines")
    (folder / "docs").mkdir()
    (folder / "docs/index.md").write_text("# Home\n")
    (folder / "mkdocs.yml").write_text(MINIMAL)
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "import mkdocs_dsocr, mkdocs.__main__\n"
        f"assert mkdocs_dsocr.__file__.startswith({str(installed)!r})\n"
        "mkdocs.__main__.cli(['build', '--strict'])"
    )
    command = [sys.executable, "-c", code]
    # Nothing is in its cache: every step runs.
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return BuiltSite(folder, folder / "site", done.stdout + done.stderr, done.returncode)


@pytest.fixture(scope="module")
def address(offline_site: BuiltSite) -> Iterator[str]:
    with served(offline_site.site) as url:
        yield url


@pytest.fixture
def chrome(started: Browser) -> Iterator[Browser]:
    """The browser, without the tabs of other tests."""
    yield started
    for context in started.contexts:
        context.close()


@pytest.fixture(scope="session")
def started() -> Iterator[Browser]:
    with launched() as browser:
        yield browser
