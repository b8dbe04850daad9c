"""torch.nn.ModuleList and torch.nn.Sequential: modules that only hold others."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers.base import BaseLayer, Rationale, layer
from mkdocs_dsocr.layers.parts import Child, Part


@layer
class ModuleList(BaseLayer):
    """A list of modules. It is never called: its parent calls what it holds."""

    source = "torch.nn.ModuleList"
    rationale = Rationale(
        counted="What its items come to.",
        not_counted="Nothing: the list itself does no work.",
        assumed="Items of equal shape are one row with a count.",
        would_change="Only its items.",
    )

    is_chain = True

    items: tuple[Child, ...]

    def forward(self) -> Iterator[Part]:
        yield from self.items


@layer
class Sequential(BaseLayer):
    """Modules that run one after another, each on the output of the one before."""

    source = "torch.nn.Sequential"
    rationale = Rationale(
        counted="What its items come to.",
        not_counted="Nothing: passing a tensor on moves no bytes.",
        assumed="Each item is a kernel of its own, not fused with its neighbours.",
        would_change="Only its items.",
    )

    items: tuple[Child, ...]

    def forward(self) -> Iterator[Part]:
        yield from self.items
