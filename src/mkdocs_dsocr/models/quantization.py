"""The quantisation that a ``config.json`` states: format, group size, what stays in 16 bits.

Sources: the ``quantization_config`` of transformers (bitsandbytes, GPTQ, AWQ, fp8,
compressed-tensors) and the ``quantization`` of mlx, as these tools write them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeGuard

from mkdocs_dsocr.inputs.config_file import ConfigFile
from mkdocs_dsocr.inputs.errors import InputError, plain, repr_short
from mkdocs_dsocr.inputs.fields import Limit
from mkdocs_dsocr.layers.formats import FORMATS

KEYS: Final = ("quantization_config", "quantization")
NOT_THE_DECODER: Final = (
    *("sam_model", "vision_model", "projector"),
    *("sam_encoder", "vision_encoder", "multi_modal_projector"),
)
"""Modules outside the decoder's layers, LM head apart."""
BITS: Final = Limit(1, 64)
GROUP: Final = Limit(1, 10**6)
WHOLE_ROW: Final = -1
"""A group size that stands for all values of a row."""


@dataclass(frozen=True)
class Quantization:
    """How linears are stored.

    Attributes
    ----------
    text
        The format in words.
    stored_bits
        Bits per weight in the checkpoint, scales and zero points included.
    weight_dtype
        The format of a workload that stands for it; None if there is none.
    kept
        Modules that stay in 16 bits.
    patterns
        Modules that stay in 16 bits, as the config names them.
    warnings
        What is stored otherwise and is not modelled.
    """

    text: str
    stored_bits: float
    weight_dtype: str | None
    kept: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def counted_bits(self) -> float:
        """Bits per weight of `weight_dtype`, with its scales."""
        found = FORMATS[self.weight_dtype or "bf16"]
        return found.bits + (found.scale_bits / found.group if found.group else 0)


def read_quantization(file: ConfigFile) -> Quantization | None:
    """Return the quantisation that a config.json states; None for a checkpoint without one.

    Raises
    ------
    InputError
        If it is not readable, or two are stated that differ.
    """
    stated = {key: file.get(key) for key in KEYS if file.get(key) is not None}
    if not stated:
        return None
    for key, found in stated.items():
        if not isinstance(found, dict) or not found:
            raise file.refuse(key, "a mapping that says how weights are stored")
    (key, section), *others = stated.items()
    if others and others[0][1] != section:
        raise file.refuse(others[0][0], f"the same as {key}")
    method = section.get("quant_method")
    if method is None and "bits" in section:
        method = "mlx"
    if not isinstance(method, str):
        told = "nothing" if method is None else repr_short(method)
        raise InputError(file.path, f"{key}.quant_method", told, "a method, such as awq")
    reader = _METHODS.get(method)
    if reader is None:
        return Quantization(f"the format of {repr_short(method)}", 16.0, None)
    return reader(_Section(file, key, section))


class _Section:
    """The keys of a quantisation, with errors that name them."""

    def __init__(self, file: ConfigFile, key: str, content: Mapping[str, Any]) -> None:
        self._file, self._key, self.content = file, key, content

    def refuse(self, name: str, allowed: str) -> InputError:
        """Return the error for what stands under a key."""
        found = self.content.get(name)
        told = "nothing" if found is None else repr_short(found)
        return InputError(self._file.path, f"{self._key}.{name}", told, allowed)

    def number(self, name: str, limit: Limit, also: str = "") -> int:
        """Return an integer, which the section must have.

        Parameters
        ----------
        name, limit
            Its key, and the numbers that are allowed.
        also
            What else is allowed, in words.
        """
        found = self.content.get(name)
        if not _is_whole(found, limit):
            raise self.refuse(name, f"{also}{limit}: without it the bytes are unknown")
        return found

    def group_size(self) -> int:
        """Return how many values share a scale; :data:`WHOLE_ROW` for all of a row."""
        if _is_whole(self.content.get("group_size"), Limit(WHOLE_ROW, WHOLE_ROW)):
            return WHOLE_ROW
        return self.number("group_size", GROUP, f"{WHOLE_ROW} for whole rows, or ")

    def flag(self, name: str, default: bool = False) -> bool:
        """Return whether something is so; the default where the key is absent or null."""
        found = self.content.get(name)
        if not isinstance(found, bool | None):
            raise self.refuse(name, "true or false")
        return default if found is None else found

    def text(self, name: str, default: str = "") -> str:
        """Return a word; the default where the key is absent or null."""
        found = self.content.get(name)
        if not isinstance(found, str | None):
            raise self.refuse(name, "text")
        return plain(found or default, 60)

    def names(self, name: str) -> tuple[str, ...]:
        """Return a list of module names; none where the key is absent or null."""
        found = self.content.get(name)
        if found is None:
            return ()
        if not isinstance(found, list) or not all(isinstance(n, str) for n in found):
            raise self.refuse(name, "a list of module names")
        return tuple(found)

    def section(self, name: str) -> _Section | None:
        """Return the section under a key; None where it is absent or null."""
        found = self.content.get(name)
        if not isinstance(found, dict | None):
            raise self.refuse(name, "a mapping")
        return None if found is None else _Section(self._file, f"{self._key}.{name}", found)

    def sections(self, name: str) -> list[_Section]:
        """Return the sections in the one under a key; none where it is absent or null."""
        outer = self.section(name)
        found = [outer.section(inner) for inner in outer.content] if outer else []
        return [section for section in found if section]

    def get(self, name: str) -> Any:
        return self.content.get(name)


