"""Traces that ship: used where nothing differs that they depend on, so that no torch is needed.

``python -m mkdocs_dsocr.build.shipped`` in a checkout traces again and writes them. The tests trace
too, and compare.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any, Final

from mkdocs_dsocr import __version__
from mkdocs_dsocr.build.settings import Settings
from mkdocs_dsocr.build.static import LARGEST, Analyses, StaticAnalysis, from_artifacts
from mkdocs_dsocr.build.trace_keys import code_digest, packages_of, release, trace_key
from mkdocs_dsocr.build.trace_store import Entry, trace_model
from mkdocs_dsocr.io import atomic_write, read_regular
from mkdocs_dsocr.resources import data_dir

REASON: Final = f"trace shipped with {__version__}, checked in CI"
_DRIVERS: Final = (Path("/proc/driver/nvidia"), Path("/dev/kfd"))


def shipped(analyses: Analyses, settings: Settings) -> StaticAnalysis | None:
    """Return the trace that ships for these inputs, None where there is none or it may not be used.

    It is used if `settings` allow it, no GPU is present that ``auto`` might take, and the model,
    the shapes, the tracing code and the versions of this package, torch and all that a trace runs
    with are those of the shipped trace. The build of a torch version (its local version) makes no
    difference: on ``meta`` nothing is computed.
    """
    on_meta = settings.device == "meta" or (settings.device == "auto" and not has_gpu())
    if settings.trace != "ship" or settings.trust_remote_code or not on_meta:
        return None
    key = digest(analyses)
    for path in sorted(_folder().glob(f"{analyses[0][0].config.variant}--*.json.gz")):
        content = _content(path)
        if content["key"] == key:
            entry = Entry.model_validate({"artifacts": content["artifacts"], "reason": REASON})
            found = from_artifacts(entry.artifacts, entry.reason)
            return dataclasses.replace(found, is_shipped=True)
    return None


def file_of(analyses: Analyses) -> Path:
    """Return where the trace of a model and a workload is written."""
    main = analyses[0][0]
    return _folder() / f"{main.config.variant}--{main.workload.profile_id}.json.gz"


def digest(analyses: Analyses) -> str:
    """Return a digest of all that a trace on ``meta`` depends on."""
    versions = [release(name).partition("+")[0] for name in packages_of(analyses)]
    key = json.dumps([trace_key(analyses, "meta"), __version__, code_digest(), versions])
    return hashlib.sha256(key.encode()).hexdigest()


def _folder() -> Path:
    return data_dir() / "traces"


@cache
def _content(path: Path) -> Any:
    return json.loads(gzip.decompress(read_regular(path, LARGEST)))


def has_gpu() -> bool:
    """Tell whether there is a GPU that ``auto`` might take, without torch."""
    return any(path.exists() for path in _DRIVERS) or shutil.which("nvidia-smi") is not None


def main() -> None:
    """Trace the default model and workload, and write what ships."""
    from mkdocs_dsocr.build.pipeline import analyse

    analyses = analyse(Settings())
    static = trace_model(analyses, "meta", print)
    content = json.dumps({"key": digest(analyses), "artifacts": static.artifacts})
    path = file_of(analyses)
    path.parent.mkdir(exist_ok=True)
    atomic_write(path, gzip.compress(content.encode(), mtime=0))


if __name__ == "__main__":
    main()
