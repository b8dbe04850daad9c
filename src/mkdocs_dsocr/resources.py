"""The package's folders, and what is used where nothing is given."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from functools import cache
from pathlib import Path
from typing import Any, Final

PACKAGE: Final = Path(__file__).resolve().parent
"""The folder of the package's code."""
DEFAULT_MODEL: Final = "deepseek-ocr-v1-base"
DEFAULT_WORKLOAD: Final = "dsocr-standard-v1"
DEFAULT_HARDWARE: Final = "rtx-5090"
DEFAULT_PLANNED: Final = "h100-sxm"
DEVICES: Final = ("auto", "cuda", "meta")
"""Where a model can be traced; the first one is the default."""


@cache
def data_dir() -> Path:
    """Return the folder with ``models``, ``workloads`` and ``hardware``, of a wheel or a checkout.

    Raises
    ------
    FileNotFoundError
        If the installation is incomplete.
    """
    for folder in (PACKAGE / "data", PACKAGE.parents[1] / "data"):
        if (folder / "workloads").is_dir():
            return folder
    raise FileNotFoundError(f"mkdocs-dsocr: no data folder in {PACKAGE}; install the package again")


def docstring(documented: Any) -> str:
    """Return the docstring of a module, class or function, from its source under ``python -OO``."""
    if sys.flags.optimize < 2:
        return inspect.cleandoc(documented.__doc__ or "")
    tree = ast.parse(textwrap.dedent(inspect.getsource(documented)))
    node: Any = tree if inspect.ismodule(documented) else tree.body[0]
    return ast.get_docstring(node) or ""


class Documented:
    """Base of records whose docstrings are shown, also under ``python -OO``."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__doc__ is None and sys.flags.optimize > 1:
            cls.__doc__ = docstring(cls)
