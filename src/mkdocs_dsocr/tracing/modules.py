"""What of a model's modules is the same in all passes: looked up once."""

from __future__ import annotations

from functools import cache, cached_property
from typing import Any

from torch import nn

from mkdocs_dsocr.tracing.tensors import storage


class Modules:
    """The modules of a model that is built.

    Parameters
    ----------
    model
        The model; its modules and parameters stay as they are.

    Attributes
    ----------
    paths
        The path of each module.
    """

    def __init__(self, model: nn.Module) -> None:
        self.paths = {module: path for path, module in model.named_modules()}
        self._model = model
        self.suffixes = cache(self._suffixes)

    @cached_property
    def storages(self) -> frozenset[int]:
        """The memory of parameters and buffers."""
        return frozenset(map(storage, (*self._model.parameters(), *self._model.buffers())))

    @cached_property
    def items(self) -> dict[nn.Module, tuple[str, int]]:
        """The path of each module that a list holds, and a number: that of its equals."""
        kinds: dict[Any, int] = {}
        return {
            item: (f"{path}.{name}", kinds.setdefault(_sizes(item), len(kinds)))
            for module, path in self.paths.items()
            if isinstance(module, nn.ModuleList)
            for name, item in module.named_children()
        }

    def _suffixes(self, path: str) -> list[str]:
        """Return what follows `path` in the paths of a module and of those below it."""
        return [
            p.removeprefix(path)
            for p in self.paths.values()
            if p == path or p.startswith(f"{path}.")
        ]


def _sizes(module: nn.Module) -> tuple[Any, ...]:
    """Return what decides a module's work: its classes, parameters and numbers, not its place."""
    numbers = (
        (
            name,
            type(m),
            sorted((k, v) for k, v in vars(m).items() if isinstance(v, int | float | str | tuple)),
        )
        for name, m in module.named_modules()
    )
    without_place = ((n, t, tuple((k, v) for k, v in a if k != "layer")) for n, t, a in numbers)
    shapes = tuple((name, tuple(p.shape)) for name, p in module.named_parameters())
    return (*without_place, *shapes)
