"""For a reviewer: trace DeepSeek-OCR, verify the formulas, print where time and memory go.

python tests/manual/deepseek_ocr/manual_deepseek_ocr_performance_report.py [workload] [gpu]
"""

from __future__ import annotations

import sys

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.build.trace_store import trace_model
from mkdocs_dsocr.site import units


def main(workload: str = "dsocr-standard-v1", hardware: str = "rtx-5090") -> int:
    settings = pipeline.Settings(workloads=(workload,), hardware=(hardware,))
    analyses = pipeline.analyse(settings)
    result = pipeline.complete(analyses, trace_model(analyses, "auto", print))
    report = result.main.report
    print(f"\n{report.report_id}: {units.milliseconds(report.predicted_total_time_ms)} predicted")
    print("\nLook at the stages: does the ceiling that binds each make sense?")
    for name, stage in report.stages.items():
        print(
            f"  {name:10} {units.milliseconds(stage.time_ms):>9}  {stage.binding_ceiling:13}"
            f"  {stage.matmul_flops:>22,} matmul FLOPs  {stage.io_bytes:>18,} bytes"
        )
    print("\nLook at the top modules: would you expect them there?")
    for module in result.main.summary.top_modules:
        own = report.metrics(module.module_id).self_total_time_ms
        print(f"  {units.milliseconds(own):>9}  {module.module_id}")
    print("\nLook at the verdict: every class must agree.")
    for verdict in result.verification.classes:
        mark = "agrees" if verdict.agrees else "DIFFERS"
        flops = verdict.compared["matmul_flops"]
        print(f"  {verdict.class_name:24} {flops.formula:>22,} {flops.counted:>22,}  {mark}")
    for failure in result.verification.failures:
        print(f"  {failure}")
    return len(result.verification.failures)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
