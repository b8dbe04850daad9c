"""Every command and snippet of README and the docs is run, and what they promise is seen."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import markdown
import pytest
import yaml

from mkdocs_dsocr.cli import main
from mkdocs_dsocr.plugin import DsocrConfig
from tests.conftest import MINIMAL, ROOT, TINY_CONFIG

PAGES: Final = ["README.md", *(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/**/*.md"))]
FENCE: Final = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
ELSEWHERE: Final = {
    "make ": "CI's own steps",
    "pip install": "test_packaging builds and unpacks the wheel",
    "python -m build": "test_packaging runs it",
    "dsocr compare deepseek-ocr-v1-base weights/": "test_models runs it beside the package",
    "dsocr static": "test_cli runs it",
    "dsocr sweep sweep.yaml": "test_sweep runs it",
    "dsocr cache": "test_cache runs it",
    "dsocr env": "test_cli runs it",
}
"""Commands that other tests run."""
INSTEAD: Final = {
    "--workload dsocr-standard-v1 --device cuda": "--model tiny/ --workload dsocr-tiny "
    "--device cpu --repeats 1",
    "--workload dsocr-a4-gundam --device cuda": "--model tiny/ --workload dsocr-tiny "
    "--device cpu --repeats 1",
    "dsocr diff before/report.json now/report.json\n": "dsocr diff report/report.json "
    "report/report.json\n",
}
"""What needs a GPU, or files of an earlier day."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str
    text: str


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(*match.groups(default="")) for match in FENCE.finditer(text)]


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a console block with the lines that it is said to print."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *lines = part.splitlines()
        yield command.partition("    #")[0].strip(), [line for line in lines if line.strip()]


def _runs(folder: Path, command: str, promised: list[str]) -> None:
    for needs, instead in INSTEAD.items():
        if folder.name == "README" or "\n" not in needs:
            command = (command + "\n").replace(needs, instead).strip()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, (command, said)
    for line in promised:
        pattern = ".*".join(re.escape(part.strip()) for part in line.split("…"))
        assert re.search(pattern, said, re.DOTALL), (command, line, said)


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a folder with what a user has: a site, and a small checkpoint."""
    folder = tmp_path / Path(request.node.callspec.params["page"]).stem
    files = {
        "mkdocs.yml": MINIMAL,
        "docs/index.md": "# Home\n",
        "tiny/config.json": TINY_CONFIG,
        "DeepSeek-OCR/config.json": TINY_CONFIG,
        "sweep.yaml": "sweep: {batch_size: [1]}\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_runs(page: str, project: Path) -> None:
    assert shutil.which("jq"), "apt-get install jq"
    for block in blocks(page):
        if block.title:
            (project / block.title).parent.mkdir(parents=True, exist_ok=True)
            (project / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            for command, promised in commands(block.text):
                if not command.startswith(tuple(ELSEWHERE)):
                    _runs(project, command, promised)
        elif block.language == "python":
            (project / "snippet.py").write_text(block.text, encoding="utf-8")
            _runs(project, "python snippet.py", [])
        elif block.language == "yaml":
            assert yaml.safe_load(block.text)
        elif block.language == "markdown":
            name = "mkdocs_dsocr.extension"
            options = {"workload": "dsocr-tiny"}
            markdown.markdown(block.text, extensions=[name], extension_configs={name: options})
        else:
            assert block.language in {"json", "text", "toml"}, block


@pytest.mark.parametrize("page", PAGES)
def test_yaml_of_a_page_has_no_unknown_option(page: str) -> None:
    """What a page shows of the plugin's options exists."""
    for block in blocks(page):
        if block.language == "yaml" and "dsocr" in block.text and "plugins:" in block.text:
            for plugin in yaml.safe_load(block.text)["plugins"]:
                options = plugin.get("dsocr", {}) if isinstance(plugin, dict) else {}
                assert options.keys() <= dict(DsocrConfig._schema).keys()


def test_every_option_and_command_is_documented() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, option in DsocrConfig._schema:
        assert f"| `{name}` |" in readme, name
        default = option.default
        if isinstance(default, bool | list) and default != []:
            shown = json.dumps(default).replace('"', "")
            assert f"| `{name}` | `{shown}`" in readme, name
    assert isinstance(main, click.Group)
    for name in main.commands:
        assert f"dsocr {name}" in readme, name
