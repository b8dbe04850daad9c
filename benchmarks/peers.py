"""Other tools on the vision tower, and on sweeps: seconds, peak memory, error.

    nox -s peers

The tower is SAM ViT-B at 1024 px with random float32 weights on the CPU, each tool in a
process of its own; *error* is against the matmul FLOPs that the formulas give and that
PyTorch's ``FlopCounterMode`` counts on ``meta``. Sweeps: whole-model scenarios per second,
GenZ's being a prefill and one decode step of Llama 2 7B, as it does not know this model.
Prints a table and writes ``benchmarks/results/peers.json``.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "peers.json"
SIDE = 1024


def ours() -> int:
    """Return the tower's matmul FLOPs by formula: no torch, no model."""
    from mkdocs_dsocr.inputs import load_hardware, load_workload
    from mkdocs_dsocr.models import load_model_config
    from mkdocs_dsocr.report import Analysis

    workload = load_workload("dsocr-standard-v1")
    analysis = Analysis(
        load_model_config("deepseek-ocr-v1-base"), workload, load_hardware("rtx-5090")
    )
    node = analysis.nodes["vision.global/model.sam_model"]
    return node.total.matmul_flops // node.calls


def _tower(device: str = "cpu") -> tuple[Any, Any]:
    import torch

    from mkdocs_dsocr.models import load_model_config
    from mkdocs_dsocr.tracing.reference.vision import ImageEncoderViT

    config = load_model_config("deepseek-ocr-v1-base")
    with torch.device(device):
        tower = ImageEncoderViT(config.sam, config.sam_table_side).eval().requires_grad_(False)
        return tower, torch.zeros(1, 3, SIDE, SIDE)


def _torch(device: str) -> int:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    tower, view = _tower(device)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        tower(view)
    return int(counter.get_total_flops())


def _torchinfo() -> int:
    import torchinfo

    tower, view = _tower()
    return 2 * int(torchinfo.summary(tower, input_data=view, verbose=0).total_mult_adds)


def _fvcore() -> int:
    from fvcore.nn import FlopCountAnalysis

    tower, view = _tower()
    counts = FlopCountAnalysis(tower, view).unsupported_ops_warnings(False)
    return 2 * int(counts.uncalled_modules_warnings(False).total())


def _calflops() -> int:
    from calflops import calculate_flops

    tower, _ = _tower()
    flops, _, _ = calculate_flops(
        tower, (1, 3, SIDE, SIDE), print_results=False, output_as_string=False
    )
    return int(flops)


def _deepspeed() -> int:
    from deepspeed.profiling.flops_profiler import get_model_profile

    tower, view = _tower()
    flops, _, _ = get_model_profile(tower, args=[view], print_profile=False, as_string=False)
    return int(flops)


TOOLS: dict[str, Callable[[], int]] = {
    "mkdocs-dsocr": ours,
    "FlopCounterMode, meta": lambda: _torch("meta"),
    "FlopCounterMode, CPU": lambda: _torch("cpu"),
    "torchinfo": _torchinfo,
    "fvcore": _fvcore,
    "calflops": _calflops,
    "deepspeed": _deepspeed,
}


def ours_swept() -> float:
    """Return scenarios per second of a grid of 160,000 in one process."""
    import numpy as np

    from mkdocs_dsocr import sweep

    sweep.grid(batch_size=[1], max_new_tokens=[16])
    start = time.perf_counter()
    found = sweep.grid(batch_size=np.arange(1, 401), max_new_tokens=np.arange(16, 416))
    return found.rows / (time.perf_counter() - start)


def genz_swept() -> float:
    """Return GenZ's scenarios per second: one prefill and one decode step each."""
    from GenZ import decode_moddeling, prefill_moddeling

    common = {"model": "llama2_7b", "system_name": "H100_GPU", "bits": "bf16"}
    start, count = time.perf_counter(), 40
    for batch in range(1, count + 1):
        prefill_moddeling(input_tokens=800, batch_size=batch, **common)
        decode_moddeling(input_tokens=800, output_tokens=256, Bb=1, batch_size=batch, **common)
    return count / (time.perf_counter() - start)


SWEEPS: dict[str, Callable[[], float]] = {"mkdocs-dsocr": ours_swept, "genz-llm": genz_swept}


def _alone(kind: str, name: str) -> dict[str, Any]:
    """Run one tool in a process of its own; what goes wrong is what is said of it."""
    command = [sys.executable, "-m", "benchmarks.peers", kind, name]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failure": done.stderr.strip().splitlines()[-1]}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**answer, "seconds": round(time.perf_counter() - start, 2)}


def _version(name: str) -> str:
    package = "torch" if name.startswith("Flop") else name
    return metadata.version(package)


def main() -> None:
    truth = ours()
    tower = {}
    for name in TOOLS:
        found = _alone("tower", name)
        if "value" in found:
            found["error"] = found["value"] / truth - 1
        tower[name] = {"version": _version(name), **found}
        print(f"{name:24} {tower[name]}")
    sweeps = {n: {"version": _version(n), **_alone("sweep", n)} for n in SWEEPS}
    print(sweeps)
    content = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, no GPU",
        "python": platform.python_version(),
        "matmul_flops": truth,
        "tower": tower,
        "sweeps": sweeps,
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        value = {"tower": TOOLS, "sweep": SWEEPS}[sys.argv[1]][sys.argv[2]]()  # type: ignore[index]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"value": value, "peak_mib": round(peak / 1024)}))
