"""For a tools engineer: four ways to use the numbers again, from one saved report.

python tests/manual/deepseek_ocr/manual_deepseek_ocr_reuse_workflows.py [workload]
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import jsonschema

from mkdocs_dsocr import sweep
from mkdocs_dsocr.inputs import load_hardware, load_workload
from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.report import Analysis, report_files
from mkdocs_dsocr.report.changes import compare, load_report
from mkdocs_dsocr.sweep.whatif import evaluated

GPUS = ("h100-sxm", "l40s")


def main(workload: str = "dsocr-standard-v1") -> int:
    config, gpu = load_model_config("deepseek-ocr-v1-base"), load_hardware("rtx-5090")
    analysis = Analysis(config, load_workload(workload), gpu)
    files = report_files(analysis)

    print("1. Validate: the report under its own schema")
    schema = json.loads(files["report.schema.json"])
    jsonschema.validate(json.loads(files["report.json"]), schema)

    print("2. What if: other batches and GPUs, from the saved file alone")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        path.write_text(files["report.json"], encoding="utf-8")
        saved = load_report(path)
    gpus = [load_hardware(name) for name in GPUS]
    for row in evaluated(saved, path, [{"batch_size": 1}, {"batch_size": 16}], gpus):
        print(f"   {row.changes} {row.hardware_id}: {row.figures['pages_per_s']:.3f} pages/s")

    print("3. Sweep: a grid as NumPy columns")
    found = sweep.grid(workload=workload, hardware=list(GPUS), batch_size=range(1, 65))
    best = found["pages_per_s"].argmax()
    print(f"   {found.rows} scenarios, most pages per second at batch {found['batch_size'][best]}")

    print("4. Compare: what moved between two reports, and what moved it")
    other = Analysis(config, analysis.workload.model_copy(update={"max_new_tokens": 9}), gpu)
    changes = compare(saved, other.report, config)
    print(f"   {len(changes.figures)} figures, moved by {sorted({*changes.figures[0].causes})}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
