"""Workloads of sites that are timed: ten of one shape, and ten of shapes of their own."""

from __future__ import annotations

from pathlib import Path

from mkdocs_dsocr import resources
from mkdocs_dsocr.inputs import shipped
from mkdocs_dsocr.resources import DEFAULT_WORKLOAD

WORKLOADS, GPUS = 10, 20
DEFAULT = f"workloads/{DEFAULT_WORKLOAD}.yaml"


def twenty_gpus() -> list[str]:
    """Return the ids of twenty GPUs that ship."""
    return shipped("hardware")[:GPUS]


def of_one_shape(folder: Path) -> list[str]:
    """Write workloads that differ in the number of pages, and return the names of their files."""
    return [_written(folder, f"pages-{n}", num_pages=n) for n in range(1, WORKLOADS + 1)]


def of_ten_shapes(folder: Path) -> list[str]:
    """Write workloads of ten kinds of pages, none with a trace that ships; return their files."""
    names = []
    for n in range(WORKLOADS):
        across, down = 1 + n % 3, 2 + n // 3
        size, answer = [640 * across, 640 * down], 600 + 37 * n
        names.append(_written(folder, f"shape-{n}", page_size=size, max_new_tokens=answer))
    return names


def _written(folder: Path, name: str, **changed: object) -> str:
    """Write the default workload with other values; the image may have any number of tokens."""
    text = (resources.data_dir() / DEFAULT).read_text(encoding="utf-8")
    values = {"profile_id": name, **changed}
    kept = (line for line in text.splitlines() if line.partition(":")[0] not in values)
    others = (line for line in kept if "page_size" not in changed or "seq_len" not in line)
    lines = [*others, *(f"{key}: {value}" for key, value in values.items())]
    lines += ["text_tokens: 20"] * ("page_size" in changed)
    (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"{name}.yaml"
