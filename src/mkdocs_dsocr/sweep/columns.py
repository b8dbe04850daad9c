"""The dimensions of a sweep: which there are, what they may be, and what they are by default."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from mkdocs_dsocr.cost.formats import FORMAT_NAMES
from mkdocs_dsocr.cost.rates import MsPer, quantities, rates
from mkdocs_dsocr.inputs import Hardware, InputError, load_hardware, workload
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.inputs.fields import RATE, Interval, Limit
from mkdocs_dsocr.inputs.files import stamps
from mkdocs_dsocr.inputs.references import resolve
from mkdocs_dsocr.inputs.workload import BATCH, LIMITS, PAGES_PER_PROMPT
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.models import NO_VIEW, Plan

Array = np.ndarray
NUMBERS: Final = {
    name: LIMITS[name]
    for name in (
        "base_size",
        "image_size",
        "tiles_w",
        "tiles_h",
        "text_tokens",
        "max_new_tokens",
        "batch_size",
        "pages_per_prompt",
    )
} | {"num_pages": Limit(1, BATCH.most * PAGES_PER_PROMPT.most)}
"""Workload dimensions that are integers, with their limits.

A workload file without ``num_pages`` has the pages of one batch. So the limit on pages here is the
pages of the largest batch of the longest prompts.
"""
CHOICES: Final = tuple(name for name in workload.CHOICES if name not in ("doc_kind", "engine"))
"""Workload dimensions that are one of a few values.

The kind of document has no cost; an engine is a choice of the other dimensions.
"""
RATES: Final = {
    "tensor_tflops": "dense 16-bit peak of tensor cores, their other formats in proportion",
    "cuda_tflops": "float32 peak of CUDA cores, also of matrix products in fp32",
    "bandwidth_gb_s": "memory bandwidth, 1e9 byte per second",
    "memory_gb": "memory, 1e9 byte",
    "dispatch_us": "host time of one operator",
    "synchronise_us": "host time of one wait",
}
"""Hardware dimensions that are numbers, in place of the profile's."""
WORKLOAD: Final = (*NUMBERS, *CHOICES)
HARDWARE: Final = ("hardware", *RATES)


def by_code(name: str) -> tuple[Any, ...]:
    """Return the values of one of :data:`CHOICES` by code; formats as in :data:`FORMATS`."""
    return FORMAT_NAMES if name.endswith("_dtype") else workload.CHOICES[name]


def codes(name: str) -> dict[Any, int]:
    """Return the code of each value that one of :data:`CHOICES` allows."""
    return {value: by_code(name).index(value) for value in workload.CHOICES[name]}


def defaults(plan: Plan) -> dict[str, Any]:
    """Return the value of every workload dimension in a plan."""
    given = plan.workload
    return {
        "base_size": given.base_size or NO_VIEW,
        "image_size": given.image_size or NO_VIEW,
        "tiles_w": plan.grid[0],
        "tiles_h": plan.grid[1],
        "text_tokens": plan.text_tokens,
        "max_new_tokens": given.max_new_tokens,
        "batch_size": given.batch_size,
        "num_pages": given.pages,
        "pages_per_prompt": given.pages_per_prompt,
        **{name: getattr(given, name) for name in CHOICES},
    }


