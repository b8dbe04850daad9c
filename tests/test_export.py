"""Pages for other generators: what `dsocr export` writes, by flavour."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from mkdocs_dsocr.build.exported import MANIFEST, write_export
from mkdocs_dsocr.cli import main
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.quantities import Symbol, ceil_div, maximum
from mkdocs_dsocr.site.markdown import converted, latex
from mkdocs_dsocr.site.notation import text
from tests.conftest import ROOT, TINY_CONFIG

HOSTILE = "<script>alert(1)</script> a|b *c* [d](javascript:e) `f` $g$ &amp; {{ h }}"


def export(folder: Path, flavour: str) -> Path:
    """Export a small model in a flavour and return the folder of its pages."""
    (folder / "tiny").mkdir()
    (folder / "tiny/config.json").write_text(TINY_CONFIG)
    workload = yaml.safe_load((ROOT / "data/workloads/dsocr-tiny.yaml").read_text("utf-8"))
    (folder / "w.json").write_text(json.dumps({**workload, "description": HOSTILE}))
    flags = ["--workload", f"{folder}/w.json", "--model", f"{folder}/tiny/", "--device", "meta"]
    pages = folder / "docs/pages"
    done = CliRunner().invoke(main, ["export", str(pages), *flags, "--flavour", flavour])
    assert done.exit_code == 0, done.output
    return pages


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("github"), "github")


def _pages(folder: Path) -> dict[str, str]:
    found = {p.relative_to(folder).as_posix(): p.read_text("utf-8") for p in folder.rglob("*.md")}
    assert len([name for name in found if name.startswith("layers/")]) == 32
    return found


def test_github_gets_nothing_but_markdown(github: Path) -> None:
    pages = _pages(github)
    for name, page in pages.items():
        fences = page.split("```")[::2]
        tags = set(re.findall(r"(?<!\\)</?([a-z0-9]+)", re.sub(r"`[^`]*`", "", "".join(fences))))
        assert tags <= {"a", "br", "details", "summary", "sub", "sup"}, name
    assert "planner.md" not in pages
    linear = pages["layers/Linear.md"]
    assert r"$`2 \cdot N \cdot d_{in} \cdot d_{out}`$" in linear
    assert r"$`\left\lceil" in "".join(pages.values())


def test_every_link_and_picture_is_there(github: Path) -> None:
    checked = 0
    for name, page in _pages(github).items():
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", "".join(page.split("```")[::2])):
            if not target.startswith("javascript"):
                assert (github / name).parent.joinpath(target).is_file(), (name, target)
                checked += 1
        ids = set(re.findall(r'<a id="([^"]+)"', page))
        for anchor in re.findall(r'href="#(form-[^"]+)"', page):
            assert anchor in ids, (name, anchor)
    assert checked > 200


def test_charts_are_files_that_stand_alone(github: Path) -> None:
    charts = sorted((github / "images").glob("*.svg"))
    assert len(charts) > 30
    for chart in charts:
        root = ET.parse(chart).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.find("{http://www.w3.org/2000/svg}style") is not None
        assert float(root.attrib["width"]) > 0


def test_what_a_style_sheet_shows_is_said(github: Path) -> None:
    pages = _pages(github)
    assert re.search(r"^\| (· ){4}`\w", pages["hierarchy.md"], re.MULTILINE)
    assert "![■](images/key-c0.svg) " in pages["index.md"]
    assert "**✓ Formula and trace agree**" in pages["layers/Linear.md"]
    assert re.search(r"^device time$\n+!\[", pages["index.md"], re.MULTILINE)


def test_tables_have_as_many_cells_in_every_row(github: Path) -> None:
    rows = 0
    for name, page in _pages(github).items():
        width = 0
        for line in page.splitlines():
            cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert cells == width or not width or not cells, (name, line)
            width, rows = cells, rows + bool(cells)
    assert rows > 1000


def test_numbers_stand_on_the_right(github: Path) -> None:
    lines = (github / "memory.md").read_text(encoding="utf-8").splitlines()
    heading = next(i for i, line in enumerate(lines) if line.startswith("| module | class |"))
    assert lines[heading + 1] == "| --- | --- | ---: |"


def test_what_a_user_writes_stays_text(github: Path) -> None:
    page = _pages(github)["workload.md"]
    assert r"\<script\>alert(1)\</script\> a\|b \*c\* \[d\](javascript:e) \`f\` \$g\$" in page


@pytest.mark.parametrize(
    ("html", "markdown"),
    [
        ("<p>a <strong> b</strong>c</p><p>d", "a  **b**c\n\nd"),
        ("<ul><li>a</li><li>b<br>c</li></ul>", "* a\n* b<br>c"),
        ("<p>x<input>y<a href='#z'>z</a></p>", 'xy<a href="#z">z</a>'),
        ("<pre><code>a_b\n c</code></pre>", "```python\na_b\n c\n```"),
        ("<table><tr><td colspan=2>a</td></tr></table>", "|  |  |\n| --- | --- |\n| a | |"),
        (
            "<table><thead><tr><th>a</th><th class=n>b</th></tr></thead><tbody>"
            "<tr id=i><td rowspan=2>1</td><td>2</td></tr><tr><td>3</td></tr></tbody></table>",
            '| a | b |\n| --- | ---: |\n| <a id="i"></a>1 | 2 |\n|  | 3 |',
        ),
        ("<p>&lt;b&gt; * | &amp;amp;</p></div>", r"\<b\> \* \| &amp;amp;"),
    ],
)
def test_html_as_markdown(html: str, markdown: str) -> None:
    assert converted(html, 1, "", quotes_formulas=False) == markdown


def test_a_symbols_text_as_latex() -> None:
    n, d = Symbol("N"), Symbol("d_in")
    assert latex(text(2 * n * d**2 - n)) == r"2 \cdot N \cdot d_{in}^{2} - N"
    assert latex(text(maximum(ceil_div(n, 14), d))) == r"\max(\lceil N / 14 \rceil, d_{in})"


FILES = {"index.md": b"pages", "layers/A.md": b"a", "layers/B.md": b"b", "old/C.md": b"c"}


def test_an_export_overwrites_no_file_of_others(tmp_path: Path) -> None:
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers/A.md").write_text("mine")
    with pytest.raises(InputError, match=r"layers/A\.md, which no export wrote.*--force"):
        write_export(tmp_path, FILES)
    assert _names(tmp_path) == {"layers/A.md"}
    write_export(tmp_path, FILES, force=True)
    assert _names(tmp_path) == {*FILES, MANIFEST}


@pytest.mark.parametrize("kind", ["edited", "linked", "folder", "same text"])
def test_what_was_edited_since_the_last_export_stays(tmp_path: Path, kind: str) -> None:
    write_export(tmp_path, FILES)
    path = tmp_path / "layers/B.md"
    if kind == "edited":
        path.write_text("mine")
    else:
        path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "linked":
        (tmp_path / "other").write_text("b")
        path.symlink_to("../other")
    elif kind == "same text":
        path.write_text("new")
    new = {**FILES, "layers/B.md": b"new"}
    if kind == "same text":
        write_export(tmp_path, new)
        return
    with pytest.raises(InputError, match=r"layers/B\.md"):
        write_export(tmp_path, new)
    done = write_export(tmp_path, {"index.md": b"pages"})
    assert set(done.removed) == {"layers/A.md", "old/C.md"}
    assert done.edited == ("layers/B.md",)
    assert path.exists()
    assert not (tmp_path / "old").exists()


def test_only_its_own_old_files_are_removed(tmp_path: Path) -> None:
    write_export(tmp_path, FILES)
    (tmp_path / "layers/mine.md").write_text("mine")
    done = write_export(tmp_path, {"index.md": b"other pages"})
    assert set(done.removed) == FILES.keys() - {"index.md"}
    assert _names(tmp_path) == {"index.md", "layers/mine.md", MANIFEST}
    assert (tmp_path / "index.md").read_bytes() == b"other pages"


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../out", "c:x", "a\\b"])
def test_a_manifest_names_no_file_outside(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    (tmp_path / "out").write_text("mine")
    (folder / MANIFEST).write_text(json.dumps({"files": {name: sha256(b"mine").hexdigest()}}))
    with pytest.raises(InputError, match="outside the folder"):
        write_export(folder, FILES)
    assert _names(folder) == {MANIFEST}
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": []}', '{"files": {"a": 1}}', "\x00"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(InputError, match=MANIFEST):
        write_export(tmp_path, FILES)
    assert _names(tmp_path) == {MANIFEST}


def _names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}


def test_a_second_export_replaces_the_first(github: Path) -> None:
    (github / "mine.md").write_text("mine")
    model = f"{github.parents[1]}/tiny/"
    flags = ["--workload", "dsocr-tiny", "--model", model, "--device", "meta"]
    done = CliRunner().invoke(main, ["export", str(github), *flags, "--flavour", "zensical"])
    assert done.exit_code == 0, done.output
    assert not (github / "images").exists()
    assert (github / "mine.md").read_text() == "mine"
    assert (github / "assets").is_dir()
    (github / "index.md").write_text("mine")
    done = CliRunner().invoke(main, ["export", str(github), *flags, "--flavour", "zensical"])
    assert done.exit_code == 2
    assert "index.md" in done.output
    assert (github / "index.md").read_text() == "mine"
