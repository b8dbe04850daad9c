"""Records of a static trace, to and from JSON. Imports nothing of the project.

A trace says what PyTorch counted: FLOPs of every module in every pass, and the
parameters and classes of the model. Formulas are verified against it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

Part = Literal["vision", "projector", "language"]
SIZES: Final = {
    "image_size": "side of a view in px",
    "tiles_w": "views per row",
    "tiles_h": "views per column",
    "tile_size": "side of a local view in px",
    "pages": "pages at once",
    "batch": "batch",
    "q_len": "new tokens per sample",
    "kv_len": "positions in the cache",
    "image_tokens": "image tokens per sample",
    "logits": "positions with logits",
    "window": "positions in the window",
}
"""Sizes of a pass in words, for messages."""


@dataclass(frozen=True)
class PassShape:
    """What one run of a pass is fed: all that its layers and its trace depend on.

    Attributes
    ----------
    pass_id, part
        ``vision.global`` …, and the part of the model that it runs.
    image_size, tiles_w, tiles_h, pages
        Vision and projector: side of a view in px, views per row and per column of
        a page, pages encoded at once.
    batch, q_len, kv_len
        Language: samples, new tokens per sample, positions in the cache after them.
    image_tokens
        Language: image tokens per sample (0 in a decode step).
    logits
        Language: positions a sample that get logits.
    window
        Language: of the positions in the cache, those after the prompt, where these are windowed.
    tile_size
        Projector: side of a local view in px, where one run has views of both kinds.
    autocast
        Whether it runs under ``torch.autocast`` to bfloat16.
    """

    pass_id: str
    part: Part
    image_size: int = 0
    tiles_w: int = 0
    tiles_h: int = 0
    pages: int = 1
    batch: int = 0
    q_len: int = 0
    kv_len: int = 0
    image_tokens: int = 0
    logits: int = 0
    window: int = 0
    tile_size: int = 0
    autocast: bool = False

    def __str__(self) -> str:
        """Return the pass and its sizes in words."""
        given = {key: getattr(self, key) for key in SIZES}
        sizes = [f"{SIZES[k]}: {v:,}" for k, v in given.items() if v != getattr(PassShape, k)]
        mode = " under autocast" if self.autocast else ""
        return f"{self.pass_id} ({', '.join(sizes)}){mode}"

    @property
    def views(self) -> int:
        """Views that are encoded at once."""
        return self.pages * self.tiles_w * self.tiles_h


@dataclass(frozen=True)
class ModuleRecord:
    """A module of the traced model.

    ``parameters`` maps the names of its own parameters to their shapes.
    """

    path: str
    class_name: str
    qualified_class_name: str
    parameters: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class TracedPeak:
    """The most bytes of activations at once in a call of a module.

    Attributes
    ----------
    bytes
        Inputs and what the call allocated, without parameters and KV cache.
    path, operator
        The module whose own operator allocated last, and which of them it is.
    """

    bytes: int
    path: str
    operator: int


@dataclass(frozen=True)
class PassRecord:
    """What was counted in one run of a pass.

    Attributes
    ----------
    shape
        What the pass was fed.
    matmul_flops
        What PyTorch's ``FlopCounterMode`` says, by module path, children
        included; modules that were not called are absent.
    elementwise_flops
        All other arithmetic that was dispatched, by the table of costs.
    eager_bytes
        Bytes that the dispatched operators touched: inputs once, outputs once.
    dispatches
        Operators that ran a kernel: all but views.
    peaks
        The largest peak of any call, by module path.
    host_syncs
        Values that the host asked the device for.
    unknown_operators
        Operators that the registry does not know.
    kvcache_bytes
        Storage of the cache after the pass.
    operators
        How often each class itself dispatched each operator, and the bytes; where asked for.
    """

    shape: PassShape
    matmul_flops: dict[str, int]
    elementwise_flops: dict[str, int]
    eager_bytes: dict[str, int]
    dispatches: dict[str, int]
    peaks: dict[str, TracedPeak]
    host_syncs: int
    unknown_operators: tuple[str, ...]
    kvcache_bytes: int
    operators: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Trace:
    """Everything that one static analysis found.

    `packages` are the releases of the packages that the modules come from, except PyTorch.
    """

    device: str
    torch_version: str
    modules: tuple[ModuleRecord, ...]
    passes: tuple[PassRecord, ...]
    packages: dict[str, str] = field(default_factory=dict)

    def find(self, shape: PassShape) -> PassRecord | None:
        """Return the record of a pass of exactly this shape."""
        return next((p for p in self.passes if p.shape == shape), None)

    def has(self, shapes: Iterable[PassShape]) -> bool:
        """Tell whether there is a record of a pass of each of these shapes."""
        return {*shapes} <= {record.shape for record in self.passes}

    def to_json(self) -> str:
        from pydantic import TypeAdapter

        return TypeAdapter(Trace).dump_json(self, indent=1).decode()

    @staticmethod
    def from_json(text: str) -> Trace:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If the text is no trace.
        """
        from pydantic import TypeAdapter, ValidationError

        try:
            # Recorded traces of GPUs have an earlier name of host_syncs.
            named = text.replace('"synchronisations":', '"host_syncs":')
            return TypeAdapter(Trace).validate_json(named, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"not a trace: {place or 'the whole'}: {first['msg']}") from None
