"""The command ``dsocr`` and what may be imported where."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mkdocs_dsocr.cli import main
from tests.conftest import ROOT


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs_dsocr.cli", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def static_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static")
    flags = "--base-size 1024 --image-size 640 --seq-len 512 --crop-mode 1 --crop-grid 1x2"
    done = CliRunner().invoke(main, ["static", *flags.split(), "--output", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


def test_static_writes_the_artifacts_of_the_contract(static_dir: Path) -> None:
    names = {p.name for p in static_dir.iterdir()}
    assert names >= {
        "torchinfo-summary.txt",
        "torchinfo-layers.json",
        "torchinfo-stages.json",
        "torchinfo-unique-layers.json",
        "torchinfo-unique-layers.md",
        "target-operators.json",
        "trace.json",
        "verification.json",
    }
    unique = json.loads((static_dir / "torchinfo-unique-layers.json").read_text())
    assert unique["num_unique_layers"] == len(unique["layers"]) == 29
    assert unique["total_params"] == 3_170_627_840
    assert unique["device"] == "meta"
    stages = json.loads((static_dir / "torchinfo-stages.json").read_text())
    assert [s["stage"] for s in stages] == ["sam", "clip", "projector", "prefill", "decode"]
    assert all(s["params"] > 0 and s["mult_adds"] > 0 and s["calls"] > 0 for s in stages)
    assert json.loads((static_dir / "verification.json").read_text())["agrees"] is True
    for path in static_dir.iterdir():
        assert str(ROOT) not in path.read_text()


@pytest.mark.slow
def test_torchinfos_published_figure(tmp_path: Path) -> None:
    """184 G mult-adds for 703 tokens: torchinfo's own figure, and far from the truth."""
    done = CliRunner().invoke(
        main, ["static", "--workload", "dsocr-snapshot-2x2", "--output", str(tmp_path)]
    )
    assert done.exit_code == 0
    unique = json.loads((tmp_path / "torchinfo-unique-layers.json").read_text())
    assert round(unique["total_macs"] / 1e9) == 184


def test_analyze_with_a_static_analysis_reports_coverage(static_dir: Path, tmp_path: Path) -> None:
    arguments = ["analyze", "--static", str(static_dir), "--output", str(tmp_path), "--markdown"]
    done = CliRunner().invoke(main, [*arguments, "--workload-profile-id", "dsocr-standard-v1"])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["operator_coverage"] == {"classes": 29, "covered": 29, "other": []}
    assert json.loads((tmp_path / "verification.json").read_text())["agrees"] is True
    assert "| decode |" in (tmp_path / "report.md").read_text()


def test_a_static_analysis_of_another_workload_is_refused(static_dir: Path, tmp_path: Path) -> None:
    arguments = ["analyze", "--static", str(static_dir), "--workload", "dsocr-tiny"]
    done = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "found no pass prefill (batch: 1, new tokens per sample: " in done.output
    assert "a trace of this workload" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"device": 1}', "\x00"])
def test_a_damaged_trace_is_refused(static_dir: Path, tmp_path: Path, text: str) -> None:
    operators = (static_dir / "target-operators.json").read_text()
    (tmp_path / "target-operators.json").write_text(operators)
    (tmp_path / "trace.json").write_text(text)
    done = CliRunner().invoke(main, ["analyze", "--static", str(tmp_path)])
    assert done.exit_code == 2
    assert "dsocr static" in done.output


def test_a_class_without_a_layer_appears_as_other(static_dir: Path, tmp_path: Path) -> None:
    trace = json.loads((static_dir / "trace.json").read_text())
    operators = json.loads((static_dir / "target-operators.json").read_text())["operators"]
    inside = {m["class_name"] for m in trace["modules"] if m["path"]}
    assert inside == {o["class_name"] for o in operators}
    for module in trace["modules"]:
        if module["class_name"] == "SiLU":
            module["class_name"] = "BrandNewLayer"
    (tmp_path / "trace.json").write_text(json.dumps(trace))
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["analyze", "--static", str(tmp_path), "--output", str(out)])
    assert done.exit_code == 0
    coverage = json.loads((out / "report.json").read_text())["operator_coverage"]
    assert coverage == {"classes": 29, "covered": 28, "other": ["BrandNewLayer"]}


def test_default_output(tmp_path: Path) -> None:
    done = run("analyze", "--hardware", "h100-sxm", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run_id = "deepseek-ocr-v1-base--dsocr-standard-v1--h100-sxm"
    folder = tmp_path / f"tmp/profile-output/{run_id}/static_analysis/analytic_model"
    assert {p.name for p in folder.iterdir()} == {
        "report.json",
        "report.yaml",
        "summary.json",
        "modules.csv",
        "report.schema.json",
    }


def test_env() -> None:
    done = CliRunner().invoke(main, ["env"])
    assert done.exit_code == 0
    for words in ("torch 2.", "device auto: ", "dsocr-standard-v1", "rtx-5090"):
        assert words in done.output


@pytest.mark.parametrize(
    "flags",
    [
        ["--base-size", "1024"],
        [
            "--base-size",
            "1024",
            "--image-size",
            "640",
            "--seq-len",
            "512",
            "--crop-mode",
            "1",
            "--crop-grid",
            "two",
        ],
        ["--base-size", "1000", "--image-size", "640", "--seq-len", "512", "--crop-mode", "0"],
        ["--base-size", "1024", "--image-size", "640", "--seq-len", "1", "--crop-mode", "0"],
        ["--device", "cpu"],
    ],
)
def test_bad_flags(flags: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["static", *flags, "--output", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert not (tmp_path / "out").exists()


FORBIDDEN = {
    "mkdocs_dsocr.layers.decoder": ("torch", "numpy", "pydantic", "mkdocs"),
    "mkdocs_dsocr.report": ("torch", "numpy", "transformers", "mkdocs"),
    "mkdocs_dsocr.site.pages": ("torch", "transformers", "mkdocs"),
    "mkdocs_dsocr.build.pipeline": ("torch", "transformers", "mkdocs"),
    "mkdocs_dsocr.plugin": ("torch", "transformers"),
    "mkdocs_dsocr.cli": ("torch", "numpy", "pydantic", "mkdocs"),
    "mkdocs_dsocr.tracing.reference": ("transformers", "mkdocs"),
}


@pytest.mark.parametrize("module", FORBIDDEN)
def test_nothing_heavy_is_imported(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(FORBIDDEN[module]) & set(done.stdout.split())


def test_analyze_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from mkdocs_dsocr.cli import main\n"
        f"main(['analyze', '--output', {str(tmp_path)!r}], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