def complete(given: Mapping[str, Array], base: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """Return every dimension for every row: what is given, or the base's.

    Where the batch or its prompts are given and the pages are not, there are enough for a batch.

    Raises
    ------
    InputError
        If pages make no whole prompts.
    """
    dims = {k: np.broadcast_to(v, rows) for k, v in {**base, **given}.items()}
    each = dims["pages_per_prompt"]
    if "num_pages" not in given and given.keys() & {"batch_size", "pages_per_prompt"}:
        least = dims["batch_size"] * each
        dims["num_pages"] = np.maximum(-(-dims["num_pages"] // each) * each, least)
    if len(wrong := dims["num_pages"][dims["num_pages"] % each != 0]):
        allowed = "a multiple of pages_per_prompt"
        raise InputError("sweep", "num_pages", f"{wrong[0]:,}", allowed)
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
        numbers = _array(values, "iu", name, source, str(NUMBERS[name]))
        return _within(NUMBERS[name], numbers, name, source).astype(np.int64)
    if name in CHOICES:
        known = codes(name)
        words = ", ".join(map(str, known))
        found = _array(values, "biufU", name, source, words)
        distinct, places = np.unique(found, return_inverse=True)
        for value in distinct.tolist():
            if value not in known:
                raise InputError(source, name, repr_short(value), words)
        return np.array([known[v] for v in distinct.tolist()], np.int64)[places]
    if name in RATES:
        numbers = _array(values, "iuf", name, source, str(RATE))
        return _within(RATE, numbers.astype(np.float64), name, source)
    allowed_names = ", ".join((*WORKLOAD, *HARDWARE))
    raise InputError(source, name, "an unknown dimension", f"one of {allowed_names}")


def _array(values: Any, kinds: str, name: str, source: str | Path, allowed: str) -> Array:
    """Return one value or several as an array of one of these kinds of NumPy types."""
    refusal = InputError(source, name, repr_short(values), allowed)
    try:
        found = np.atleast_1d(np.asarray(values))
    except ValueError as error:  # lists within lists, of several lengths
        raise refusal from error
    if found.dtype.kind == "O" and all(isinstance(value, str) for value in found):
        found = found.astype(str)
    if found.ndim != 1 or not len(found) or found.dtype.kind not in kinds:
        raise refusal
    return found


def _within(limit: Limit | Interval, numbers: Array, name: str, source: str | Path) -> Array:
    """Return numbers that a limit allows; raise an error for the first that it does not."""
    wrong = numbers[~limit.allows(numbers)]
    if len(wrong):
        raise InputError(source, name, f"{wrong[0]:,}", str(limit))
    return numbers


def profiles(ids: Sequence[str], source: str = "sweep", base: Path | None = None) -> list[Hardware]:
    """Return the hardware profile of each id or path.

    Parameters
    ----------
    ids
        Ids, or paths relative to `base`.
    source
        Where they were read, for messages.
    base
        The working directory where not given.
    """
    files = [resolve("hardware", value, base, source) for value in ids]
    return [
        _profile(value, base, stamps([file]), source)
        for value, file in zip(ids, files, strict=True)
    ]


@lru_cache(maxsize=256)
def _profile(
    value: str, base: Path | None, state: tuple[tuple[str, int, int], ...], source: str
) -> Hardware:
    """Return a profile, read once for each state of its file."""
    return load_hardware(value, base, source)


class Rates:
    """What the GPUs of a sweep do in a millisecond, an entry a GPU.

    Parameters
    ----------
    gpus, places
        Profiles, and which of them each entry is.
    overrides
        Arrays of :data:`RATES`, an entry each, in place of the profiles'.
    """

    @np.errstate(over="ignore", divide="ignore", invalid="ignore")  # rates may be extreme
    def __init__(
        self, gpus: Sequence[Hardware], places: Array, overrides: Mapping[str, Array]
    ) -> None:
        def column(name: str, of: Callable[[Hardware], float]) -> Array:
            given = overrides.get(name)
            return given if given is not None else np.array([of(g) for g in gpus])[places]

        self._places, self._peaks = places, _peaks(gpus)
        tensor = column("tensor_tflops", lambda g: g.tensor_peak.tflops)
        cuda = column("cuda_tflops", lambda g: g.cuda_fp32.tflops)
        own = np.array([(g.tensor_peak.tflops, g.cuda_fp32.tflops) for g in gpus])[places]
        self._scales: Array = np.stack((tensor, cuda), axis=-1) / own
        reserved = np.array([g.reserved_bytes for g in gpus])[places]
        memory = column("memory_gb", lambda g: g.memory_bytes / 1e9)
        self.capacity = np.rint(1e9 * memory) - reserved
        found = [quantities(gpu) for gpu in gpus]
        values = {name: np.array([of[name] for of in found])[places] for name in found[0]}
        self._ms = rates(values | {k: v for k, v in overrides.items() if k in values})

    def per(self, gpu: Any) -> MsPer:
        """Return the times of one or several GPUs, those of formats left out.

        Parameters
        ----------
        gpu
            An index, or an array of indices.
        """
        return MsPer(tensor_peak={}, **{name: column[gpu] for name, column in self._ms.items()})

    def peak_ms(self, gpu: Any, formats: Array) -> Array:
        """Return the time of a FLOP at the dense peak: CUDA cores for fp32, else tensor cores.

        Parameters
        ----------
        gpu
            An index, or an array of indices.
        formats
            Codes of formats.
        """
        is_fp32 = (formats == FORMAT_NAMES.index("fp32")).astype(np.int64)
        peaks = self._scales[gpu, is_fp32] * self._peaks[self._places[gpu], formats]
        return 1 / peaks  # type: ignore[no-any-return]


def _peaks(gpus: Sequence[Hardware]) -> Array:
    """Return peaks by GPU and format; NaN where its tensor cores do not know one."""
    return np.array(
        [
            [1e9 * gpu.peak_tflops(f) if gpu.peak(f) is not None else np.nan for f in FORMATS]
            for gpu in gpus
        ]
    )
