"""The quantisation that a ``config.json`` states: format, group size, what stays in 16 bits.

Sources: the ``quantization_config`` of transformers (bitsandbytes, GPTQ, AWQ, fp8,
compressed-tensors) and the ``quantization`` of mlx, as these tools write them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mkdocs_dsocr.inputs.config_file import ConfigFile
from mkdocs_dsocr.inputs.errors import InputError, repr_short
from mkdocs_dsocr.layers.formats import FORMATS

KEYS: Final = ("quantization_config", "quantization")
NOT_THE_DECODER: Final = (
    *("sam_model", "vision_model", "projector"),
    *("sam_encoder", "vision_encoder", "multi_modal_projector"),
)
"""Modules outside the decoder's layers, LM head apart."""
MLX_MODES: Final = ("affine", None)


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
    method = section.get("quant_method") or ("mlx" if "bits" in section else None)
    if method is None:
        raise InputError(file.path, f"{key}.quant_method", "nothing", "a method, such as awq")
    reader = _METHODS.get(str(method))
    if reader is None:
        return Quantization(f"the format of {repr_short(method)}", 16.0, None)
    return reader(_Section(file, key, section))


class _Section:
    """The keys of a quantisation, with errors that name them."""

    def __init__(self, file: ConfigFile, key: str, content: Mapping[str, Any]) -> None:
        self._file, self._key, self.content = file, key, content

    def number(self, name: str, default: int | None = None) -> int:
        """Return an integer.

        Raises
        ------
        InputError
            If the key is missing and has no default, or has something else.
        """
        found = self.content.get(name, default)
        if isinstance(found, bool) or not isinstance(found, int) or not -1 <= found <= 10**6:
            told = "nothing" if found is None else repr_short(found)
            allowed = "a whole number: without it the bytes of the weights are unknown"
            raise InputError(self._file.path, f"{self._key}.{name}", told, allowed)
        return found

    def names(self, name: str) -> tuple[str, ...]:
        """Return a list of module names; none where the key is absent or null."""
        found = self.content.get(name) or []
        if not isinstance(found, list) or not all(isinstance(n, str) for n in found):
            key = f"{self._key}.{name}"
            raise InputError(self._file.path, key, repr_short(found), "a list of module names")
        return tuple(found)

    def get(self, name: str) -> Any:
        return self.content.get(name)


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
    bits, group = section.number("bits"), section.number("group_size")
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
        kept=(*NOT_THE_DECODER, *(() if section.get("lm_head") else ("lm_head",))),
        warnings=tuple(warnings),
    )


def _awq(section: _Section) -> Quantization:
    bits = section.number("bits")
    group = section.number("group_size")
    zero = bits if section.get("zero_point") else 0
    return Quantization(
        _words("AWQ", bits, group),
        _grouped(bits, group, 16 + zero),
        _integers(bits),
        kept=("lm_head",),
        patterns=section.names("modules_to_not_convert"),
    )


def _bitsandbytes(section: _Section) -> Quantization:
    """Read bitsandbytes: 4 bits in blocks of 64 values, or 8 bits with a scale a row."""
    skipped = section.content.get("llm_int8_skip_modules")
    patterns = section.names("llm_int8_skip_modules")
    kept = ("lm_head",) if skipped is None else ()
    if section.get("load_in_8bit"):
        return Quantization("8-bit bitsandbytes, one scale per row", 8.0, "int8", kept, patterns)
    kind = section.get("bnb_4bit_quant_type") or "fp4"
    double = section.get("bnb_4bit_use_double_quant")
    # The scales of a block have 32 bits; double quantisation leaves 8, and 32 for 256 blocks.
    scale = 8 + 32 / 256 if double else 32
    text = f"4-bit bitsandbytes ({kind}{', double quantisation' if double else ''}), blocks of 64"
    return Quantization(text, 4 + scale / 64, "nf4", kept, patterns)


