"""Operators at the shapes that DeepSeek-OCR runs, as cases for :mod:`benchmarks.kernels`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

Maker = Callable[[str], Callable[[], object]]

LINEARS: Final = {
    "decoder": ((1280, 1280), (6848, 1280), (1280, 6848), (896, 1280), (1280, 896)),
    "shared expert": ((1792, 1280), (1280, 1792)),
    "LM head": ((129280, 1280),),
    "projector": ((1280, 2048),),
    "SAM": ((2304, 768), (768, 768), (3072, 768), (768, 3072)),
    "CLIP": ((3072, 1024), (1024, 1024), (4096, 1024), (1024, 4096)),
}
"""(out_features, in_features) of the model's linear layers."""
ROWS: Final = {
    "decoder": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 703, 913, 2048, 5624),
    "shared expert": (1, 8, 64, 512, 703, 913, 5624),
    "LM head": (1, 8, 64, 703, 913),
    "projector": (100, 256, 400, 600),
    "SAM": (1600, 4096, 4900, 6400, 7056, 9600),
    "CLIP": (101, 257, 404, 606, 2056),
}
"""Rows that each group of linear layers is run on: tokens or patches of a call."""
SIZES: Final = (1, 1280, 8960, 65_536, 899_840, 7_372_800, 67_108_864)
"""Elements of elementwise cases: from one value to more than any L2 cache holds."""


@dataclass(frozen=True)
class Case:
    """An operator at one shape.

    Attributes
    ----------
    family
        ``gemm``, ``grouped_gemm``, ``convolution``, ``attention``, ``elementwise`` or ``other``.
    name, sizes
        The operator, and its dimensions by name.
    flops, num_bytes
        FLOPs (2 per multiply-add), and bytes of each operand read or written once.
    make
        Makes fresh operands on a device and returns the call.
    """

    family: str
    name: str
    sizes: dict[str, int]
    flops: int
    num_bytes: int
    make: Maker = field(compare=False)


def cases() -> Iterator[Case]:
    """Yield every case, the most useful ones first."""
    yield from _linears()
    yield from _attention()
    yield from _elementwise()
    yield from _routing()
    yield from _grouped()
    yield from _convolutions()
    yield from _permuted()


