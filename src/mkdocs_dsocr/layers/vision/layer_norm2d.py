"""LayerNorm2d: layer norm over the channels of a map."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.layer import Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor, elementwise, keep
from mkdocs_dsocr.quantities import Quantity


@layer
class LayerNorm2d(BaseLayer):
    """Normalise every pixel over its channels, in separate elementwise steps."""

    source = "deepencoder.LayerNorm2d (SAM's neck)"
    rationale = Rationale(
        counted="Each elementwise step: 1 FLOP per element, reductions 1 for each element read.",
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

        full, row = (partial(Tensor, elements=n) for n in (elements, pixels))
        step = partial(elementwise, category="norm", kernel="layer norm 2d")
        mean, broadcast = partial(step, pattern="reduction"), partial(step, pattern="per element")
        weight = Tensor("weight", self.channels, role="weight")
        bias = Tensor("bias", self.channels, role="weight")
        yield mean("mean over channels", costs.MEAN * elements, (full("x"),), row("u"))
        yield broadcast("x − mean", elements, (full("x"), row("u")), full("d"))
        yield step(
            "square",
            elements,
            (full("d"),),
            full("d²"),
            saved_for_backward=(full("d"),),
            autocast="float32",
        )
        yield mean("variance", costs.MEAN * elements, (full("d²"),), row("s"))
        yield broadcast("x − mean, again", elements, (full("x"), row("u")), full("c"))
        yield step("variance + ε", pixels, (row("s"),), row("s+ε"))
        std, normed = row("std"), full("n")
        both = (full("c"), std)
        yield step("square root", pixels, (row("s+ε"),), std, saved_for_backward=(std,))
        yield broadcast("divide by std", elements, both, normed, saved_for_backward=both)
        yield broadcast(
            "× weight", elements, (normed, weight), full("wn"), saved_for_backward=(normed,)
        )
        yield broadcast("+ bias", elements, (full("wn"), bias), full("y"))
        yield keep(row("u"), row("s"), full("n"))
