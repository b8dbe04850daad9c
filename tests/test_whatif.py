"""A saved report, evaluated again: from the file alone, as a whole analysis says."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.cli import main
from mkdocs_dsocr.inputs import Hardware, ModelConfig, Workload, load_hardware, load_workload
from mkdocs_dsocr.inputs.workload import ENGINES
from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.report import Analysis, report_files
from mkdocs_dsocr.report.changes import load_report
from mkdocs_dsocr.report.saved import as_workload
from tests.conftest import ROOT, TINY_CONFIG

ANEW: dict[str, Any] = {**ENGINES["vllm"], "crop_grid": None, "seq_len": None}
"""Keys whose values the new engine sets."""
OLD = ROOT / "tests/data/report-1.0.json.gz"
"""A report as version 1.0 of the schema was written, of dsocr-tiny on an RTX 5090."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report of a model that does not ship and is gone."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "tiny").mkdir()
    config = folder / "tiny/config.json"
    config.write_text(TINY_CONFIG)
    settings = pipeline.Settings(f"{folder}/tiny/", ("dsocr-a4-gundam",))
    text = report_files(pipeline.analyse(settings)[0][0])["report.json"]
    config.unlink()
    (folder / "report.json").write_text(text)
    return folder / "report.json"


def _rows(report: Path, *flags: str) -> list[dict[str, str]]:
    done = CliRunner().invoke(main, ["whatif", str(report), *flags])
    assert done.exit_code == 0, done.output
    assert "formulas have changed" not in done.output
    return list(csv.DictReader(io.StringIO(done.stdout)))


def test_it_says_again_what_was_saved(saved: Path) -> None:
    report = load_report(saved)
    (row,) = _rows(saved)
    assert float(row["ttft_ms"]) == pytest.approx(report.latency.ttft_ms, rel=1e-12)
    assert float(row["predicted_total_time_ms"]) == pytest.approx(report.predicted_total_time_ms)
    assert int(row["footprint_bytes"]) == report.memory.footprint_bytes


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 8},
        {"batch_size": 3, "num_pages": 7},
        {"crop_grid": [3, 2], "page_size": None},
        {"page_size": [2000, 1000]},
        {"crop_mode": False, "image_size": 512},
        {"weight_dtype": "fp8", "traffic": "eager"},
        {"max_new_tokens": 40, "host_mode": "cuda_graph", "text_tokens": 99},
        {"engine": "vllm"},
        {"engine": "vllm", "max_tiles": 4, "serving": {"max_num_seqs": 8}},
    ],
)
def test_rows_are_those_of_whole_analyses(
    saved: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/config.json").write_text(TINY_CONFIG)
    config = load_model_config(f"{tmp_path}/tiny/")
    flags = [f"--set={name}={json.dumps(value)}" for name, value in changes.items()]
    rows = _rows(saved, *flags, "--hardware=h100-sxm", "--hardware=a10")
    workload = Workload.model_validate(
        load_workload("dsocr-a4-gundam").model_dump()
        | {"num_pages": None}  # one page a batch of one: as many as a batch has
        | ({"crop_grid": None, "base_size": None} if changes.get("crop_mode") is False else {})
        | (ANEW if "engine" in changes else {})
        | {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
    )
    for row, gpu in zip(rows, (load_hardware("h100-sxm"), load_hardware("a10")), strict=True):
        _agrees(row, config, workload, gpu)


@pytest.mark.parametrize(
    ("old", "new", "stated", "expected"),
    [
        ("transformers", "vllm", None, 6),
        ("transformers", "vllm", 4, 4),
        ("vllm", "transformers", 6, None),
        ("vllm", "transformers", 4, 4),
        ("vllm", "vllm", 6, 6),
    ],
)
def test_another_engine_keeps_a_limit_that_was_stated(
    saved: Path, old: str, new: str, stated: int | None, expected: int | None
) -> None:
    profile = load_report(saved).workload
    decided = ENGINES["vllm"] if old == "vllm" else {}
    profile = profile.model_copy(update={**decided, "engine": old, "max_tiles": stated})
    assert as_workload(profile, {"engine": new}).max_tiles == expected


def _agrees(row: dict[str, str], config: ModelConfig, workload: Workload, gpu: Hardware) -> None:
    whole = Analysis(config, workload, gpu)
    assert row["hardware"] == gpu.hardware_id
    assert float(row["ttft_ms"]) == pytest.approx(whole.latency.ttft_ms, rel=1e-12)
    assert float(row["pages_per_s"]) == pytest.approx(whole.latency.pages_per_s, rel=1e-12)
    assert float(row["floor_total_time_ms"]) == pytest.approx(whole.floor_ms, rel=1e-12)
    assert int(row["footprint_bytes"]) == whole.footprint_bytes
    assert row["fits"] == str(whole.footprint_bytes <= gpu.room_bytes)


def test_every_combination_is_a_row(saved: Path, tmp_path: Path) -> None:
    flags = ["--set=batch_size=1,2,4", "--set=crop_grid=[1, 2],[2, 2]", "--hardware=l4"]
    assert len(_rows(saved, *flags)) == 6
    output = tmp_path / "rows.csv"
    done = CliRunner().invoke(main, ["whatif", str(saved), *flags, "--output", str(output)])
    assert done.exit_code == 0, done.output
    with output.open() as file:
        assert [row["batch_size"] for row in csv.DictReader(file)] == ["1", "1", "2", "2", "4", "4"]


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--set=nope=1", "--set: nope: found an unknown field"),
        ("--set=batch_size", "--set: found 'batch_size'; allowed: FIELD=VALUE"),
        ("--set=batch_size=zwei", "batch_size: found 'zwei'"),
        ("--set=batch_size=[", "--set: batch_size: found no ',' or ']'"),
        ("--set=batch_sice=1", "did you mean batch_size"),
        ("--set=activation_dtype=int4", "products in int4"),
        ("--hardware=nope", "hardware: found 'nope'"),
    ],
)
def test_bad_changes(saved: Path, flag: str, words: str) -> None:
    done = CliRunner().invoke(main, ["whatif", str(saved), flag])
    assert done.exit_code == 2
    assert words in done.output


def test_a_report_of_an_older_version_is_read(tmp_path: Path) -> None:
    content = json.loads(gzip.decompress(OLD.read_bytes()))
    assert content["schema_version"] == "1.0"
    path = tmp_path / "report.json"
    path.write_text(json.dumps(content))
    report = load_report(path)
    assert report.model.dimensions is None
    assert report.stages["decode"].kernel_launches == content["stages"]["decode"]["dispatches"] > 0
    assert report.memory.room_bytes == report.hardware.memory_bytes
    done = CliRunner().invoke(main, ["whatif", str(path), "--set=batch_size=2"])
    assert done.exit_code == 0, done.output
    assert "ttft_ms" in done.output
    done = CliRunner().invoke(main, ["diff", str(path), str(path)])
    assert done.exit_code == 0, done.output
    content["model"]["model_variant"] = "another"
    path.write_text(json.dumps(content))
    done = CliRunner().invoke(main, ["whatif", str(path)])
    assert done.exit_code == 2
    assert "model.dimensions: found nothing" in done.output
    content["schema_version"] = "3.0"
    path.write_text(json.dumps(content))
    done = CliRunner().invoke(main, ["whatif", str(path)])
    assert "schema_version: found '3.0'" in done.output
