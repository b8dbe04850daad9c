"""The trace that ships: the same as a new one, and used only where nothing differs."""

from __future__ import annotations

import dataclasses
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from mkdocs_dsocr.build import artifacts, pipeline, shipped
from mkdocs_dsocr.build.pipeline import Settings
from mkdocs_dsocr.build.static import OPERATORS, TORCHINFO, Analyses
from mkdocs_dsocr.resources import DEFAULT_WORKLOAD, data_dir

RENEW = "run `python -m mkdocs_dsocr.build.shipped` and commit what it writes"


@pytest.fixture
def analyses(monkeypatch: pytest.MonkeyPatch) -> Analyses:
    monkeypatch.setattr(shipped, "has_gpu", lambda: False)
    return pipeline.analyse(Settings())


def test_it_is_what_pytorch_counts_here(analyses: Analyses, result: pipeline.Result) -> None:
    found = shipped.shipped(analyses, Settings())
    assert found is not None, RENEW
    assert found.trace == result.static.trace, RENEW
    assert found.artifacts.keys() == result.static.artifacts.keys() >= set(TORCHINFO)
    for name, text in result.static.artifacts.items():
        assert found.artifacts[name] == text, (name, RENEW)
    assert found.is_shipped
    assert not result.static.is_shipped


def test_it_is_used_whatever_the_workload_is_called(
    analyses: Analyses, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = (data_dir() / f"workloads/{DEFAULT_WORKLOAD}.yaml").read_text(encoding="utf-8")
    (tmp_path / "w.yaml").write_text(text.replace(DEFAULT_WORKLOAD, "mine"), encoding="utf-8")
    settings = Settings(workloads=("w.yaml",), base=tmp_path)
    renamed = pipeline.analyse(settings)
    found = shipped.shipped(renamed, settings)
    assert found is not None
    files = artifacts.artifacts(pipeline.complete(renamed, found))
    assert json.loads(files[f"static/{OPERATORS}"])["snapshot_id"] == "mine"


@pytest.mark.parametrize(
    "changes",
    [
        {"trace": "cached"},
        {"trace": "verify"},
        {"device": "cuda"},
        {"trust_remote_code": True},
        {"workloads": ("dsocr-base",)},
        {"workloads": ("dsocr-standard-v1", "dsocr-base")},
        {"model": "unlimited-ocr"},
    ],
)
def test_other_inputs_are_traced(analyses: Analyses, changes: Any) -> None:
    settings = dataclasses.replace(Settings(), **changes)
    inputs = dataclasses.replace(settings, trust_remote_code=False)
    assert shipped.shipped(pipeline.analyse(inputs), settings) is None


def test_a_gpu_or_another_version_is_traced(
    analyses: Analyses, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shipped, "has_gpu", lambda: True)
        assert shipped.shipped(analyses, Settings()) is None
        assert shipped.shipped(analyses, Settings(device="meta")) is not None
    for package in ("torch", "torchinfo"):
        with monkeypatch.context() as patch:
            real = metadata.version
            patch.setattr(
                metadata, "version", lambda n, p=package, real=real: "9." * (n == p) + real(n)
            )
            assert shipped.shipped(analyses, Settings()) is None
    with monkeypatch.context() as patch:
        patch.setattr(shipped, "code_digest", lambda: "edited")
        assert shipped.shipped(analyses, Settings()) is None


def test_another_build_of_the_same_torch_makes_no_difference(
    analyses: Analyses, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = metadata.version
    other = lambda name: real(name).partition("+")[0] + "+cu130" * (name == "torch")  # noqa: E731
    monkeypatch.setattr(metadata, "version", other)
    assert shipped.shipped(analyses, Settings()) is not None
