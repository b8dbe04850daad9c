"""For a reviewer: export report, pages and sweep of a workload, and say what each file is for.

python tests/manual/deepseek_ocr/manual_deepseek_ocr_model_export.py [workload] [folder]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from mkdocs_dsocr.report.changes import load_report

STEPS = (
    (("analyze", "--output", "report"), "the report: JSON, YAML, CSV and its schema"),
    (("export", "github", "--flavour", "github"), "Markdown with $-formulas and SVG files"),
    (("export", "zensical", "--flavour", "zensical"), "Markdown for a generator with HTML blocks"),
    (("static", "--output", "static"), "the trace, and torchinfo's artifacts"),
)


def main(workload: str = "dsocr-standard-v1", folder: str = "") -> int:
    place = Path(folder or tempfile.mkdtemp(prefix="dsocr_export_"))
    place.mkdir(parents=True, exist_ok=True)
    for arguments, purpose in STEPS:
        command = [sys.executable, "-m", "mkdocs_dsocr.cli", *arguments, "--workload", workload]
        subprocess.run(command, cwd=place, check=True, capture_output=True)
        files = [p for p in (place / arguments[-1]).rglob("*") if p.is_file()] or [
            p for p in (place / arguments[1]).rglob("*") if p.is_file()
        ]
        size = sum(p.stat().st_size for p in files)
        print(f"dsocr {' '.join(arguments)}: {len(files)} files, {size / 1e6:.1f} MB: {purpose}")
    report = load_report(place / "report/report.json")
    print(f"Look at {place}: {report.report_id}, schema {report.schema_version},")
    print(f"  {len(report.modules)} modules, {len(report.layers)} classes;")
    print("  a page's formula must be the one in layers/ of mkdocs_dsocr, its value the report's.")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
