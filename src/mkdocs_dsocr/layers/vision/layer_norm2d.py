"""LayerNorm2d: layer norm over the channels of a map."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.layer import Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, Tensor, keep
from mkdocs_dsocr.quantities import Quantity


@layer
class LayerNorm2d(BaseLayer):
    """Normalise every pixel over its channels, in separate elementwise steps."""

    source = "deepencoder.LayerNorm2d (SAM's neck)"
    rationale = Rationale(
        counted="Each elementwise step: 1 FLOP an element, reductions 1 for each element read.",
        not_counted="Nothing.",
        assumed="Fused: one kernel reads the map once and writes it once. "
        "Run eagerly it is ten kernels, each with its own reads and writes.",
        would_change="A channels-last layout with torch.nn.LayerNorm would be the same work.",
    )

    views: Quantity = dim("B", "maps in the batch", "views")
    channels: Quantity = dim("C", "channels")
    side: Quantity = dim("s", "side of the map", "px")

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("weight", (self.channels,))
        yield Parameter("bias", (self.channels,))

    def forward(self) -> Iterator[Step]:
        pixels = self.views * self.side**2
        elements = pixels * self.channels

        def full(name: str) -> Tensor:
            return Tensor(name, elements)

        def row(name: str) -> Tensor:
            return Tensor(name, pixels)

        def step(
            name: str,
            flops: Quantity,
            reads: tuple[Tensor, ...],
            write: Tensor,
            saves: tuple[Tensor, ...] = (),
        ) -> Operation:
            return Operation(
                name,
                "norm",
                elementwise_flops=flops,
                reads=reads,
                writes=(write,),
                saved_for_backward=saves,
                kernel="layer norm 2d",
                autocast="float32" if name == "square" else "",
            )

        weight = Tensor("weight", self.channels, role="weight")
        bias = Tensor("bias", self.channels, role="weight")
        yield step("mean over channels", costs.MEAN * elements, (full("x"),), row("u"))
        yield step("x − mean", elements, (full("x"), row("u")), full("d"))
        yield step("square", elements, (full("d"),), full("d²"), (full("d"),))
        yield step("variance", costs.MEAN * elements, (full("d²"),), row("s"))
        yield step("x − mean, again", elements, (full("x"), row("u")), full("c"))
        yield step("variance + ε", pixels, (row("s"),), row("s+ε"))
        yield step("square root", pixels, (row("s+ε"),), row("std"), (row("std"),))
        both = (full("c"), row("std"))
        yield step("divide by std", elements, both, full("n"), both)
        yield step("× weight", elements, (full("n"), weight), full("wn"), (full("n"),))
        yield step("+ bias", elements, (full("wn"), bias), full("y"))
        yield keep(row("u"), row("s"), full("n"))
