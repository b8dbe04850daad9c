"""The plugin in real builds: pages, navigation, neighbours, verdicts, the same bytes again."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mkdocs_dsocr import resources
from tests.conftest import ROOT, TINY_CONFIG, BuildSite, BuiltSite

META = "dsocr: {device: meta, model: tiny/, workloads: [dsocr-tiny]}"
QUIET = f"site_name: s\ntheme: mkdocs\nplugins:\n  - search\n  - {META}\n"


def digest(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.suffix != ".gz" and p.name != "sitemap.xml"
    }


def test_two_instances_of_one_path_are_refused(build_site: BuildSite) -> None:
    built = build_site("site_name: s\nplugins: [dsocr, dsocr: {model: tiny/}]\n")
    assert built.returncode == 1
    assert "path: found 'dsocr' twice; allowed: a folder for each instance" in built.output


@pytest.mark.slow
def test_two_builds_are_byte_identical(build_site: BuildSite) -> None:
    first, second = build_site(QUIET), build_site(QUIET)
    assert first.returncode == second.returncode == 0, first.output
    one, two = digest(first.site), digest(second.site)
    # MkDocs's own home page carries the build's date in a comment.
    one.pop("index.html"), two.pop("index.html")
    assert one == two
    assert len(one) > 50


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["mkdocs", "readthedocs"])
def test_other_themes_and_file_urls(build_site: BuildSite, theme: str) -> None:
    built = build_site(
        f"site_name: s\ntheme: {theme}\nuse_directory_urls: false\nplugins:\n  - {META}\n"
    )
    assert built.returncode == 0, built.output
    page = built.read("dsocr/layers/DeepseekV2MoE.html")
    assert '<a href="MoEGate.html">' in page
    assert "<math" in page


@pytest.mark.slow
def test_a_nav_without_a_place_says_which_line_to_add(build_site: BuildSite) -> None:
    yml = QUIET.replace("{device", "{markdown_twins: false, device")
    built = build_site(yml + "nav:\n  - Home: index.md\n", strict=False)
    assert built.returncode == 0
    assert not [*built.site.rglob("*.html.md"), *built.site.rglob("llms.txt")]
    assert "does not name these pages; add the line" in built.output
    assert "- Analytic model: dsocr/" in built.output


@pytest.mark.slow
def test_excluded_pages_to_which_others_link_are_reported(build_site: BuildSite) -> None:
    built = build_site(f"{QUIET}exclude_docs: dsocr/memory.md\n", strict=False)
    assert built.returncode == 0
    assert "exclude_docs leaves out pages to which others link: memory.md" in built.output
    assert not (built.site / "dsocr/memory").exists()


def test_disabled_adds_nothing_and_drops_the_placeholder(build_site: BuildSite) -> None:
    yml = QUIET.replace("device: meta", "enabled: false")
    built = build_site(yml + "nav:\n  - Home: index.md\n  - Model: dsocr/\n")
    assert built.returncode == 0, built.output
    assert not (built.site / "dsocr").exists()
    assert "dsocr" not in built.output


HOOK = """
from pathlib import Path
def on_nav(nav, config, files):
    with Path(config.config_file_path).with_name("w.yaml").open("a") as workload:
        workload.write("# edited\\n")
"""


def test_an_edit_during_a_build_ends_it(build_site: BuildSite) -> None:
    yml = f"site_name: s\ntheme: mkdocs\nhooks: [hook.py]\nplugins:\n  - {META}\n"
    workload = (resources.data_dir() / "workloads/dsocr-tiny.yaml").read_text()
    built = build_site(
        yml.replace("[dsocr-tiny]", "[w.yaml]"), {"hook.py": HOOK, "w.yaml": workload}, strict=False
    )
    assert built.returncode == 1, built.output
    assert "found a file that was edited during this build" in built.output
    assert "Traceback" not in built.output


@pytest.fixture(scope="module")
def embedded(build_site: BuildSite) -> BuiltSite:
    """A site with a nav, a path, a workload and a page of its own in the plugin's place."""
    workload = (
        "profile_id: mine\nbase_size: 512\nimage_size: 512\ncrop_mode: false\n"
        "text_tokens: 3\nmax_new_tokens: 2\ndescription: '<b>bold</b> {{ macro }} | # x'\n"
    )
    yml = QUIET.replace("[dsocr-tiny]", "[loads/mine.yaml]").replace(
        "{device", "{path: a/b, device"
    )
    files = {"loads/mine.yaml": workload, "docs/a/b/memory.md": "# My measurements\n"}
    built = build_site(yml + "nav:\n  - Home: index.md\n  - In depth:\n    - Model: a/b/\n", files)
    assert built.returncode == 0, built.output
    return built


