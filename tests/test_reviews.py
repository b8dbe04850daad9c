"""Reviews: signed in a file that people write too, and stale as soon as a formula changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from mkdocs_dsocr import pipeline
from mkdocs_dsocr.cli import main
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.reviews import load_reviews
from mkdocs_dsocr.site.review import Reviewed, fingerprint, reviewed
from tests.conftest import BuildSite


def sign(*arguments: str) -> str:
    ran = CliRunner().invoke(main, ["review", *arguments])
    assert ran.exit_code == 0, ran.output
    return ran.output


def found(path: Path) -> dict[str, Reviewed]:
    analysis = pipeline.analyse(pipeline.Settings())[0][0]
    return {r.name: r for r in reviewed(analysis, path)}


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.yaml"
    sign("approve", "Linear", "caches", "--by", "jane", "--reviews", str(path))
    return path


def test_what_is_signed_is_settled_and_the_rest_is_not(signed: Path) -> None:
    sign("question", "LMHead", "--by", "joe", "--note", "why?", "--reviews", str(signed))
    states = {name: r.state for name, r in found(signed).items()}
    assert (states["Linear"], states["caches"], states["LMHead"]) == (
        "approved",
        "approved",
        "questioned",
    )
    assert set(states.values()) == {"approved", "questioned", "not reviewed"}
    said = sign("status", "--reviews", str(signed))
    assert "LMHead, joe on" in said
    assert f"3 of {len(states)} reviewed as they are" in said


def test_a_changed_formula_makes_a_review_stale_and_is_named(signed: Path) -> None:
    yaml = YAML()
    content = yaml.load(signed.read_text())
    entry = content["layers"]["Linear"]
    row = "Linear (bias = False) | x Wᵀ, FLOPs"
    assert entry["reviewed"][row] == "2·N·d_in·d_out"
    entry["reviewed"][row] = "3·N·d_in·d_out"
    entry["fingerprint"] = fingerprint(entry["reviewed"])
    with signed.open("w") as file:
        yaml.dump(content, file)
    linear = found(signed)["Linear"]
    assert linear.state == "stale"
    assert linear.changes == (f"{row}: was 3·N·d_in·d_out, is 2·N·d_in·d_out",)
    assert "was 3·N·d_in·d_out" in sign("status", "--reviews", str(signed))


def test_rows_that_were_edited_by_hand_are_found_out(signed: Path) -> None:
    signed.write_text(signed.read_text().replace("2·N·d_in·d_out", "9·N·d_in·d_out"))
    assert "fingerprint is not of its rows" in found(signed)["Linear"].changes[0]


def test_a_form_that_a_workload_does_not_show_stays_reviewed(signed: Path) -> None:
    sign("approve", "Attention", "--by", "jane", "--reviews", str(signed))
    other = pipeline.analyse(pipeline.Settings(workloads=("dsocr-tiny",)))[0][0]
    attention = {r.name: r for r in reviewed(other, signed)}["Attention"]
    assert not [c for c in attention.changes if "gone" in c]


def test_comments_and_other_entries_survive(signed: Path) -> None:
    signed.write_text(
        "# by the team\n" + signed.read_text().replace("by: jane", "by: jane  # lead")
    )
    sign("approve", "GELU", "--by", "joe", "--reviews", str(signed))
    text = signed.read_text()
    assert text.startswith("# by the team\n")
    assert "by: jane  # lead" in text
    assert load_reviews(signed).layers.keys() == {"Linear", "GELU"}
    assert [p.name for p in signed.parent.iterdir()] == ["reviews.yaml"]


def test_a_date_may_stand_without_quotes(signed: Path) -> None:
    date = load_reviews(signed).layers["Linear"].date
    signed.write_text(signed.read_text().replace(f"'{date}'", date))
    assert load_reviews(signed).layers["Linear"].date == date


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layers: [Linear]\n", "layers: found"),
        ("layers: {Linear: {status: fine}}\n", "layers.Linear.status: found 'fine'"),
        ("reviews: {}\n", "reviews: found an unknown key"),
        ("layers: {Linear: {}, Linear: {}}\n", "line 1: found"),
    ],
)
def test_a_bad_file_is_one_message(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "reviews.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"reviews\.yaml") as error:
        load_reviews(path)
    assert message in str(error.value)
    ran = CliRunner().invoke(
        main, ["review", "approve", "Linear", "--by", "x", "--reviews", str(path)]
    )
    assert ran.exit_code == 2
    assert path.read_text() == text


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    arguments = ["review", "approve", "Liner", "--by", "x", "--reviews", str(tmp_path / "r.yaml")]
    ran = CliRunner().invoke(main, arguments)
    assert ran.exit_code == 2
    assert "'Liner'" in ran.output
    assert not list(tmp_path.iterdir())


SITE = """\
site_name: s
theme: material
plugins: [{dsocr: {reviews: reviews.yaml, require_review: REQUIRED}}]
"""


def test_pages_show_reviews_and_a_strict_build_may_require_them(
    signed: Path, build_site: BuildSite
) -> None:
    files = {"reviews.yaml": signed.read_text()}
    site = build_site(SITE.replace("REQUIRED", "false"), files)
    assert site.returncode == 0, site.output
    assert "2 of 39 layers and assumptions are approved" in site.read("dsocr/review/index.html")
    assert "Approved</span> by jane on" in site.read("dsocr/layers/Linear/index.html")
    assert "Not reviewed." in site.read("dsocr/layers/GELU/index.html")
    required = build_site(SITE.replace("REQUIRED", "true"), files)
    assert required.returncode == 1
    assert "review: GELU is not reviewed" in required.output
    assert "review: Linear" not in required.output
