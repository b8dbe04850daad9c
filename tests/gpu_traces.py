"""Compares a trace that was made on a GPU with the formulas: python -m tests.gpu_traces FILE.

The modules that were traced lacked four small things that the checkpoint's code does, and that the
reference has had since: it counted indices of relative positions as integers, and asked neither for
the sum of the pixels nor for padding nor for the order of positions. This process leaves the same
out of the formulas; everything else has to be equal. It prints the failures as JSON.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.layers.core.deepseek_ocr import LanguagePart, VisionPart
from mkdocs_dsocr.layers.layer import Step
from mkdocs_dsocr.layers.llama import LlamaFlashAttention2
from mkdocs_dsocr.layers.operations import Tensor, elementwise, keep
from mkdocs_dsocr.layers.vision.attention import Attention
from mkdocs_dsocr.trace import Trace
from mkdocs_dsocr.verify.formulas import verify


def gathered(self: Attention, axis: str, picked: Tensor, first_name: str = "") -> Iterator[Step]:
    """Yield the gather of relative positions with indices that are integers."""
    pairs = self.side**2
    step = partial(elementwise, category="embedding", kernel=f"table {axis}")
    places = Tensor(f"places_{axis}", self.side, "int64")
    difference, index = (Tensor(f"{n}_{axis}", pairs, "int64") for n in ("i − j", "index"))
    yield step("places", 0, (), places)
    as_row = Tensor(f"places_{axis} as a row", self.side, "int64", view_of=places.name)
    yield step("i − j", pairs, (places, as_row), difference, pattern="per element")
    yield step("i − j + n − 1", pairs, (difference,), index)
    row = Tensor(f"R_{axis}", pairs * self.head_dim)
    yield step("gather", 0, (index, picked), row, pattern="per element")
    yield keep(places)


def ids_and_features(self: LanguagePart) -> Iterator[Tensor]:
    """Yield the inputs without an attention mask."""
    yield Tensor("token ids", self.batch * self.q_len, "int64")
    if self.has_images:
        yield self._image_features()


def leave_out() -> None:
    """Leave out of the formulas what the traced modules lacked."""
    Attention._gathered = gathered  # type: ignore[method-assign]
    LanguagePart.boundary = ids_and_features  # type: ignore[method-assign]
    LanguagePart._has_padding = lambda self: iter(())  # type: ignore[method-assign]
    VisionPart._has_image = lambda self, pixels: iter(())  # type: ignore[method-assign]
    LlamaFlashAttention2._one_sequence = lambda self, positions: iter(())  # type: ignore[method-assign]


def compared(path: Path) -> dict[str, object]:
    """Return the workloads of a trace, and where it differs from the formulas."""
    trace = Trace.from_json(gzip.decompress(path.read_bytes()).decode())
    names = [p.stem for p in sorted((path.parent / "workloads").glob("dsocr-*.yaml"))]
    eager = [n for n in names if "graph" not in n and "64" not in n and "autocast" not in n]
    files = tuple(str(path.parent / f"workloads/{name}.yaml") for name in eager)
    rows = pipeline.analyse(pipeline.Settings(workloads=files))
    found = verify([row[0] for row in rows], trace)
    return {
        "device": trace.device,
        "asked": eager,
        "workloads": sorted({row.workload for row in found.rows}),
        "failures": list(found.failures),
    }


if __name__ == "__main__":
    leave_out()
    print(json.dumps(compared(Path(sys.argv[1]))))