def _random(device: str, *shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.randn(shape, dtype=dtype, device=device)


def _linears() -> Iterator[Case]:
    for group, pairs in LINEARS.items():
        for n, k in pairs:
            for m in ROWS[group]:
                yield _linear(m, n, k, bias=group in ("projector", "SAM", "CLIP"))
    for m in (1, 8, 703):
        yield _linear(m, 64, 1280, bias=False, dtype=torch.float32)


def _linear(m: int, n: int, k: int, *, bias: bool, dtype: torch.dtype = torch.bfloat16) -> Case:
    def make(device: str) -> Callable[[], object]:
        x, w = _random(device, m, k, dtype=dtype), _random(device, n, k, dtype=dtype)
        b = _random(device, n, dtype=dtype) if bias else None
        return lambda: F.linear(x, w, b)

    sizes = {"m": m, "n": n, "k": k, "bias": int(bias)}
    name = f"linear {str(dtype).removeprefix('torch.')}"
    values = m * k + n * k + m * n + n * bias
    return Case("gemm", name, sizes, 2 * m * n * k, dtype.itemsize * values, make)


def _attention() -> Iterator[Case]:
    for batch in (1, 8):
        for kv_len in (273, 512, 703, 1024, 2048, 4096, 8192):
            yield _sdpa("causal decode", batch, 10, 128, 1, kv_len)
        for q_len in (273, 512, 703, 913):
            yield _sdpa("causal prefill", batch, 10, 128, q_len, q_len, is_causal=True)
    for views, q_len in ((1, 257), (4, 101), (6, 101), (8, 257)):
        yield _sdpa("CLIP", views, 16, 64, q_len, q_len)
    for windows, q_len in ((25, 196), (36, 196), (54, 196), (1, 4096), (4, 1600), (6, 1600)):
        yield _sdpa("SAM with bias", windows, 12, 64, q_len, q_len, bias=True)


def _sdpa(
    name: str,
    batch: int,
    heads: int,
    head_dim: int,
    q_len: int,
    kv_len: int,
    *,
    is_causal: bool = False,
    bias: bool = False,
) -> Case:
    def make(device: str) -> Callable[[], object]:
        q = _random(device, batch, heads, q_len, head_dim)
        k, v = (_random(device, batch, heads, kv_len, head_dim) for _ in range(2))
        mask = _random(device, batch, heads, q_len, kv_len) if bias else None
        return lambda: F.scaled_dot_product_attention(q, k, v, mask, is_causal=is_causal)

    sizes = {"batch": batch, "heads": heads, "head_dim": head_dim, "q_len": q_len, "kv_len": kv_len}
    values = batch * heads * (2 * (q_len + kv_len) * head_dim + q_len * kv_len * bias)
    flops = 4 * batch * heads * q_len * kv_len * head_dim
    return Case("attention", f"attention {name}", sizes, flops, 2 * values, make)


ELEMENTWISE: Final[dict[str, tuple[Callable[[Tensor, Tensor], object], int]]] = {
    "copy": (lambda x, _: x.clone(), 4),
    "cast to float32": (lambda x, _: x.float(), 6),
    "add": (lambda x, y: x + y, 6),
    "multiply": (lambda x, y: x * y, 6),
    "negate": (lambda x, _: -x, 4),
    "silu": (lambda x, _: F.silu(x), 4),
    "gelu": (lambda x, _: F.gelu(x), 4),
    "fill": (lambda x, _: x.zero_(), 2),
    "cat": (lambda x, y: torch.cat((x, y)), 8),
}
"""Operators on two bfloat16 tensors, and the bytes that they move per element."""


def _elementwise() -> Iterator[Case]:
    for name, (call, width) in ELEMENTWISE.items():
        for size in SIZES:
            yield _pointwise(name, call, width, size)
    for rows in (1, 8, 703, 5624):
        yield _rowwise("mean of squares float32", rows, 1280, lambda x: x.pow(2).mean(-1, True))
        yield _rowwise("rsqrt float32", rows, 1, torch.rsqrt)
        yield _rowwise("softmax float32", rows, 64, lambda x: x.softmax(-1))
    for rows, width in ((4096, 768), (9600, 768), (257, 1024), (606, 1024)):
        yield _rowwise(
            "layer_norm", rows, width, lambda x: F.layer_norm(x, x.shape[-1:]), torch.bfloat16
        )
    for width in (1280, 129280):
        yield _rowwise("argmax float32", 1, width, lambda x: x.argmax(-1))


def _pointwise(name: str, call: Callable[[Tensor, Tensor], object], width: int, size: int) -> Case:
    def make(device: str) -> Callable[[], object]:
        x, y = _random(device, size), _random(device, size)
        return lambda: call(x, y)

    return Case("elementwise", name, {"elements": size}, size, width * size, make)


def _rowwise(
    name: str,
    rows: int,
    width: int,
    call: Callable[[Tensor], object],
    dtype: torch.dtype = torch.float32,
) -> Case:
    def make(device: str) -> Callable[[], object]:
        x = _random(device, rows, width, dtype=dtype).abs()
        return lambda: call(x)

    sizes = {"rows": rows, "width": width}
    moved = 2 * dtype.itemsize * rows * width
    return Case("elementwise", name, sizes, rows * width, moved, make)


def _routing() -> Iterator[Case]:
    for tokens in (1, 8, 703, 5624):
        yield _index_case("top-k", tokens, 64, lambda x, _: x.topk(6, dim=-1, sorted=False))
        yield _index_case("argsort", tokens * 6, 1, lambda _, i: i.argsort())
        yield _index_case("gather rows", tokens * 6, 1280, lambda x, i: x[i])
        yield _index_case("scatter rows", tokens * 6, 1280, _scatter)


def _scatter(x: Tensor, index: Tensor) -> Tensor:
    out = torch.empty_like(x)
    out[index] = x
    return out


def _index_case(name: str, rows: int, width: int, call: Callable[[Tensor, Tensor], object]) -> Case:
    def make(device: str) -> Callable[[], object]:
        x = _random(device, rows, width)
        index = torch.randperm(rows, device=device)
        return lambda: call(x, index)

    return Case("other", name, {"rows": rows, "width": width}, 0, 4 * rows * width, make)


def _grouped() -> Iterator[Case]:
    for tokens in (1, 8, 32, 64, 703, 5624):
        for n, k in ((1792, 1280), (1280, 896)):
            yield _grouped_linear(tokens * 6, n, k)


def _grouped_linear(rows: int, n: int, k: int, experts: int = 64) -> Case:
    """Return all experts' products as one kernel: `rows` spread evenly over the experts."""

    def make(device: str) -> Callable[[], object]:
        x, w = _random(device, rows, k), _random(device, experts, n, k).transpose(-2, -1)
        ends = torch.arange(1, experts + 1, device=device) * rows // experts
        offs = ends.to(torch.int32)
        return lambda: torch._grouped_mm(x, w, offs=offs)

    used = min(rows, experts)
    sizes = {"m": rows, "n": n, "k": k, "experts": experts, "experts_used": used}
    values = rows * (n + k) + used * n * k
    return Case("grouped_gemm", "grouped linear", sizes, 2 * rows * n * k, 2 * values, make)


def _convolutions() -> Iterator[Case]:
    for views, side in ((1, 1024), (4, 640), (6, 640)):
        grid = side // 16
        yield _conv(views, 3, 768, 16, 16, 0, side)
        yield _conv(views, 768, 256, 1, 1, 0, grid)
        yield _conv(views, 256, 256, 3, 1, 1, grid)
        yield _conv(views, 256, 512, 3, 2, 1, grid)
        yield _conv(views, 512, 1024, 3, 2, 1, math.ceil(grid / 2))


def _conv(views: int, c_in: int, c_out: int, kernel: int, stride: int, pad: int, side: int) -> Case:
    def make(device: str) -> Callable[[], object]:
        x = _random(device, views, c_in, side, side)
        w = _random(device, c_out, c_in, kernel, kernel)
        return lambda: F.conv2d(x, w, stride=stride, padding=pad)

    out = (side + 2 * pad - kernel) // stride + 1
    sizes = {
        "views": views,
        "in_channels": c_in,
        "out_channels": c_out,
        "kernel": kernel,
        "stride": stride,
        "side": side,
    }
    values = views * (c_in * side**2 + c_out * out**2) + c_out * c_in * kernel**2
    flops = 2 * views * out**2 * c_out * c_in * kernel**2
    return Case("convolution", "conv2d bfloat16", sizes, flops, 2 * values, make)


PERMUTED: Final[dict[str, tuple[Callable[[Tensor, Tensor], object], int]]] = {
    "copy, permuted": (lambda x, _: x.contiguous(), 4),
    "add, permuted and contiguous": (lambda x, y: x + y, 6),
    "layer_norm, permuted": (lambda x, _: F.layer_norm(x, x.shape[-1:]), 4),
}
"""Operators on a map in channels-first order, seen in channels-last order, and a contiguous one."""


def _permuted() -> Iterator[Case]:
    """Yield what SAM's blocks do: the patch embedding leaves its map in channels-first order."""
    for name in PERMUTED:
        for views, side in ((1, 64), (1, 40), (2, 40), (4, 40), (6, 40), (8, 64)):
            yield _permuted_case(name, views, side)


def _permuted_case(name: str, views: int, side: int, channels: int = 768) -> Case:
    call, width = PERMUTED[name]

    def make(device: str) -> Callable[[], object]:
        x = _random(device, views, channels, side, side).permute(0, 2, 3, 1)
        y = _random(device, views, side, side, channels)
        return lambda: call(x, y)

    elements = views * side**2 * channels
    sizes = {"views": views, "side": side, "channels": channels}
    return Case("permuted", name, sizes, elements, width * elements, make)
