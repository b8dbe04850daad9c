"""The dimensions of a sweep: which there are, what they may be, and what they are by default."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from mkdocs_dsocr.inputs import Hardware, InputError, Workload, load_hardware
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.inputs.references import resolve
from mkdocs_dsocr.inputs.workload import MAX_BATCH, MAX_TILES, MAX_TOKENS, MAX_VIEW, VIEW_MULTIPLE
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.models import Plan

Array = np.ndarray
NUMBERS: Final = {
    "base_size": (VIEW_MULTIPLE, MAX_VIEW),
    "image_size": (VIEW_MULTIPLE, MAX_VIEW),
    "tiles_w": (1, MAX_TILES),
    "tiles_h": (1, MAX_TILES),
    "text_tokens": (0, MAX_TOKENS),
    "max_new_tokens": (1, MAX_TOKENS),
    "batch_size": (1, MAX_BATCH),
    "num_pages": (1, MAX_BATCH),
}
"""Workload dimensions that are integers, with the least and the most."""
CHOICES: Final = (
    "crop_mode",
    "logits_positions",
    "host_mode",
    "vision_batching",
    "precision_mode",
    "traffic",
    "weight_dtype",
    "activation_dtype",
    "kv_dtype",
)
"""Workload dimensions that are one of a few."""
RATES: Final = {
    "tensor_tflops": "dense peak of bfloat16 tensor cores, other formats in proportion",
    "cuda_tflops": "float32 peak of CUDA cores",
    "bandwidth_gb_s": "memory bandwidth, 1e9 byte a second",
    "memory_gb": "memory, 1e9 byte",
    "dispatch_us": "host time of one operator",
    "synchronise_us": "host time of one wait",
}
"""Hardware dimensions that are numbers, in place of the profile's."""
WORKLOAD: Final = (*NUMBERS, *CHOICES)
HARDWARE: Final = ("hardware", *RATES)


def allowed(name: str) -> tuple[Any, ...]:
    """Return the values of one of :data:`CHOICES`, in the order of their codes."""
    if name == "crop_mode":
        return (False, True)
    return get_args(Workload.model_fields[name].annotation)


def defaults(plan: Plan) -> dict[str, Any]:
    """Return the value of every workload dimension in a plan."""
    workload = plan.workload
    return {
        "base_size": workload.base_size,
        "image_size": workload.image_size,
        "tiles_w": plan.grid[0],
        "tiles_h": plan.grid[1],
        "text_tokens": plan.text_tokens,
        "max_new_tokens": workload.max_new_tokens,
        "batch_size": workload.batch_size,
        "num_pages": workload.pages,
        **{name: getattr(workload, name) for name in CHOICES},
    }


def complete(given: Mapping[str, Array], base: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """Return every dimension for every row: what is given, or the base's.

    Where the batch is given and the pages are not, there are enough for a batch.
    """
    dims = {k: np.broadcast_to(v, rows) for k, v in {**base, **given}.items()}
    if "batch_size" in given and "num_pages" not in given:
        dims["num_pages"] = np.maximum(dims["num_pages"], dims["batch_size"])
    return dims


def checked(name: str, values: Any, source: str | Path = "sweep") -> Array:
    """Return a dimension as an array: integers, codes of choices, or floats.

    Parameters
    ----------
    name, values
        The dimension, and one value or several.
    source
        Where they were read, for messages.

    Raises
    ------
    InputError
        If there is no such dimension, or it has a value that is not allowed.
    """
    if name in NUMBERS:
        return _integers(name, values, source)
    if name in CHOICES:
        known = {value: code for code, value in enumerate(allowed(name))}
        found = np.atleast_1d(np.asarray(values))
        distinct, places = np.unique(found, return_inverse=True)
        for value in distinct.tolist():
            if value not in known:
                raise InputError(source, name, repr_short(value), ", ".join(map(str, known)))
        return np.array([known[v] for v in distinct.tolist()], np.int64)[places]
    if name in RATES:
        numbers = np.atleast_1d(np.asarray(values, np.float64))
        if not (np.isfinite(numbers) & (numbers > 0)).all():
            raise InputError(source, name, "a number that is not above 0", RATES[name])
        return numbers
    raise InputError(source, name, "no dimension", ", ".join((*WORKLOAD, *HARDWARE)))


def _integers(name: str, values: Any, source: str | Path) -> Array:
    least, most = NUMBERS[name]
    numbers = np.atleast_1d(np.asarray(values))
    if numbers.dtype.kind not in "iu":
        raise InputError(source, name, f"values of type {numbers.dtype}", "integers")
    low, high = int(numbers.min(initial=most)), int(numbers.max(initial=least))
    if low < least or high > most:
        raise InputError(source, name, f"{low:,} to {high:,}", f"{least:,} to {most:,}")
    if name in ("base_size", "image_size") and (numbers % VIEW_MULTIPLE).any():
        raise InputError(source, name, "other sizes", f"multiples of {VIEW_MULTIPLE} px")
    return numbers.astype(np.int64)


def profiles(ids: Sequence[str]) -> list[Hardware]:
    """Return the hardware profile of each id or path."""
    return [_profile(value, resolve("hardware", value).stat().st_mtime_ns) for value in ids]


@lru_cache(maxsize=256)
def _profile(value: str, changed: int) -> Hardware:
    """Return a profile, read once for each state of its file."""
    return load_hardware(value)


class Rates:
    """What the GPUs of a sweep do in a millisecond, an entry a GPU.

    Parameters
    ----------
    gpus, places
        Profiles, and which of them each entry is.
    overrides
        Arrays of :data:`RATES`, an entry each, in place of the profiles'.
    """

    def __init__(
        self, gpus: Sequence[Hardware], places: Array, overrides: Mapping[str, Array]
    ) -> None:
        def column(name: str, of: Callable[[Hardware], float]) -> Array:
            given = overrides.get(name)
            return given if given is not None else np.array([of(g) for g in gpus])[places]

        scale: Array = np.ones(1)
        if "tensor_tflops" in overrides:
            own = [g.tensor_bf16.tflops if g.tensor_bf16 else np.nan for g in gpus]
            scale = overrides["tensor_tflops"] / np.array(own)[places]
        self.tensor = scale[:, None] * self._table(gpus, Hardware.tensor_tflops)[places]
        self.peak = scale[:, None] * self._table(gpus, Hardware.peak_tflops)[places]
        self.cuda = 1e9 * column("cuda_tflops", lambda g: g.cuda_fp32.tflops)
        self.memory = 1e6 * column("bandwidth_gb_s", lambda g: g.memory_gb_s)
        self.bandwidth = 1e6 * column("bandwidth_gb_s", lambda g: g.bandwidth_gb_s)
        self.capacity = 1e9 * column("memory_gb", lambda g: g.memory_gb)
        self.dispatch = column("dispatch_us", lambda g: g.host.dispatch_us if g.host else 0.0) / 1e3
        waits = column("synchronise_us", lambda g: g.host.synchronise_us if g.host else 0.0)
        self.wait = waits / 1e3

    def _table(self, gpus: Sequence[Hardware], rate: Callable[[Hardware, str], float]) -> Array:
        """Return rates by GPU and format; NaN where its tensor cores do not know one."""
        return np.array(
            [
                [1e9 * rate(gpu, f) if gpu.peak(f) is not None else np.nan for f in FORMATS]
                for gpu in gpus
            ]
        )