def test_a_placeholder_in_the_nav_is_filled(embedded: BuiltSite) -> None:
    page = embedded.read("index.html")
    assert "MoEGate" in page
    assert "Model" in page


def test_every_page_has_a_twin_and_lists_name_them(embedded: BuiltSite) -> None:
    folder = embedded.site / "a/b"
    pages = {p.with_name(f"{p.name}.md") for p in folder.rglob("*.html")}
    own = folder / "memory/index.html.md"  # the author's own page has none
    assert set(folder.rglob("*.html.md")) == pages - {own}
    entries = re.findall(r"^- \[.+\]\((.+)\)$", embedded.read("a/b/llms.txt"), re.MULTILINE)
    assert {folder / path for path in entries} == pages - {own}
    assert "- [a/b](a/b/llms.txt)" in embedded.read("llms.txt")


def test_an_authors_own_page_wins(embedded: BuiltSite) -> None:
    assert "My measurements" in embedded.read("a/b/memory/index.html")
    assert "a/b/memory.md is the author's own and stays" in embedded.output


def test_what_a_user_writes_goes_out_escaped(embedded: BuiltSite) -> None:
    page = embedded.read("a/b/workload/index.html")
    assert "&lt;b&gt;bold&lt;/b&gt; {{ macro }}" in page
    assert "<b>bold" not in page


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("{workloads: [nope]}", "found 'nope'; allowed: a path, or one of"),
        ("{hardware: []}", "hardware: found an empty list"),
        ("{hardware: [rtx-5090, rtx-5090]}", "each id once"),
        ("{device: tpu}", "device"),
        ("{workload: x}", "Unrecognised configuration name: workload"),
        ("{model: ./absent}", "config.json: found No such file or directory"),
    ],
)
def test_bad_options(build_site: BuildSite, options: str, words: str) -> None:
    built = build_site(f"site_name: s\ntheme: mkdocs\nplugins:\n  - dsocr: {options}\n")
    assert built.returncode != 0
    assert words in built.output
    assert "Traceback" not in built.output


@pytest.mark.parametrize(
    ("file", "right", "wrong", "blamed"),
    [
        pytest.param(
            "vision/attention.py",
            "Product(rows, self.head_dim, self.side, self.side)",
            "Product(rows, self.side, self.side, self.side)",
            "Attention",
            id="a matmul's",
        ),
        pytest.param(
            "builtin/layer_norm.py",
            "costs.LAYER_NORM * elements",
            "8 * elements",
            "LayerNorm",
            id="an elementwise",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "vision/mlp.py",
            "d_out=self.hidden, bias=True",
            "d_out=self.hidden",
            "Linear",
            id="a missing bias",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_one_wrong_coefficient_fails_a_strict_build(
    tmp_path: Path, file: str, right: str, wrong: str, blamed: str
) -> None:
    """A copy of the project with one coefficient changed in one layer."""
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copytree(ROOT / "data", tmp_path / "data")
    layer = tmp_path / "src/mkdocs_dsocr/layers" / file
    text = layer.read_text(encoding="utf-8")
    assert right in text
    layer.write_text(text.replace(right, wrong))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# Home\n")
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/config.json").write_text(TINY_CONFIG)
    (tmp_path / "mkdocs.yml").write_text(QUIET)
    done = subprocess.run(
        [sys.executable, "-c", _RUN, "build", "--strict"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "formula and trace differ: " in done.stderr
    assert f"{blamed}: vision.global/model." in done.stderr


_RUN = "import sys, mkdocs.__main__; sys.exit(mkdocs.__main__.cli())"
