"""The Python source of a layer, as its page shows it."""

from __future__ import annotations

import ast
import html
import inspect
import sys
import textwrap
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

from markupsafe import Markup


@dataclass(frozen=True)
class Source:
    """The source of a class and its place."""

    name: str
    file: str
    line: int
    code: Markup


@lru_cache(maxsize=128)
def source_of(cls: type) -> Source:
    """Return the source of a class."""
    lines, places = _classes(sys.modules[cls.__module__])
    if cls.__qualname__ in places:
        start, end = places[cls.__qualname__]
        lines = lines[start - 1 : end]
    else:
        lines, start = inspect.getsourcelines(cls)
    file = f"{cls.__module__.replace('.', '/')}.py"
    # As text between tags, quotation marks stay what they are.
    code = html.escape(textwrap.dedent("".join(lines)).rstrip(), quote=False)
    return Source(cls.__name__, file, start, Markup(code))


@lru_cache(maxsize=64)
def _classes(module: ModuleType) -> tuple[list[str], dict[str, tuple[int, int | None]]]:
    """Return the lines of a module, and the first and last line of each class in it."""
    source = inspect.getsource(module)
    places = {
        node.name: (min([node.lineno, *(d.lineno for d in node.decorator_list)]), node.end_lineno)
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef)
    }
    return source.splitlines(keepends=True), places
