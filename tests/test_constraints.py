"""Hashes of the packages that ``make`` installs: of the pinned versions, and of no host."""

from __future__ import annotations

import re

from tests.conftest import ROOT

HASHES = (ROOT / "constraints-hashes.txt").read_text(encoding="utf-8")
ENTRY = re.compile(
    r"^([A-Za-z0-9._-]+)==([^\s;]+)(?:[^\n]*?\\\n(?:    --hash=sha256:[0-9a-f]{64}[ \\]*\n)+)", re.M
)


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def test_every_package_has_hashes_of_its_pinned_version() -> None:
    found = {_name(name): version for name, version in ENTRY.findall(HASHES)}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    pins = {_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    assert len(found) == len(re.findall(r"^[A-Za-z0-9]", HASHES, re.M))
    assert {n: v for n, v in found.items() if n in pins and v != pins[n]} == {}
    # What only another platform needs is pinned by its hashes alone.
    assert found.keys() - pins.keys() <= {"httpx2-jsfetch", "pywin32-ctypes"}
    assert {"pip", "hatchling", "mkdocs", "numpy"} <= found.keys()
    assert not [
        name for name in found if name.startswith(("torch", "nvidia")) and name != "torchinfo"
    ]
    assert "://" not in HASHES
