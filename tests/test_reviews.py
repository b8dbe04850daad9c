"""Reviews: signed in a file that people write too, and stale as soon as a formula changes."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.cli import main
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.reviews import Entry, load_reviews, save_entries
from mkdocs_dsocr.layers.builtin import LayerNorm, Linear
from mkdocs_dsocr.layers.builtin import linear as linear_module
from mkdocs_dsocr.layers.decoder import DeepseekV2RMSNorm
from mkdocs_dsocr.layers.layer import Parameter
from mkdocs_dsocr.layers.operations import Operation
from mkdocs_dsocr.quantities import Symbol, ceil_div, exact_div, maximum
from mkdocs_dsocr.report.left_out import NOT_MODELLED
from mkdocs_dsocr.resources import data_dir
from mkdocs_dsocr.site.canonical import canonical, canonical_text
from mkdocs_dsocr.site.notation import text
from mkdocs_dsocr.site.review import Reviewed, Rows, reviewed
from tests.conftest import ROOT, BuildSite

ENTRY = {
    "status": "approved",
    "by": "ada",
    "date": "2026-01-01",
    "fingerprint": "0123456789abcdef",
    "reviewed": {"a": "b"},
}
BASE = "{status: approved, by: ada, date: 2026-01-01, fingerprint: '0123456789abcdef', note: n}"


def sign(*arguments: str) -> str:
    ran = CliRunner().invoke(main, ["review", *arguments])
    assert ran.exit_code == 0, ran.output
    return ran.output


DATA = Path(__file__).parent / "data"


def found(path: Path, model: str = "deepseek-ocr-v1-base") -> dict[str, Reviewed]:
    analysis = pipeline.analyse(pipeline.Settings(model=model))[0][0]
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
    assert f"3 of {len(states)} entries have a current review" in said


def test_a_changed_formula_makes_a_review_stale_and_is_named(signed: Path) -> None:
    yaml = YAML()
    content = yaml.load(signed.read_text())
    entry = content["layers"]["Linear"]
    row = "Linear (bias = False) | x Wᵀ, FLOPs"
    assert entry["formulas"][row] == "2·N·d_in·d_out"
    entry["formulas"][row] = "3·N·d_in·d_out"
    entry["fingerprint"] = Rows(entry["formulas"]).fingerprint
    with signed.open("w") as file:
        yaml.dump(content, file)
    linear = found(signed)["Linear"]
    assert linear.state == "stale"
    changed_row = "Linear: without bias | x Wᵀ, FLOPs"  # as the layer's page names the form
    assert linear.changes == (f"{changed_row}: was 3·N·d_in·d_out, is 2·N·d_in·d_out",)
    assert "was 3·N·d_in·d_out" in sign("status", "--reviews", str(signed))


def test_rows_that_were_edited_by_hand_are_found_out(signed: Path) -> None:
    signed.write_text(signed.read_text().replace("2·N·d_in·d_out", "9·N·d_in·d_out"))
    assert "rows were edited" in found(signed)["Linear"].changes[0]


@pytest.mark.parametrize(
    ("file", "model", "questioned", "stale"),
    [
        # Launches and waits of the checkpoint's code were added to three classes since.
        (
            "reviews-1.yaml",
            "deepseek-ocr-v1-base",
            {"DeepseekV2MoE", "LMHead", "caches"},
            {"Attention", "DeepseekOCRModel", "LlamaFlashAttention2"},
        ),
        # The projector's call for local views is a child of its own since: nobody reviewed it.
        ("reviews-1-unlimited-ocr.yaml", "unlimited-ocr", set(), {"UnlimitedOcrModel"}),
    ],
)
def test_a_file_of_the_first_version_stays_current(
    file: str, model: str, questioned: set[str], stale: set[str]
) -> None:
    states = {name: r.state for name, r in found(DATA / file, model).items()}
    assert {n for n, state in states.items() if state == "questioned"} == questioned
    assert {n for n, state in states.items() if state == "stale"} == stale


def test_a_review_without_rows_is_known_by_its_fingerprint(signed: Path) -> None:
    content = YAML().load(signed.read_text())
    entry = content["layers"]["Linear"]
    del entry["formulas"], entry["wording"]
    for fingerprint, changes in ((entry["fingerprint"], ()), ("0" * 16, ("a formula changed",))):
        entry["fingerprint"] = fingerprint
        with signed.open("w") as file:
            YAML().dump(content, file)
        assert found(signed)["Linear"].changes == changes


@pytest.fixture(params=["now", "first version"])
def approved(request: pytest.FixtureRequest, signed: Path) -> Path:
    return signed if request.param == "now" else DATA / "reviews-1.yaml"


def test_a_changed_explanation_leaves_a_review_current(
    approved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Linear.rationale._replace(assumed="Weights cross DRAM once.")
    monkeypatch.setattr(Linear, "rationale", other)
    linear = found(approved)["Linear"]
    assert (linear.state, linear.changes) == ("approved", ())
    assert any("is Weights cross DRAM once." in words for words in linear.rewordings)
    said = sign("status", "--reviews", str(approved))
    assert "wording changed: Linear: without bias | assumed: was" in said


def changed(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Change the operation of linears."""
    before = linear_module._product

    def product(*arguments: Any, **options: Any) -> Operation:
        operation = before(*arguments, **options)
        filled = {key: value.format(operation.name) for key, value in values.items()}
        return dataclasses.replace(operation, **filled)  # type: ignore[arg-type]

    monkeypatch.setattr(linear_module, "_product", product)


