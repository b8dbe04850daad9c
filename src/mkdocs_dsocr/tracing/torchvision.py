"""A stand-in for torchvision while a checkpoint's own code is imported.

The code of DeepSeek-OCR imports torchvision to prepare images, which a trace does not do. Its
wheel does not fit every build of torch, so it need not be installed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

NAME: Final = "torchvision"


class StandIn(ModuleType):
    """A module whose names can be imported and must not be used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (_Unusable,), {"__module__": self.__name__})


class _Names(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (_Unusable,), {})


class _Unusable(metaclass=_Names):
    """What a stand-in gives for each of its names."""

    def __init__(self, *_: Any, **__: Any) -> None:
        name = f"{NAME}.{type(self).__name__}"
        raise ImportError(f"{name} is called, and no {NAME} that fits this torch is installed")


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != NAME:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing."""


@contextmanager
def importable() -> Iterator[None]:
    """Let ``import torchvision`` succeed, with the package itself where it works."""
    if _works():
        yield
        return
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _forget()


def _works() -> bool:
    try:
        importlib.import_module(NAME)
    except Exception:  # one for another torch raises what it likes
        _forget()
        return False
    return True


def _forget() -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == NAME]:
        del sys.modules[name]
