"""Every shipped workload on a GPU, at batch 1 and 8: python -m benchmarks.gpu FOLDER.

Writes ``FOLDER/workloads/*.yaml``, what was run, and ``FOLDER/*.json``, what was found, each as
soon as it is done: a site shows them with ``measurements: [FOLDER]``. Then traces each workload on
the GPU: the command fails where that differs from the formulas.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML

from mkdocs_dsocr import pipeline
from mkdocs_dsocr.inputs import load_workload, shipped
from mkdocs_dsocr.static import trace_model

BATCHES = (1, 8)


def variant(name: str, batch: int, folder: Path) -> str:
    """Write a shipped workload with another batch and return its path."""
    fields = load_workload(name).model_dump(mode="json", exclude_defaults=True)
    if batch > 1:
        fields |= {"profile_id": f"{name}-batch-{batch}", "batch_size": batch, "num_pages": batch}
    path = folder / f"{fields['profile_id']}.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(fields, file)
    return str(path)


def main(
    folder: Path,
    names: Sequence[str] = (),
    model: str = "deepseek-ocr-v1-base",
    device: str = "cuda",
    repeats: int = 20,
) -> list[str]:
    """Measure, trace, and return a sentence for each difference between trace and formulas."""
    on_gpu, failures = device == "cuda", []
    names = names or shipped("workloads")
    for batch in BATCHES:
        workloads = [variant(name, batch, folder / "workloads") for name in names]
        analyses = pipeline.analyse(pipeline.Settings(model, tuple(workloads)))
        # The largest batch is the same, whichever is measured.
        search = on_gpu and batch == 1
        options = pipeline.MeasureOptions(device, largest_batch=search, repeats=repeats)
        for profile_id, text in pipeline.measure(analyses, options, print):
            (folder / f"{profile_id}.json").write_text(text, encoding="utf-8")
        static = trace_model(analyses, "cuda" if on_gpu else "meta", print)
        failures += pipeline.complete(analyses, static).failures
    return failures


if __name__ == "__main__":
    sys.exit("\n".join(main(Path(sys.argv[1]), sys.argv[2:])) or None)