def _fp8(section: _Section) -> Quantization:
    block = section.get("weight_block_size")
    scale = 0.0
    if isinstance(block, list) and len(block) == 2 and all(isinstance(n, int) for n in block):
        scale = 32 / max(1, block[0] * block[1])
    blocks = f"a scale for each block of {block[0]}×{block[1]}" if scale else "one scale per tensor"
    return Quantization(
        f"fp8 ({section.get('fmt') or 'e4m3'}), {blocks}",
        8 + scale,
        "fp8",
        kept=("lm_head",),
        patterns=section.names("modules_to_not_convert"),
        warnings=_at_run_time(section.get("activation_scheme"), "fp8"),
    )


def _at_run_time(quantised: object, dtype: str) -> tuple[str, ...]:
    if not quantised:
        return ()
    return (
        f"The checkpoint's activations are quantised to {dtype} at run time, which is not counted: "
        f"products run in 16 bits. Set activation_dtype: {dtype} in the workload for the rate of "
        f"{dtype}.",
    )


def _compressed_tensors(section: _Section) -> Quantization:
    """Read compressed-tensors: groups of modules, each with the format of its weights."""
    groups = section.get("config_groups")
    found = [g for g in groups.values() if isinstance(g, dict)] if isinstance(groups, dict) else []
    weights = [g.get("weights") for g in found]
    patterns = section.names("ignore")
    one = weights[0] if weights and all(w == weights[0] for w in weights) else None
    is_linear = all(g.get("targets") == ["Linear"] for g in found)
    if not isinstance(one, dict) or not is_linear or not isinstance(one.get("num_bits"), int):
        text = "compressed-tensors, in several formats or of some modules only,"
        return Quantization(text, 16.0, None, patterns=patterns)
    bits, kind, group = one["num_bits"], one.get("type", "int"), one.get("group_size") or -1
    floats = {(8, group): "fp8", (4, 16): "nvfp4", (4, 32): "mxfp4"}
    dtype = floats.get((bits, group)) if kind == "float" else _integers(bits)
    zero = 0 if one.get("symmetric", True) else bits
    scale = FORMATS[dtype].scale_bits if dtype in ("nvfp4", "mxfp4") else 16
    words = f"{bits}-bit {kind} compressed-tensors"
    groups_of = (
        f"groups of {group}" if group > 0 else f"a scale per {one.get('strategy', 'tensor')}"
    )
    activations = any(g.get("input_activations") for g in found)
    return Quantization(
        f"{words}, {groups_of}",
        _grouped(bits, group, scale + zero),
        dtype,
        patterns=patterns,
        warnings=_at_run_time(activations, dtype or f"{bits} bits"),
    )


def _mlx(section: _Section) -> Quantization:
    """Read mlx: all linears and the embedding, a scale and a bias of 16 bits a group."""
    bits, group = section.number("bits"), section.number("group_size")
    modules = {k: v for k, v in section.content.items() if isinstance(v, dict) or v is False}
    kept = tuple(k for k, v in modules.items() if v is False)
    others = [k for k, v in modules.items() if v is not False]
    warnings = [
        "mlx quantises the token embedding as well; it is counted in 16 bits.",
        *([f"mlx stores {len(others)} modules in other formats: not counted."] if others else []),
    ]
    mode = section.get("mode")
    known = mode in MLX_MODES and bits in (4, 8)
    return Quantization(
        _words(f"mlx ({mode or 'affine'})", bits, group),
        _grouped(bits, group, 32),
        f"mlx{bits}" if known else None,
        patterns=kept,
        warnings=tuple(warnings),
    )


_METHODS: Final[Mapping[str, Callable[[_Section], Quantization]]] = {
    "gptq": _gptq,
    "awq": _awq,
    "bitsandbytes": _bitsandbytes,
    "fp8": _fp8,
    "compressed-tensors": _compressed_tensors,
    "mlx": _mlx,
}
"""The methods that are read, by the name in ``quant_method``."""
