"""Predicted and measured kernel time of whole passes.

The kernels of a pass come from the analytic model with ``traffic: eager``, so that each operation
is one kernel. Measured passes are ``data/measurements/*/run-*/passes/*.json``. No constant is
fitted to a pass.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from benchmarks.calibration_model import (
    Constants,
    Gpu,
    Kind,
    attention_us,
    cuda_gemm_us,
    elementwise_us,
    gemm_us,
    matvec_us,
    memory_us,
    reduction_us,
)
from benchmarks.calibration_tables import PROFILED_STEPS, profile_means
from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.inputs import load_workload
from mkdocs_dsocr.layers.operations import BYTES_PER_ELEMENT, Operation, Tensor
from mkdocs_dsocr.quantities import Quantity

FUSED_ATTENTION: Final = ("FlashAttention", "scaled dot-product attention")
REDUCTIONS: Final = re.compile("layer norm|sort by|softmax|top-k|tokens per expert")
"""Operations that reduce rows, also where their output is as large as their input."""
CONTIGUOUS: Final = re.compile("gather tokens|pick rows|append|join the experts")
"""Gathers and concatenations of whole rows: PyTorch has vectorised kernels for them."""
SORT_LAUNCHES: Final = ((2048, 5), (float("inf"), 26))
"""Kernels of a sort by the number of keys: in place, or radix sort over 64 bits in 8 passes."""


@dataclass(frozen=True)
class PassKernel:
    """Equal kernels of a pass, at the middle step of a loop.

    Attributes
    ----------
    path, name, family
        Module, operation, and what a comparison groups it by.
    kind
        Formula by which it is timed.
    launches
        How often it runs in the pass.
    tensors
        For each tensor whether it is an activation, and the bytes that one launch touches.
    elements
        Elements that it writes.
    flops
        FLOPs on CUDA cores, of a product that runs there.
    sizes
        ``m``, ``n``, ``k``, groups of a GEMM; heads, queries, keys, head size of attention.
    causal
        Whether attention is masked.
    kernels
        Kernels that one operation launches.
    """

    path: str
    name: str
    family: str
    kind: Kind
    launches: float
    tensors: tuple[tuple[bool, float], ...]
    elements: float = 0.0
    flops: float = 0.0
    sizes: tuple[float, ...] = ()
    causal: bool = False
    kernels: int = 1

    @property
    def num_bytes(self) -> float:
        """Bytes that one launch touches."""
        return sum(b for _, b in self.tensors)

    def us(self, gpu: Gpu, c: Constants) -> float:
        """Return the predicted time of all its launches."""
        cold = sum(b for warm, b in self.tensors if not warm or b > gpu.l2_bytes)
        memory = memory_us(gpu, c, cold, self.num_bytes - cold)
        return self.launches * float(self._one(gpu, c, memory))

    def _one(self, gpu: Gpu, c: Constants, memory: Any) -> Any:
        if self.kind == "matvec" and c.matvec_us is not None:
            return matvec_us(c, memory)
        if self.kind in ("matvec", "gemm"):
            m, n, k, groups = self.sizes
            return gemm_us(gpu, c, m, n, k, memory, groups)
        if self.kind == "cuda gemm":
            return cuda_gemm_us(gpu, c, self.flops, memory)
        if self.kind == "attention":
            heads, q_len, kv_len, head_dim = self.sizes
            return attention_us(gpu, c, heads, q_len, kv_len, head_dim, memory, self.causal)
        if self.kind == "reduction":
            return reduction_us(gpu, c, memory) + (self.kernels - 1) * c.elementwise_us
        return elementwise_us(gpu, c, self.kind, self.elements, memory)


def pass_kernels(workload: str | Path) -> dict[str, list[PassKernel]]:
    """Return the kernels of each pass of a workload, run eagerly."""
    fields = load_workload(str(workload)).model_dump(mode="json", exclude_defaults=True)
    fields["traffic"] = "eager"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{fields['profile_id']}.yaml"
        with file.open("w", encoding="utf-8") as stream:
            YAML().dump(fields, stream)
        settings = pipeline.Settings(workloads=(str(file),), hardware=("h100-sxm",))
        analysis = pipeline.analyse(settings)[0][0]
        result: dict[str, list[PassKernel]] = defaultdict(list)
        for path, node in analysis.nodes.items():
            visit = node.visit
            active = (_number(visit.active) + _number(visit.last_active)) / 2
            for low, high in zip(visit.layer.kernels(), visit.last.kernels(), strict=True):
                pair = low.operations[0], high.operations[0]
                pass_id = path.split("/")[0]
                result[pass_id].append(_kernel(path, *pair, visit.modules, max(active, 1.0)))
    return dict(result)


def _number(quantity: Quantity) -> float:
    return float(quantity)  # type: ignore[arg-type]


def _middle(low: Quantity, high: Quantity) -> float:
    return (_number(low) + _number(high)) / 2


def _kernel(path: str, low: Operation, high: Operation, modules: int, active: float) -> PassKernel:
    """Return one kernel; of experts, one for each expert that has rows."""
    launches = active * _number(low.launches)
    tensors = [
        (t.role == "activation", _middle(t.bytes, u.bytes) / launches)
        for t, u in zip((*low.reads, *low.writes), (*high.reads, *high.writes), strict=True)
    ]
    kind = _kind(path, low)
    sizes: tuple[float, ...] = ()
    if kind in ("gemm", "matvec"):
        p = low.products[0]
        share = active if low.category == "linear" else _number(p.groups)
        groups = 1.0 if low.category == "linear" else _number(p.groups)
        sizes = (_number(p.rows) / share, _number(p.columns), _number(p.inner), groups)
        kind = "matvec" if sizes[0] <= 1 else "gemm"
    elif kind == "attention":
        first, last = low.products[0], high.products[0]
        heads = _number(first.groups)
        sizes = (
            heads,
            _number(first.rows) / heads,
            _middle(first.columns, last.columns),
            _number(first.inner),
        )
    elements = sum(_number(t.elements) for t in low.writes) / launches
    kernels = 1
    if low.name == "sort by expert":
        kernels = next(count for most, count in SORT_LAUNCHES if elements / 2 <= most)
    return PassKernel(
        path,
        low.name,
        FAMILIES[kind] if not _is_copy(low) else "copies and casts",
        kind,
        modules * launches,
        tuple(tensors),
        elements,
        _number(low.matmul_flops) / launches,
        sizes,
        low.causal_matmul_flops is not None,
        kernels,
    )


FAMILIES: Final[Mapping[str, str]] = {
    "matvec": "matrix products",
    "gemm": "matrix products",
    "cuda gemm": "matrix products",
    "attention": "attention",
    "vectorised": "other elementwise",
    "per element": "other elementwise",
    "strided": "other elementwise",
    "reduction": "reductions",
}


def _is_copy(o: Operation) -> bool:
    return not o.products and (o.is_cast or o.category == "copy")


def _kind(path: str, o: Operation) -> Kind:
    if o.products:
        if o.name in FUSED_ATTENTION:
            return "attention"
        # A convolution over 3 channels has no tensor-core kernel.
        return "cuda gemm" if o.unit != "tensor" or "patch_embed" in path else "gemm"
    if REDUCTIONS.match(o.name) or _reduces(o):
        return "reduction"
    return _elementwise_kind(path, o)


def _reduces(o: Operation) -> bool:
    """Whether the output is at most half as large as the input."""
    read = max((_number(t.elements) for t in o.reads), default=0.0)
    written = max((_number(t.elements) for t in o.writes), default=0.0)
    return _number(o.elementwise_flops) > 0 and 2 * written <= read


def _elementwise_kind(path: str, o: Operation) -> Kind:
    if "sam_model.blocks" in path and o.category == "residual":
        return "strided"  # one operand keeps the channels-first order of the patch embedding
    written = max((_number(t.elements) for t in o.writes), default=0.0)
    if o.is_cast:
        return "per element" if _width(o.writes[0]) > _width(o.reads[0]) else "vectorised"
    if CONTIGUOUS.match(o.name):
        return "vectorised"
    is_strided_copy = o.category == "copy"
    is_broadcast = any(1 < _number(t.elements) < written for t in o.reads)
    is_outer = o.category == "attention"
    return "per element" if is_strided_copy or is_broadcast or is_outer else "vectorised"


def _width(tensor: Tensor) -> int:
    return BYTES_PER_ELEMENT[tensor.dtype]


@dataclass(frozen=True)
class Measured:
    """Kernel time of a pass in µs, launches, and the same by family."""

    us: float
    launches: float
    by_family: Mapping[str, tuple[float, float]]


PATTERNS: Final = (
    ("attention", r"sdpa|flash|fmha|lean_reduction|memory-efficient"),
    ("copies and casts", r"nchwtonhwc|nhwctonchw|layout change"),
    ("matrix products", r"convol|fprop|nvjet|gemm|gemv|splitk|dot_kernel|reduce_1block|cutlass"),
    ("copies and casts", r"direct_copy|copy_kernel|catarray|memcpy|^copy|^cat"),
    (
        "reductions",
        r"reduce_kernel|layer_?norm|topk|top-k|sort|scan|softmax|radix|^mean|^sum|argmax|reduction",
    ),
    ("fills by libraries", r"memset"),
)
"""Families of kernels by their names; everything else is elementwise."""


def family(kernel: str) -> str:
    """Return the family of a kernel by its name."""
    name = kernel.lower()
    return next((f for f, p in PATTERNS if re.search(p, name)), "other elementwise")


def measured_passes(file: Path) -> dict[str, Measured]:
    """Return what a file of recorded passes holds, by pass."""
    result = {}
    for record in json.loads(file.read_text(encoding="utf-8")):
        calls = record["calls"]
        by: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        for k in record["kernels"]:
            us, launches = by[family(k["kernel"])]
            by[family(k["kernel"])] = us + k["total_us"] / calls, launches + k["launches"] / calls
        result[record["shape"]["pass_id"]] = Measured(
            1000 * record["kernel_ms"], record["launches"], dict(by)
        )
    return result


@dataclass(frozen=True)
class Comparison:
    """A pass, predicted and measured, in µs."""

    gpu: str
    workload: str
    pass_id: str
    predicted: float
    measured: Measured
    by_family: Mapping[str, float]
    launches: float

    @property
    def error(self) -> float:
        return self.predicted / self.measured.us - 1


def predicted(
    kernels: Sequence[PassKernel], gpu: Gpu, c: Constants
) -> tuple[float, dict[str, float], float]:
    """Return the time of some kernels in µs, the same by family, and their launches."""
    by: dict[str, float] = defaultdict(float)
    for kernel in kernels:
        by[kernel.family] += kernel.us(gpu, c)
    return sum(by.values()), dict(by), sum(k.launches * k.kernels for k in kernels)


def compare(
    hardware_id: str,
    run: Path,
    gpu: Gpu,
    c: Constants,
    cache: dict[str, dict[str, list[PassKernel]]],
) -> Iterator[Comparison]:
    """Yield each pass of a run of :mod:`benchmarks.gpu`. `cache` keeps kernels of workloads."""
    for file in sorted((run / "passes").glob("*.json")):
        if file.stem not in cache:
            cache[file.stem] = pass_kernels(run / "workloads" / f"{file.stem}.yaml")
        for pass_id, measured in measured_passes(file).items():
            kernels = cache[file.stem].get(pass_id)
            if kernels:
                us, by, launches = predicted(kernels, gpu, c)
                yield Comparison(hardware_id, file.stem, pass_id, us, measured, by, launches)


@dataclass(frozen=True)
class ProfileRow:
    """A range of the published RTX 5090 profile, predicted and measured, in µs."""

    name: str
    predicted: float
    measured: float
    use: str
    """``reproduction`` where a constant was derived from its families, else ``validation``."""

    @property
    def error(self) -> float:
        return self.predicted / self.measured - 1


CLIP_LAUNCHES: Final = 387
"""Launches of CLIP that the profile captured; the rest of the pass is not in it."""
PROFILE_FAMILIES: Final = {
    "matrix products": "matrix-vector products",
    "attention": "attention",
    "copies and casts": "copies and casts",
    "other elementwise": "other elementwise",
    "reductions": "reductions",
}


def profile_rows(folder: Path, workload: Path, gpu: Gpu, c: Constants) -> list[ProfileRow]:
    """Return the ranges of the published profile in `folder`."""
    kernels = pass_kernels(workload)
    decode, by, _ = predicted(kernels["decode"], gpu, c)
    found = profile_means(folder, "decode")
    measured: dict[str, float] = defaultdict(float)
    for name, (_, us) in found.items():
        if name != "argmax float32":  # of generate(), not of the model
            measured[family(name)] += us / PROFILED_STEPS
    rows = [ProfileRow("decode step", decode, sum(measured.values()), "reproduction")]
    rows += [
        ProfileRow(f"decode: {label}", by.get(key, 0.0), measured[key], "reproduction")
        for key, label in PROFILE_FAMILIES.items()
    ]
    local = kernels["vision.local"]
    sam = predicted([k for k in local if "sam_model" in k.path], gpu, c)
    clip = predicted([k for k in local if "vision_model" in k.path], gpu, c)
    measured_sam = sum(us for _, us in profile_means(folder, "sam").values())
    measured_clip = sum(us for _, us in profile_means(folder, "clip").values())
    projector = predicted(kernels["projector.local"][:2], gpu, c)[0]
    measured_projector = sum(us for _, us in profile_means(folder, "projector").values())
    return [
        *rows,
        ProfileRow("SAM, local views", sam[0], measured_sam, "validation"),
        ProfileRow(
            "CLIP, 387 launches", clip[0] * CLIP_LAUNCHES / clip[2], measured_clip, "validation"
        ),
        ProfileRow("projector", projector, measured_projector, "validation"),
    ]