def test_a_renamed_operation_leaves_a_review_current(
    approved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(monkeypatch, name="product: {}", id="{}")
    linear = found(approved)["Linear"]
    assert (linear.state, linear.changes) == ("approved", ())
    assert "Linear: without bias | x Wᵀ, name: new, product: x Wᵀ" in linear.rewordings
    changed(monkeypatch, id="")
    assert found(approved)["Linear"].state == "stale"


def test_the_renamed_gather_of_relative_positions_leaves_a_review_current() -> None:
    attention = found(ROOT / "data/reviews/deepseek-ocr.yaml")["Attention"]
    assert (attention.state, attention.changes) == ("questioned", ())


def test_a_figure_of_nothing_that_comes_or_goes_is_no_change(
    approved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(monkeypatch, id="x Wᵀ renamed")
    changes = found(approved)["Linear"].changes
    assert "Linear: without bias | x Wᵀ, bytes: gone" in " ".join(changes)
    assert not [words for words in changes if words.endswith((" new, 0", " was 0"))]


def test_a_renamed_kernel_leaves_a_review_current(
    signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign("approve", "DeepseekV2RMSNorm", "--by", "jane", "--reviews", str(signed))
    before = DeepseekV2RMSNorm.forward

    def forward(self: DeepseekV2RMSNorm) -> Iterator[Any]:
        for part in before(self):
            if isinstance(part, Operation):
                yield dataclasses.replace(part, kernel="norm")
            else:
                yield part

    monkeypatch.setattr(DeepseekV2RMSNorm, "forward", forward)
    for file in (signed, DATA / "reviews-1.yaml"):
        monkeypatch.setattr(DeepseekV2RMSNorm, "first_names", {})
        assert found(file)["DeepseekV2RMSNorm"].state == "stale"
        monkeypatch.setattr(DeepseekV2RMSNorm, "first_names", {"norm": "RMSNorm"})
        norm = found(file)["DeepseekV2RMSNorm"]
        assert (norm.state, norm.changes) == ("approved", ())
        # The older file has older words of the reasons, too.
        assert "DeepseekV2RMSNorm | RMSNorm, name of the kernel: new, norm" in norm.rewordings


@pytest.mark.parametrize(
    "choices",
    [
        {"traffic": "fused"},
        {"precision_mode": "autocast"},
        {"weight_dtype": "int4", "activation_dtype": "fp8", "kv_dtype": "fp8"},
    ],
    ids=["fused", "autocast", "formats"],
)
def test_a_review_holds_whatever_the_workload_chooses(
    tmp_path: Path, choices: dict[str, str]
) -> None:
    shipped = YAML().load((data_dir() / "workloads/dsocr-tiny.yaml").read_text())
    path = tmp_path / "workload.yaml"
    formulas = []
    for content in (shipped, {**shipped, **choices}):
        YAML().dump(content, path)
        analysis = pipeline.analyse(pipeline.Settings(workloads=(str(path),)))[0][0]
        rows = {r.name: r.now.formulas for r in reviewed(analysis, tmp_path / "none")}
        formulas.append(rows)
    assert formulas[0] == formulas[1]


def test_an_option_that_changes_no_formula_is_no_part_of_an_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "reviews.yaml"
    sign("approve", "LayerNorm", "--by", "jane", "--reviews", str(path))
    formulas = load_reviews(path).layers["LayerNorm"].formulas
    assert {id_.partition(" | ")[0] for id_ in formulas} == {"LayerNorm"}
    assert not [id_ for id_ in formulas if id_.endswith("(2)")]
    before = LayerNorm.parameters

    def parameters(self: LayerNorm) -> Iterator[Parameter]:
        yield from before(self)
        if self.permuted:
            yield Parameter("order", (self.width,))

    monkeypatch.setattr(LayerNorm, "parameters", parameters)
    assert found(path)["LayerNorm"].changes


def test_another_category_makes_a_review_stale(
    signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(monkeypatch, category="attention")
    assert "Linear: without bias | x Wᵀ, category: was linear, is attention" in (
        found(signed)["Linear"].changes
    )


def test_a_changed_sentence_of_an_assumption_is_wording(
    approved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NOT_MODELLED, "caches", "Caches of the GPU.")
    caches = found(approved)["caches"]
    assert caches.is_settled
    assert [words.partition(", is ")[2] for words in caches.rewordings] == ["Caches of the GPU."]


def test_a_formula_is_the_same_however_it_is_written() -> None:
    a, b, n = Symbol("a"), Symbol("b_in"), Symbol("n")
    same = [
        (2 * a * (n + 1), n * a * 2 + 2 * a),
        (a**2 * n, n * a * a),
        (exact_div(n * (n + 1), 2) * a, exact_div(a * n + a * n**2, 2)),
        (ceil_div(a * b, n) ** 2, ceil_div(b * a, n) * ceil_div(a * b, n)),
        (maximum(a, b), maximum(b, a)),
        (a - a + n, n),
    ]
    for left, right in same:
        assert canonical(left) == canonical(right) == canonical_text(text(right))
        assert canonical_text(text(left)) == canonical(right)
    for left, right in ((a * n, a + n), (ceil_div(a, n), ceil_div(n, a)), (2 * a, 3 * a)):
        assert canonical(left) != canonical(right)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "two words",
        "f(x)",
        "((",
        "(a + b)^16·(a + c)^16·(a + d)^16",
        "((((((((9^16)^16)^16)^16)^16)^16)^16)^16)",
    ],
)
def test_a_text_that_is_no_formula_is_compared_as_it_is(words: str) -> None:
    assert canonical_text(words) == words


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
    signed.write_text(signed.read_text().replace(date, "2026-13-45"))
    with pytest.raises(InputError, match="date: found '2026-13-45'"):
        load_reviews(signed)


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


@pytest.mark.slow
def test_pages_show_reviews_and_a_strict_build_may_require_them(
    signed: Path, build_site: BuildSite
) -> None:
    files = {"reviews.yaml": signed.read_text()}
    site = build_site(SITE.replace("REQUIRED", "false"), files)
    assert site.returncode == 0, site.output
    assert "2 of 40 layers and assumptions have a current approval" in site.read(
        "dsocr/review/index.html"
    )
    assert "Approved</span> by jane on" in site.read("dsocr/layers/Linear/index.html")
    assert "Not reviewed." in site.read("dsocr/layers/GELU/index.html")
    required = build_site(SITE.replace("REQUIRED", "true"), files)
    assert required.returncode == 1
    assert "review: GELU is not reviewed" in required.output
    assert "review: Linear" not in required.output


def states(path: Path) -> dict[str, str]:
    return {name: r.state for name, r in found(path).items()}


@pytest.mark.parametrize("command", ["approve", "question"])
def test_all_leaves_open_questions_unless_it_is_forced(signed: Path, command: str) -> None:
    flags = ["--reviews", str(signed), "--by", "joe", "--note", "seen"]
    sign("question", "LMHead", "caches", "--by", "ann", "--note", "why?", "--reviews", str(signed))
    said = sign(command, "all", "LMHead", *flags)
    assert said.startswith(f"{len(found(signed)) - 1} ")
    assert "open questions stay: caches;" in said
    reviews = load_reviews(signed)
    assert (reviews.assumptions["caches"].by, reviews.assumptions["caches"].note) == ("ann", "why?")
    named = reviews.layers["LMHead"]  # it was named: the question becomes history
    assert [(e.status, e.by, e.note) for e in named.history] == [("questioned", "ann", "why?")]
    assert reviews.layers["Linear"].history[0].by == "jane"
    sign(command, "all", "--force", *flags)
    entry = load_reviews(signed).assumptions["caches"]
    assert [(e.status, e.by) for e in entry.history] == [
        ("approved", "jane"),
        ("questioned", "ann"),
    ]
    assert "before: questioned, ann on" in sign("status", "--reviews", str(signed))


def test_what_status_finds_no_place_for_is_named(signed: Path, tmp_path: Path) -> None:
    text = signed.read_text().replace("  Linear:", "  Linea:")
    signed.write_text(text)
    said = sign("status", "--reviews", str(signed))
    assert "no layers or assumptions of this model: Linea\n" in said
    said = sign("status", "--reviews", str(tmp_path / "nope.yaml"))
    assert "nope.yaml does not exist yet" in said


@pytest.mark.parametrize("note", ["", "  ", "\n"])
def test_a_question_needs_a_note(tmp_path: Path, note: str) -> None:
    path = tmp_path / "r.yaml"
    flags = ["question", "Linear", "--by", "x", "--note", note, "--reviews", str(path)]
    ran = CliRunner().invoke(main, ["review", *flags])
    assert ran.exit_code == 2
    assert "--note: found nothing" in ran.output
    assert not path.exists()


def put(path: Path, name: str, by: str) -> None:
    entry = Entry.model_validate({**ENTRY, "by": by, "reviewed": {}, "formulas": {"a": name}})
    save_entries(path, {"layers": {name: entry}})


@pytest.mark.parametrize(
    "text",
    [
        f"layers:\n  Linear: &e {BASE}\n  GELU: *e\n",
        f"layers:\n  GELU: &e {BASE}\n  Linear: *e\n",
        f"layers:\n  GELU: &e {BASE}\n  Linear: {{<<: *e, by: joe}}\n",
        f"layers:\n  Linear: &e {BASE}\n  GELU: {{<<: *e, by: joe}}\n",
        f"layers: &l\n  Linear: {BASE}\n  GELU: {BASE}\nassumptions: *l\n",
        f"assumptions: &l\n  Linear: {BASE}\nlayers: *l\n",
        f"assumptions: &l\n  Linear: {BASE}\nlayers:\n  <<: *l\n  GELU: {BASE}\n",
        f"assumptions:\n  x: &e {BASE}\nlayers: {{Linear: *e}}\n",
    ],
)
def test_approving_one_entry_changes_no_other_that_shares_its_text(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    before = load_reviews(path)
    put(path, "Linear", "bob")
    after = load_reviews(path)
    assert after.layers["Linear"].by == "bob"
    assert [e.by for e in after.layers["Linear"].history] == [before.layers["Linear"].by]
    assert after.assumptions == before.assumptions
    others = {k: v for k, v in after.layers.items() if k != "Linear"}
    assert others == {k: v for k, v in before.layers.items() if k != "Linear"}


@pytest.mark.parametrize("text", ["", "\n", "# by the team\n", "# a", "---\n", "{}\n", "~\n"])
def test_a_file_without_entries_is_filled(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    assert load_reviews(path).layers == {}
    put(path, "Linear", "bob")
    assert load_reviews(path).layers.keys() == {"Linear"}
    assert path.read_text().startswith(text.strip("-{}~\n"))


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664])
def test_mode_and_symbolic_link_stay(tmp_path: Path, mode: int) -> None:
    (tmp_path / "real").mkdir()
    path, link = tmp_path / "real/r.yaml", tmp_path / "link.yaml"
    path.write_text("# ours\n")
    path.chmod(mode)
    link.symlink_to("real/r.yaml")
    put(link, "Linear", "bob")
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == mode
    assert load_reviews(path).layers["Linear"].by == "bob"


def test_a_new_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    put(tmp_path / "r.yaml", "Linear", "bob")
    assert (tmp_path / "r.yaml").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_reviews_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    names = [f"Layer{n}" for n in range(4)]
    code = (
        "import sys; from pathlib import Path\n"
        "from mkdocs_dsocr.inputs.reviews import Entry, save_entries\n"
        f"entry = Entry.model_validate({ENTRY!r})\n"
        "sys.stdin.readline()\n"
        "for n in range(5):\n"
        "    new = entry.model_copy(update={'by': f'by{n}'})\n"
        "    save_entries(Path(sys.argv[1]), {'layers': {sys.argv[2]: new}})\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([*command, name], **pipes) for name in names]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.close()
    assert [process.wait() for process in processes] == [0] * len(names)
    reviews = load_reviews(path)
    assert reviews.layers.keys() == set(names)
    for entry in reviews.layers.values():
        assert [e.by for e in entry.history] == ["by0", "by1", "by2", "by3"]
    assert [p.name for p in tmp_path.iterdir()] == ["r.yaml"]


def test_a_review_is_required_only_where_there_is_a_file_of_them() -> None:
    with pytest.raises(InputError, match="require_review: found true without reviews"):
        pipeline.analyse(pipeline.Settings(require_review=True))
