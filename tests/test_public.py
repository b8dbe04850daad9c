"""The public interface: every name from one place, documented and typed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import tomllib
from collections import Counter
from types import ModuleType

import pytest

import mkdocs_dsocr
from tests.conftest import ROOT

DOCUMENTED = re.findall(
    r"^::: (\S+)$", (ROOT / "docs/reference/python.md").read_text("utf-8"), re.MULTILINE
)
"""Modules whose names the page *Python* lists."""


def _public() -> list[tuple[ModuleType, str]]:
    """Return every name that a package lists as its own."""
    found = []
    for info in pkgutil.walk_packages(mkdocs_dsocr.__path__, "mkdocs_dsocr."):
        if info.ispkg or info.name in DOCUMENTED:
            module = importlib.import_module(info.name)
            found += [(module, name) for name in getattr(module, "__all__", ())]
    return found


PUBLIC = _public()


def test_every_name_is_exported_once() -> None:
    assert len(PUBLIC) > 60
    places = Counter(name for _, name in PUBLIC)
    assert [name for name, count in places.items() if count > 1] == []


def test_each_documented_module_lists_its_names() -> None:
    modules = {module.__name__ for module, _ in PUBLIC}
    assert DOCUMENTED
    assert {*DOCUMENTED} <= modules


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=lambda x: getattr(x, "__name__", x))
def test_a_public_name_says_what_it_is(module: ModuleType, name: str) -> None:
    thing = getattr(module, name)
    if callable(thing) and hasattr(thing, "__module__"):
        assert inspect.getdoc(thing), name
    if inspect.isfunction(thing):
        hints = thing.__annotations__
        assert "return" in hints, name
        assert set(inspect.signature(thing).parameters) <= set(hints), name


def test_types_are_shipped_and_versions_agree() -> None:
    assert (ROOT / "src/mkdocs_dsocr/py.typed").is_file()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {"vendor", "test", "docs"} <= set(project["optional-dependencies"])
    newest = (ROOT / "CHANGELOG.md").read_text("utf-8").split("## ")[1].split()[0]
    assert newest == mkdocs_dsocr.__version__
