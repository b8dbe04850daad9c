"""torch.nn.Conv2d."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers.builtin.linear import weighted
from mkdocs_dsocr.layers.layer import Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Pattern, Tensor
from mkdocs_dsocr.layers.products import Product
from mkdocs_dsocr.quantities import Quantity


@layer
class Conv2d(BaseLayer):
    """Square convolution over a square map, without groups or dilation."""

    source = "torch.nn.Conv2d"
    rationale = Rationale(
        counted="One multiply-add for each output element, input channel and kernel position; "
        "the bias as one addition an output.",
        not_counted="Savings or overhead of Winograd, FFT or im2col algorithms.",
        assumed="Positions in the zero padding count in full, as PyTorch's counter does.",
        would_change="Stride and padding change only the output's side.",
    )

    views: Quantity = dim("B", "images in the batch", "views")
    in_channels: Quantity = dim("C_in", "input channels")
    out_channels: Quantity = dim("C_out", "output channels")
    kernel: Quantity = dim("p", "side of the kernel", "px")
    side_in: Quantity = dim("s_in", "side of the input map", "px")
    side_out: Quantity = dim("s_out", "side of the output map", "px")
    bias: bool = False
    of_pixels: bool = False

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("weight", (self.out_channels, self.in_channels, self.kernel, self.kernel))
        if self.bias:
            yield Parameter("bias", (self.out_channels,))

    def forward(self) -> Iterator[Step]:
        product = Product(
            self.views * self.side_out**2,
            self.in_channels * self.kernel**2,
            self.out_channels,
            # Pixels need no gradient.
            gradients=1 if self.of_pixels else 2,
        )
        x = Tensor("x", self.views * self.side_in**2 * self.in_channels)
        weight = self.out_channels * self.in_channels * self.kernel**2
        reads = (x, Tensor("W", weight, role="weight"))
        why = "One multiply-add, 2 FLOPs, for each output, input channel and kernel position."
        y = Tensor("y", product.rows * product.columns)
        # Over the 3 channels of pixels cuDNN has no kernel on tensor cores.
        pattern: Pattern = "direct" if self.of_pixels else "contiguous"
        yield weighted(
            "x ∗ W", "conv2d", product, reads, y, bias=self.bias, pattern=pattern, why=why
        )


@layer
class UnusedConv2d(BaseLayer):
    """A convolution whose parameters are loaded and never used.

    CLIP's own patch convolution: the SAM features take its place.
    """

    module_class = "Conv2d"
    source = "torch.nn.Conv2d"
    rationale = Rationale(
        counted="Its weight, as resident memory.",
        not_counted="Any work: no forward calls it.",
        assumed="The checkpoint's tensor is loaded with the others.",
        would_change="Dropping it saves its bytes and changes no output.",
    )

    in_channels: Quantity = dim("C_in", "input channels")
    out_channels: Quantity = dim("C_out", "output channels")
    kernel: Quantity = dim("p", "side of the kernel", "px")

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("weight", (self.out_channels, self.in_channels, self.kernel, self.kernel))

    def forward(self) -> Iterator[Step]:
        yield from ()


def conv(
    views: Quantity,
    channels: tuple[Quantity, Quantity],
    kernel: int,
    sides: tuple[Quantity, Quantity],
) -> Conv2d:
    """Return a convolution without bias: channels and sides of its input and its output."""
    return Conv2d(
        views=views,
        in_channels=channels[0],
        out_channels=channels[1],
        kernel=kernel,
        side_in=sides[0],
        side_out=sides[1],
    )
