"""A stack of layers that are given the angles of all positions, and its last norm."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import ClassVar

from mkdocs_dsocr.layers.builtin import ModuleList
from mkdocs_dsocr.layers.decoder.rms_norm import DeepseekV2RMSNorm
from mkdocs_dsocr.layers.layer import Child, Step, dim, layer
from mkdocs_dsocr.layers.llama import Sequences
from mkdocs_dsocr.layers.llama.rotary import RotaryAngles
from mkdocs_dsocr.layers.operations import Tensor, keep
from mkdocs_dsocr.quantities import Quantity


@layer
class Stack(Sequences):
    """One mask and one set of angles for all layers, the layers, the last norm."""

    norm: ClassVar[type[DeepseekV2RMSNorm]]
    rotary: ClassVar[type[RotaryAngles]]

    kv_len: Quantity = dim("K", "positions that are attended to", "tokens")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    decoder_layers: tuple[Child, ...]

    def _mask(self) -> Generator[Step, None, tuple[Tensor, ...]]:
        """Yield what makes positions and mask, in order, and return the mask, if there is one."""
        raise NotImplementedError

    def forward(self) -> Iterator[Step]:
        rows = self.batch * self.q_len
        x, y, z = (Tensor(n, rows * self.hidden_size) for n in ("x", "layers(x)", "norm(y)"))
        angles = [Tensor(n, self.q_len * self.head_dim) for n in ("cos", "sin")]
        positions = Tensor("positions", self.q_len, "int64")
        yield keep(x)
        mask = yield from self._mask()
        yield Child("rotary_emb", self.inner(self.rotary), reads=(positions,), writes=tuple(angles))
        layers = ModuleList(items=self.decoder_layers)
        norm = self.norm(rows=rows, width=self.hidden_size)
        yield Child("layers", layers, reads=(x, *angles, *mask), writes=(y,))
        yield Child("norm", norm, reads=(y,), writes=(z,))
        yield keep(positions, *angles, *mask)