def _is_whole(found: object, limit: Limit) -> TypeGuard[int]:
    """Tell whether a value is an integer within a limit; true and false are none."""
    return isinstance(found, int) and not isinstance(found, bool) and bool(limit.allows(found))


def _grouped(bits: int, group: int, extra_bits: int) -> float:
    """Return the bits per weight with `extra_bits` for each group; a group of -1 is a row."""
    return bits + (extra_bits / group if group > 0 else 0)


def _integers(bits: int) -> str | None:
    return {4: "int4", 8: "int8"}.get(bits)


def _words(method: str, bits: int, group: int) -> str:
    groups = f"groups of {group}" if group > 0 else "one group per row"
    return f"{bits}-bit {method}, {groups}"


def _gptq(section: _Section) -> Quantization:
    """Read GPTQ: linears of the decoder's layers, a scale of 16 bits and a zero point a group."""
    bits, group = section.number("bits", BITS), section.group_size()
    warnings = []
    if section.get("dynamic") or section.get("modules_in_block_to_quantize"):
        warnings.append(
            "GPTQ quantises modules differently here (dynamic or modules_in_block_to_quantize): "
            "all linears of the decoder's layers are counted alike."
        )
    return Quantization(
        _words("GPTQ", bits, group),
        _grouped(bits, group, 16 + bits),
        _integers(bits),
        kept=(*NOT_THE_DECODER, *(() if section.flag("lm_head") else ("lm_head",))),
        warnings=tuple(warnings),
    )


def _awq(section: _Section) -> Quantization:
    bits, group = section.number("bits", BITS), section.group_size()
    zero = bits if section.flag("zero_point") else 0
    return Quantization(
        _words("AWQ", bits, group),
        _grouped(bits, group, 16 + zero),
        _integers(bits),
        kept=("lm_head",),
        patterns=section.names("modules_to_not_convert"),
    )


def _bitsandbytes(section: _Section) -> Quantization | None:
    """Read bitsandbytes: 4 bits in blocks of 64 values, or 8 bits with a scale a row."""
    patterns = section.names("llm_int8_skip_modules")
    kept = ("lm_head",) if section.get("llm_int8_skip_modules") is None else ()
    eight, four = section.flag("load_in_8bit"), section.flag("load_in_4bit")
    if eight and four:
        raise section.refuse("load_in_8bit", "false with load_in_4bit: true")
    if eight:
        return Quantization("8-bit bitsandbytes, one scale per row", 8.0, "int8", kept, patterns)
    if not four:
        return None
    kind = section.text("bnb_4bit_quant_type", "fp4")
    double = section.flag("bnb_4bit_use_double_quant")
    # The scales of a block have 32 bits; double quantisation leaves 8, and 32 for 256 blocks.
    scale = 8 + 32 / 256 if double else 32
    text = f"4-bit bitsandbytes ({kind}{', double quantisation' if double else ''}), blocks of 64"
    return Quantization(text, 4 + scale / 64, "nf4", kept, patterns)


