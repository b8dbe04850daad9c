"""The scripts for reviewers run and say what they promise."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPTS = ROOT / "tests/manual/deepseek_ocr"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("manual_deepseek_ocr_performance_report.py", "every class must agree"),
        ("manual_deepseek_ocr_analytic_model.py", "forward_tensor_core_flops"),
        ("manual_deepseek_ocr_model_export.py", "the trace, and torchinfo's artifacts"),
        ("manual_deepseek_ocr_reuse_workflows.py", "moved by ['input']"),
    ],
)
def test_manual_scripts(script: str, words: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), "dsocr-tiny"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert "DIFFERS" not in done.stdout
