"""Layers that only hold others: torch.nn.ModuleList, torch.nn.Sequential, stages and passes."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers.layer import Child, Rationale, Step, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer


@layer
class Container(BaseLayer):
    """What only runs others, in order."""

    items: tuple[Child, ...]

    def forward(self) -> Iterator[Step]:
        yield from self.items


@layer
class Group(Container):
    """A stage or a pass: modules that run together, and nothing else."""

    is_module = False


@layer
class ModuleList(Container):
    """A list of modules. It is never called: its parent calls the items."""

    source = "torch.nn.ModuleList"
    rationale = Rationale(
        counted="The work of its items.",
        not_counted="Nothing: the list itself does no work.",
        assumed="Items of equal shape are one row with a count.",
        would_change="Only its items.",
    )
    is_chain = True


@layer
class Sequential(Container):
    """Modules that run one after another, each on the output of the one before."""

    source = "torch.nn.Sequential"
    rationale = Rationale(
        counted="What its items come to.",
        not_counted="Nothing: passing a tensor on moves no bytes.",
        assumed="Each item is a separate kernel, not fused with its neighbours.",
        would_change="Only its items.",
    )
