"""Two reports beside each other: what moved, and what moved it."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mkdocs_dsocr.cli import main
from mkdocs_dsocr.inputs import InputError, load_hardware
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.changes import Change, compare, load_report
from mkdocs_dsocr.report.files import report_files
from mkdocs_dsocr.report.saved import as_workload
from mkdocs_dsocr.report.schema import AnalyticModelReport
from tests.conftest import BuildSite

Edit = Callable[[dict[str, Any]], None]
SHIPPED = ("dsocr-standard-v1", "dsocr-a4-gundam", "dsocr-tiny", "dsocr-large")


@pytest.fixture(scope="module")
def now(analyse: Callable[..., Analysis]) -> AnalyticModelReport:
    return analyse("dsocr-standard-v1").report


def edited(report: AnalyticModelReport, edit: Edit) -> AnalyticModelReport:
    content = json.loads(report.model_dump_json(by_alias=True))
    edit(content)
    return AnalyticModelReport.model_validate_json(json.dumps(content))


def more_bytes(content: dict[str, Any]) -> None:
    """Make it the report of a build in which a GELU moved less."""
    for layer in content["layers"]:
        if layer["class_name"] == "GELU":
            layer["io_bytes"] -= 1000


def of(found: Mapping[str, list[Change]], name: str, figure: str) -> Change:
    return next(change for change in found[name] if change.figure == figure)


def test_equal_reports_have_no_changes(now: AnalyticModelReport) -> None:
    changes = compare(now, now)
    assert (changes.inputs, changes.figures) == ((), ())
    assert changes.compared == 6 + 10 * len(now.layers)


def test_a_formula_that_moved_is_named_alone(now: AnalyticModelReport) -> None:
    changes = compare(edited(now, more_bytes), now)
    assert not changes.inputs
    (change,) = changes.figures
    assert (change.what, change.figure, change.causes) == ("GELU", "io_bytes", ("formula",))
    assert change.now is not None
    assert change.before == change.now - 1000


def test_an_input_that_moved_explains_every_count(
    now: AnalyticModelReport, analyse: Callable[..., Analysis]
) -> None:
    other = analyse("dsocr-a4-gundam").report
    changes = compare(now, other)
    assert {section for section, *_ in changes.inputs} == {"workload"}
    assert {change.causes for change in changes.figures} == {("input",)}
    assert len(changes.figures) > 100
    both = compare(edited(now, more_bytes), other)
    assert of(both.by_class, "GELU", "io_bytes").causes == ("input", "formula")
    assert of(both.by_class, "GELU", "cuda_core_flops").causes == ("input",)
    assert of(both.by_class, "model", "time, ms").causes == ("input", "formula")


def test_hardware_moves_times_alone(now: AnalyticModelReport, config: Any) -> None:
    analysis = Analysis(config, as_workload(now.workload), load_hardware("h100-sxm"))
    changes = compare(now, analysis.report)
    assert {cause for change in changes.figures for cause in change.causes} == {"hardware"}
    assert all(change.figure.endswith(("ms", "second")) for change in changes.figures)
    assert not [key for _, key, *_ in changes.inputs if "source" in key]


def test_a_figure_of_nothing_that_comes_or_goes_is_no_change(now: AnalyticModelReport) -> None:
    def without(content: dict[str, Any]) -> None:
        content["layers"] = [x for x in content["layers"] if x["class_name"] != "GELU"]

    for before, after in ((edited(now, without), now), (now, edited(now, without))):
        changes = compare(before, after).by_class["GELU"]
        assert changes
        assert all(change.before or change.now for change in changes)
        assert "kvcache_bytes" not in {change.figure for change in changes}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_report_holds_its_whole_workload(name: str, analyse: Callable[..., Analysis]) -> None:
    analysis = analyse(name)
    again = Analysis(analysis.config, as_workload(analysis.report.workload), analysis.hardware)
    assert not compare(analysis.report, again.report).figures


def test_the_command_says_the_same(
    tmp_path: Path, now: AnalyticModelReport, analyse: Callable[..., Analysis]
) -> None:
    text = report_files(analyse("dsocr-standard-v1"))["report.json"]
    (tmp_path / "now.json").write_text(text)
    before = edited(now, more_bytes).model_dump_json(by_alias=True)
    (tmp_path / "before.json").write_text(before)
    for name, words in (("now", "nothing moved"), ("before", "GELU: io_bytes: was 1,075,837,976")):
        paths = [str(tmp_path / f"{n}.json") for n in (name, "now")]
        ran = CliRunner().invoke(main, ["diff", *paths])
        assert ran.exit_code == 0, ran.output
        assert words in ran.output
    (tmp_path / "bad.json").write_text("{}")
    ran = CliRunner().invoke(main, ["diff", str(tmp_path / "bad.json"), str(tmp_path / "now.json")])
    assert ran.exit_code == 2
    assert "bad.json" in ran.output
    with pytest.raises(InputError, match="a readable file"):
        load_report(tmp_path / "none.json")


def test_a_message_names_a_few_of_many_missing_keys(
    now: AnalyticModelReport, tmp_path: Path
) -> None:
    content = json.loads(now.model_dump_json(by_alias=True))
    for entry in (*content["stages"].values(), *content["layers"]):
        del entry["kernel_launches"]
    path = tmp_path / "report.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        load_report(path)
    said = str(error.value)
    assert said.count("kernel_launches") == 7
    assert said.endswith(f", {len(content['layers']) + 4 - 7} more")


def test_a_key_that_an_earlier_schema_lacks_is_no_input_that_moved(
    analyse: Callable[..., Analysis], tmp_path: Path
) -> None:
    old = tmp_path / "report.json"
    old.write_bytes(
        gzip.decompress((Path(__file__).parent / "data/report-1.0.json.gz").read_bytes())
    )
    changes = compare(load_report(old), analyse("dsocr-tiny").report)
    moved = {(section, key) for section, key, *_ in changes.inputs}
    assert ("hardware", "host.dispatch_us") in moved
    assert not {key for section, key in moved if section == "model"}
    assert not {key for _, key in moved if key.startswith(("kernels", "tensor_nvfp4", "board"))}
    causes = {c for change in changes.figures for c in change.causes}
    # Its traffic was fused, its launches cost 5 µs, and its layers asked for fewer values.
    assert causes == {"input", "hardware", "formula"}


@pytest.mark.slow
def test_a_page_lists_changes_and_layers_are_marked(
    now: AnalyticModelReport, build_site: BuildSite
) -> None:
    yml = "site_name: s\ntheme: material\nplugins: [{dsocr: {baseline: base.json}}]\n"
    before = edited(now, more_bytes).model_dump_json(by_alias=True)
    site = build_site(yml, {"base.json": before})
    assert site.returncode == 0, site.output
    page = site.read("dsocr/changes/index.html")
    assert re.search(r"1 of [\d,]+ figures changed since the baseline", page)
    assert "1,075,837,976" in page
    assert "Changed since the baseline" in site.read("dsocr/layers/GELU/index.html")
    assert "Changed since the baseline" not in site.read("dsocr/layers/SiLU/index.html")
