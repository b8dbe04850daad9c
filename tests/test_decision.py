"""The decision report: languages, comparability, templates, HTML."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner, Result

from mkdocs_dsocr.cli import main
from mkdocs_dsocr.inputs import Serving, load_hardware, load_workload
from mkdocs_dsocr.inputs.files import parse_yaml
from mkdocs_dsocr.inputs.workload import ENGINES
from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.report.changes import load_report
from mkdocs_dsocr.resources import PACKAGE
from mkdocs_dsocr.serving.planning import Engines, Target
from mkdocs_dsocr.site.units import bar
from tests.conftest import TINY_CONFIG

FOLDER = PACKAGE / "site/templates"


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with reports of a small model: two GPUs, and another workload."""
    place = tmp_path_factory.mktemp("decision")
    (place / "tiny").mkdir()
    (place / "tiny/config.json").write_text(TINY_CONFIG)
    for name, workload, gpu in (
        ("a", "dsocr-a4-gundam", "h100-sxm"),
        ("b", "dsocr-a4-gundam", "l40s"),
        ("c", "dsocr-tiny", "l40s"),
    ):
        arguments = ["--model", str(place / "tiny"), "--workload", workload, "--hardware", gpu]
        output = str(place / name)
        done = CliRunner().invoke(main, ["analyze", *arguments, "--output", output, "-q"])
        assert done.exit_code == 0, done.output
    return place


def report(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments), "-q"])


def test_every_sentence_has_both_languages_and_is_used() -> None:
    found = parse_yaml((FOLDER / "decision.yaml").read_text(encoding="utf-8"), "decision.yaml")
    template = (FOLDER / "decision.md.j2").read_text(encoding="utf-8")
    for key, words in found.items():
        assert set(words) == {"en", "zh"}, key
        assert all(isinstance(text, str) and text for text in words.values()), key
        assert f"t.{key}" in template or key == "title", key


def test_reports_of_two_gpus_can_be_compared(reports: Path) -> None:
    done = report(reports / "a", reports / "b", "--pages-per-day", "1e6")
    assert done.exit_code == 0, done.output
    assert "the same inputs except for the GPU" in done.output
    assert "GPUs for 1,000,000 pages per day" in done.output
    assert "NVIDIA L40S" in done.output
    assert "the settings in `serving` of each workload" in done.output


def test_one_report_is_not_several(reports: Path, tmp_path: Path) -> None:
    for number, words in enumerate(("1 report in", "2 reports in"), 1):
        given = [str(reports / name) for name in "ab"[:number]]
        done = CliRunner().invoke(main, ["report", *given, "--output", str(tmp_path / "r.md")])
        assert words in done.output


@pytest.mark.parametrize("pages", ["nan", "inf", "0.0"])
def test_pages_are_a_number(reports: Path, pages: str) -> None:
    done = report(reports / "a", "--pages-per-day", pages)
    assert done.exit_code == 2
    assert f"'--pages-per-day': {pages} is not in the range" in done.output


def test_printed_or_written_it_is_the_same_document(reports: Path, tmp_path: Path) -> None:
    given = (reports / "a", reports / "b", "--pages-per-day", "1e6")
    assert report(*given, "--output", tmp_path / "r.md").exit_code == 0
    assert report(*given).output == (tmp_path / "r.md").read_text(encoding="utf-8")
    assert report(*given, "--output", tmp_path / "r.html").exit_code == 0
    html = report(*given, "--format", "html").output
    assert html == (tmp_path / "r.html").read_text(encoding="utf-8")
    assert html.startswith("<!")


def test_bars_show_where_the_time_goes(reports: Path) -> None:
    rows = [line.split("|")[1:-1] for line in report(reports / "a").output.splitlines()]
    stages = [[cell.strip() for cell in row] for row in rows if len(row) == 6 and "%" in row[3]]
    assert [row[1] for row in stages] == ["vision", "projector", "prefill", "decode"]
    shares = [float(row[3].removesuffix(" %").removeprefix("&lt; ")) for row in stages]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    by_share = [row[5] for _, row in sorted(zip(shares, stages, strict=True))]
    assert by_share == sorted(by_share, key=len)
    assert bar(1) == "█" * 24
    assert bar(0.5 / 24) == "▌"
    assert bar(0) == ""


def test_other_inputs_are_named(reports: Path) -> None:
    done = report(reports / "a", reports / "b", reports / "c")
    assert "- report 3: " in done.output
    assert "image_size" in done.output
    assert "- report 2: " not in done.output


