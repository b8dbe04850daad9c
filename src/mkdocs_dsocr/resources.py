"""Where the data that ships with the package lies, in a wheel or in a checkout."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def data_dir() -> Path:
    """Return the folder with ``models``, ``workloads`` and ``hardware``.

    Raises
    ------
    FileNotFoundError
        If the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "data", package.parents[1] / "data"):
        if (folder / "workloads").is_dir():
            return folder
    raise FileNotFoundError(f"mkdocs-dsocr: no data folder beside {package}")
