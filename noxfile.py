"""Tests that need an environment of their own: ``make test-all``."""

from __future__ import annotations

import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
NEIGHBOURS = (
    "mkdocs-awesome-nav",
    "mkdocs-literate-nav",
    "mkdocs-macros-plugin",
    "mkdocs-print-site-plugin",
    "mkdocs-static-i18n",
    "properdocs",
    "properdocs-theme-mkdocs",
    "properdocs-theme-readthedocs",
    "myst-parser",
    "zensical",
)
"""Packages that sites have beside this one."""


@nox.session
def vendor(session: nox.Session) -> None:
    """Trace a checkpoint's own modules, under the transformers release that these need."""
    constraints = Path(session.create_tmp()) / "constraints.txt"
    own = (ROOT / "constraints-vendor.txt").read_text(encoding="utf-8").splitlines()
    names = {line.partition("==")[0] for line in own}
    common = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    rest = [line for line in common if line.partition("==")[0] not in names]
    constraints.write_text("\n".join((*own, *rest)) + "\n", encoding="utf-8")
    session.install("--constraint", str(constraints), ".[test,vendor]")
    session.run("pytest", "tests/test_vendor.py", "-p", "no:cacheprovider")


@nox.session(venv_backend="none")
def slow(session: nox.Session) -> None:
    """Visit every page, damage files, kill builds: in the environment that nox itself runs in."""
    session.run(sys.executable, "-m", "pytest", "-m", "slow", "--dist", "load", external=True)


@nox.session
@nox.parametrize("gen_files", ["0.6.0", "0.6.1"])
def matrix(session: nox.Session, gen_files: str) -> None:
    """Build a small site with every builder, theme, navigation and neighbour."""
    constraints = Path(session.create_tmp()) / "constraints.txt"
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if not line.startswith("mkdocs-gen-files==")]
    constraints.write_text("\n".join((*lines, f"mkdocs-gen-files=={gen_files}")) + "\n", "utf-8")
    session.install("--constraint", str(constraints), ".[test]", *NEIGHBOURS)
    tests = ("tests/test_matrix.py", "tests/test_generators.py")
    session.run("pytest", "-m", "slow", *tests, "--dist", "load")


@nox.session(default=False)
def peers(session: nox.Session) -> None:
    """Measure other tools beside this one."""
    session.install("--constraint", "constraints.txt", ".", "setuptools", "wheel", "psutil")
    session.install("--constraint", "constraints.txt", "fvcore", "calflops", "pandas", "genz-llm")
    session.install("--no-build-isolation", "deepspeed", env={"DS_BUILD_OPS": "0"})
    session.run("python", "-m", "benchmarks.peers")
