"""How a checkpoint stores its weights, and the formats of a workload that follow from it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from mkdocs_dsocr.inputs import InputError, Workload
from mkdocs_dsocr.inputs.checkpoint import common_dtype
from mkdocs_dsocr.inputs.config_file import ConfigFile
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.inputs.model_config import HEADERS, Storage
from mkdocs_dsocr.models.quantization import Quantization, read_quantization

DTYPES: Final = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
"""The dtypes of a config, as a workload names them."""
ALWAYS_WIDE: Final = frozenset(("gate", "embed_tokens", "norm"))
"""Modules that no format of a workload quantises."""
TOLERANCE: Final = 0.02
"""How far the bytes of a weight may be off without a warning."""
_SIMPLE: Final = re.compile(r"(?:[\w-]|\\\.|\.\*|\.)*")
"""Regular expressions that are read: names, ``\\.``, ``.`` and ``.*``."""

Components = Mapping[str, str]
"""Modules that may stay in 16 bits as a whole: their name in the layer tree, and the path that
checkpoints have for one of their linears."""


class Formats(NamedTuple):
    """The formats of a run."""

    weight_dtype: str
    activation_dtype: str
    kv_dtype: str


def formats_of(storage: Storage, workload: Workload) -> Formats:
    """Return the formats of a workload; the checkpoint's where it states none."""
    return Formats(
        workload.weight_dtype or storage.weight_dtype,
        workload.activation_dtype or storage.dtype,
        workload.kv_dtype or storage.dtype,
    )


def as_stored(storage: Storage, workload: Workload) -> Workload:
    """Return a workload that states its formats."""
    return workload.model_copy(update=formats_of(storage, workload)._asdict())


def read_storage(file: ConfigFile, sections: tuple[str, ...], components: Components) -> Storage:
    """Return how the checkpoint of a config.json stores its weights.

    Parameters
    ----------
    file
        The config.json.
    sections
        The dotted keys of the sections that may state a dtype, empty for the top level.
    components
        The modules that may stay in 16 bits.

    Raises
    ------
    InputError
        If the dtype is unknown or stated twice, or the quantisation is not readable.
    """
    found = read_quantization(file)
    dtype, notes = _dtype(file, sections, is_quantised=found is not None)
    if found is None:
        return Storage(dtype=dtype, weight_dtype=dtype, notes=tuple(notes))
    kept, others = _kept(found, components)
    stay = f" In {dtype} stay {', '.join(kept)}." if kept else ""
    notes.append(f"The checkpoint stores its weights in {found.text}.{stay}")
    warnings = [*found.warnings, *_unmatched(others)]
    if found.weight_dtype is None:
        warnings.insert(
            0,
            f"{found.text} is not modelled: weights are counted in {dtype}. Set weight_dtype in "
            "the workload to the format that comes closest.",
        )
    elif abs(off := found.counted_bits / found.stored_bits - 1) > TOLERANCE:
        warnings.insert(
            0,
            f"{found.text} is counted as {found.weight_dtype}, {found.counted_bits:.3g} bits per "
            f"weight: weights have {abs(off):.0%} {'more' if off > 0 else 'fewer'} bytes here "
            "than in the checkpoint. Set weight_dtype in the workload to choose another format.",
        )
    return Storage(
        is_quantised=True,
        dtype=dtype,
        weight_dtype=found.weight_dtype or dtype,
        kept=tuple(kept),
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def _dtype(
    file: ConfigFile, sections: tuple[str, ...], is_quantised: bool
) -> tuple[str, list[str]]:
    """Return the dtype of a checkpoint, and what there is to say about it."""
    stated: dict[str, Any] = {}
    for section in sections:
        for name in ("dtype", "torch_dtype"):
            key = f"{section}.{name}" if section else name
            if (value := file.get(key)) is not None:
                stated[key] = value
    for key, value in stated.items():
        if not isinstance(value, str) or value.removeprefix("torch.") not in DTYPES:
            raise InputError(file.path, key, repr_short(value), ", ".join(DTYPES))
    known = {key: DTYPES[value.removeprefix("torch.")] for key, value in stated.items()}
    if len(set(known.values())) > 1:
        first, *_, last = known
        allowed = f"the dtype of {last}, {stated[last]}"
        raise InputError(file.path, first, repr_short(stated[first]), allowed)
    told = next(iter(known.values()), None)
    in_files = None if is_quantised else common_dtype(file.path)
    names = {header: name for name, header in HEADERS.items()}
    found = names.get(in_files or "")
    if found and told and found != told:
        key = next(iter(known))
        return found, [f"The tensors are in {found}; config.json says {key}: {stated[key]}."]
    if not (found or told):
        return "bf16", ["config.json states no dtype: bf16 is assumed."]
    return found or told or "bf16", []


def _kept(found: Quantization, components: Components) -> tuple[list[str], list[str]]:
    """Return which components stay in 16 bits, and the entries that name none of them."""
    kept = [name for name in components if name in found.kept]
    others = []
    for pattern in found.patterns:
        names = [c for c, path in components.items() if _covers(pattern, path, c)]
        kept += [name for name in names if name not in kept]
        last = pattern.rstrip(".$").rpartition(".")[2].lstrip("*")
        if not names and last not in ALWAYS_WIDE:
            others.append(pattern)
    return [name for name in components if name in kept], others


def _covers(pattern: str, path: str, component: str) -> bool:
    """Tell whether an entry of a config is of a component, or of a module in it."""
    if pattern.startswith("re:"):
        glob = _as_glob(pattern.removeprefix("re:"))
        return glob is not None and fnmatchcase(path, glob)
    names = pattern.strip(".").split(".")
    own = path.split(".")[: -1 if "." in path else None]
    is_one_layer = "layers" in own and any(name.isdecimal() for name in names)
    return own[-1] in names and not is_one_layer


def _as_glob(expression: str) -> str | None:
    """Return a regular expression as a pattern of `fnmatch`; None for one that is not simple.

    Expressions of foreign files are not run, as some of them take years for a short name. An
    expression matches the start of a name, as in compressed-tensors.
    """
    text = expression.removeprefix("^")
    end = "" if text.endswith("$") else "*"
    text = text.removesuffix("$")
    if not _SIMPLE.fullmatch(text):
        return None
    parts = [part.replace(".*", "*").replace(".", "?") for part in text.split("\\.")]
    return ".".join(parts) + end


def _unmatched(others: Iterable[str]) -> Iterator[str]:
    names = list(others)
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield (
            f"The checkpoint leaves {repr_short(names[0])}{more} in 16 bits: they are counted in "
            "the format of the other weights."
        )