def _fp8(section: _Section) -> Quantization:
    block = section.get("weight_block_size")
    if block is not None and not _is_block(block):
        raise section.refuse("weight_block_size", "the rows and columns of a block, or null")
    scale = 32 / (block[0] * block[1]) if block else 0
    blocks = f"a scale for each block of {block[0]}×{block[1]}" if block else "one scale per tensor"
    return Quantization(
        f"fp8 ({section.text('fmt', 'e4m3')}), {blocks}",
        8 + scale,
        "fp8",
        kept=("lm_head",),
        patterns=section.names("modules_to_not_convert"),
        warnings=(_at_run_time("fp8"),) if section.text("activation_scheme") else (),
    )


def _is_block(found: object) -> bool:
    """Tell whether this is the size of a block: two positive integers."""
    return isinstance(found, list) and len(found) == 2 and all(_is_whole(n, GROUP) for n in found)


def _at_run_time(dtype: str | None) -> str:
    """Return what is not counted where activations are quantised to a format; None: to another."""
    name = dtype or "a format that is not modelled"
    text = (
        f"The checkpoint's activations are quantised to {name} at run time, which is not counted: "
        "products run in 16 bits."
    )
    choice = f" Set activation_dtype: {dtype} in the workload for the rate of {dtype}."
    return text + (choice if dtype else "")


def _compressed_tensors(section: _Section) -> Quantization:
    """Read compressed-tensors: groups of modules, each with the format of its weights."""
    patterns = section.names("ignore")
    groups = section.sections("config_groups")
    weights = [group.section("weights") for group in groups]
    activations = [a for group in groups if (a := group.section("input_activations"))]
    is_linear = all(group.names("targets") == ("Linear",) for group in groups)
    one = weights[0] if weights else None
    if one is None or not is_linear or any(w is None or w.content != one.content for w in weights):
        text = "compressed-tensors, in several formats or of some modules only,"
        return Quantization(text, 16.0, None, patterns=patterns)
    bits, kind, group, dtype = _format(one)
    zero = 0 if one.flag("symmetric", True) else bits
    scale = FORMATS[dtype].scale_bits if dtype in ("nvfp4", "mxfp4") else 16
    strategy = one.text("strategy", "tensor")
    shared = f"groups of {group}" if group > 0 else f"a scale per {strategy}"
    return Quantization(
        f"{bits}-bit {kind} compressed-tensors, {shared}",
        _grouped(bits, group, scale + zero),
        dtype,
        patterns=patterns,
        warnings=tuple(dict.fromkeys(_at_run_time(_format(a).dtype) for a in activations)),
    )


class _Format(NamedTuple):
    """A format of compressed-tensors: bits, int or float, group size, and a workload's format."""

    bits: int
    kind: str
    group: int
    dtype: str | None


def _format(section: _Section) -> _Format:
    bits, kind = section.number("num_bits", BITS), section.text("type", "int")
    if kind not in ("int", "float"):
        raise section.refuse("type", "int or float")
    group = WHOLE_ROW if section.get("group_size") is None else section.group_size()
    floats = {(8, group): "fp8", (4, 16): "nvfp4", (4, 32): "mxfp4"}
    dtype = floats.get((bits, group)) if kind == "float" else _integers(bits)
    return _Format(bits, kind, group, dtype)


def _mlx(section: _Section) -> Quantization:
    """Read mlx: all linears and the embedding, a scale and a bias of 16 bits a group."""
    bits, group = section.number("bits", BITS), section.group_size()
    modules = {k: v for k, v in section.content.items() if isinstance(v, dict) or v is False}
    kept = tuple(k for k, v in modules.items() if v is False)
    others = [k for k, v in modules.items() if v is not False]
    warnings = [
        "mlx quantises the token embedding as well; it is counted in 16 bits.",
        *([f"mlx stores {len(others)} modules in other formats: not counted."] if others else []),
    ]
    mode = section.text("mode", "affine")
    known = mode == "affine" and bits in (4, 8)
    return Quantization(
        _words(f"mlx ({mode})", bits, group),
        _grouped(bits, group, 32),
        f"mlx{bits}" if known else None,
        patterns=kept,
        warnings=tuple(warnings),
    )


_METHODS: Final[Mapping[str, Callable[[_Section], Quantization | None]]] = {
    "gptq": _gptq,
    "awq": _awq,
    "bitsandbytes": _bitsandbytes,
    "fp8": _fp8,
    "compressed-tensors": _compressed_tensors,
    "mlx": _mlx,
}
"""The methods that are read, by the name in ``quant_method``."""