@pytest.mark.parametrize("setting", [{"max_num_seqs": 2}, {"preprocessing_workers": 1}])
def test_fleets_have_the_settings_of_the_workload(tmp_path: Path, setting: dict[str, int]) -> None:
    content = load_workload("dsocr-a4-gundam").model_dump(mode="json", exclude_unset=True)
    content = {k: v for k, v in content.items() if k not in ENGINES["vllm"]}
    content |= {"engine": "vllm", "serving": {**setting, "preprocessing_ms": 1000}}
    (tmp_path / "w.yaml").write_text(json.dumps(content))
    arguments = ["--workload", str(tmp_path / "w.yaml"), "--output", str(tmp_path / "out"), "-q"]
    assert CliRunner().invoke(main, ["analyze", *arguments]).exit_code == 0
    saved = load_report(tmp_path / "out/report.json").workload
    assert saved.engine == "vllm"
    assert saved.serving == Serving.model_validate({**setting, "preprocessing_ms": 1000})
    engines = Engines(
        load_model_config("deepseek-ocr-v1-base"),
        load_workload(str(tmp_path / "w.yaml")),
        [load_hardware("rtx-5090")],
    )
    fleet = engines.fleets(Target(10**6))[0]
    done = report(tmp_path / "out", "--pages-per-day", "1e6")
    assert f"| 1 | {fleet.number} | {fleet.concurrency} |" in done.output
    default = Engines(
        load_model_config("deepseek-ocr-v1-base"),
        load_workload("dsocr-a4-gundam"),
        [load_hardware("rtx-5090")],
    )
    assert default.fleets(Target(10**6))[0].gpus != fleet.gpus


def test_html_in_chinese(reports: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    done = report(reports / "a", "--format", "html", "--language", "zh", "--output", file)
    assert done.exit_code == 0, done.output
    page = BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
    assert page.html is not None
    assert page.html["lang"] == "zh"
    assert page.title is not None
    assert page.title.text == "决策报告"
    assert len(page.find_all("table")) == 4
    assert not page.find_all("script")


def test_a_template_of_ones_own(reports: Path, tmp_path: Path) -> None:
    (tmp_path / "own.md").write_text("{{ reports[0].hardware.name }} {{ t.title }}")
    done = report(reports / "a", "--template", tmp_path / "own.md")
    assert done.output.strip() == "NVIDIA H100 SXM5 80 GB Decision report"
    (tmp_path / "own.md").write_text("{{ missing }}")
    done = report(reports / "a", "--template", tmp_path / "own.md")
    assert done.exit_code == 2
    assert "own.md" in done.output
    (tmp_path / "own.md").write_text("{{ 1 + reports }}")
    done = report(reports / "a", "--template", tmp_path / "own.md")
    assert done.exit_code == 2
    assert "unsupported operand" in done.output


def test_a_template_that_is_not_there(reports: Path) -> None:
    done = report(reports / "a", "--template", "nope")
    assert done.exit_code == 2
    assert "nope: found No such file or directory; allowed: a readable file" in done.output


def test_another_model_under_the_same_name_is_named(reports: Path, tmp_path: Path) -> None:
    content = json.loads((reports / "b/report.json").read_text())
    content["model"]["dimensions"]["language"]["num_hidden_layers"] = 99
    (tmp_path / "report.json").write_text(json.dumps(content))
    done = report(reports / "a", tmp_path)
    assert done.exit_code == 0, done.output
    assert "- report 2: model" in done.output


def test_our_own_sentences_are_plain_markdown(reports: Path) -> None:
    text = report(reports / "a").output
    assert "the page's image" in text
    assert "`generate()`" in text
    assert "&#" not in text


def test_sentences_of_a_report_are_text(reports: Path, tmp_path: Path) -> None:
    """Also where backticks try to leave code."""
    content = json.loads((reports / "a/report.json").read_text())
    tag = "<img src=x onerror=alert(1)>"
    content["not_modelled"] = [
        tag,
        f"`{tag}`",
        f"`a``{tag}``b`",
        f"\\`{tag}\\`",
        f"``{tag}`",
        "*x*",
    ]
    (tmp_path / "report.json").write_text(json.dumps(content))
    done = report(tmp_path / "report.json", "--format", "html")
    assert done.exit_code == 0, done.output
    page = BeautifulSoup(done.output, "html.parser")
    assert page.find("img") is None
    assert done.output.count("onerror=alert(1)") == 5
    assert page.find("em") is None
