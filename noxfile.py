"""Tests that need an environment of their own: ``make test-all``."""

from __future__ import annotations

import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent


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
def site(session: nox.Session) -> None:
    """Visit every page of the site, in the environment that nox itself runs in."""
    session.run(sys.executable, "-m", "pytest", "-m", "slow", external=True)


@nox.session(default=False)
def peers(session: nox.Session) -> None:
    """Measure other tools beside this one."""
    session.install("--constraint", "constraints.txt", ".", "setuptools", "wheel", "psutil")
    session.install("--constraint", "constraints.txt", "fvcore", "calflops", "pandas", "genz-llm")
    session.install("--no-build-isolation", "deepspeed", env={"DS_BUILD_OPS": "0"})
    session.run("python", "-m", "benchmarks.peers")
