"""What all commands have in common: options, messages, outputs, and what they print."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result

from mkdocs_dsocr.cli import main
from mkdocs_dsocr.cli.reports import compare
from mkdocs_dsocr.report.changes import load_report
from mkdocs_dsocr.site.svg import chart, legend
from mkdocs_dsocr.text import printable
from tests.conftest import ROOT, TINY_CONFIG

HOSTILE = "a\x1b]52;c;aGk=\x07\x1b[2K\r\u202eb\u2066\n[ok]\x9b1m\udcff"
ACTS = "\x1b\x07\r\u202e\u2066\x9b\udcff"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small model, ``tiny``, and its report, ``rep``."""
    place = tmp_path_factory.mktemp("commands")
    (place / "tiny").mkdir()
    (place / "tiny/config.json").write_text(TINY_CONFIG)
    with contextlib.chdir(place):
        assert run("analyze", "--model", "tiny", "--output", "rep").exit_code == 0
    return place


@pytest.fixture(autouse=True)
def _inside(folder: Path) -> Iterator[None]:
    with contextlib.chdir(folder):
        before = {p.name for p in folder.iterdir()}
        yield
        assert {p.name for p in folder.iterdir()} == before


def run(*arguments: str) -> Result:
    done = CliRunner().invoke(main, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[Any]:
    command = [sys.executable, *options.pop("flags", ()), "-m", "mkdocs_dsocr.cli", *arguments]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.run(command, check=False, **options)


SIZES = ["--base-size", "1024", "--image-size", "640", "--seq-len", "512", "--crop-mode", "1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("analyze --hardware h100", "--hardware: found 'h100' (did you mean h100-sxm or"),
        ("analyze --workload dsocr-tny", "--workload: found 'dsocr-tny' (did you mean dsocr-tiny"),
        ("analyze --workload-profile-id=x", "--workload-profile-id: found 'x'; allowed: a path"),
        ("analyze --model nope", "--model: found 'nope'; allowed: a path, or one of deepseek"),
        ("compare tiny unlimited-orc", "MODELS: found 'unlimited-orc' (did you mean unlimited-ocr"),
        ("compare nope tiny", "MODELS: found 'nope'; allowed: a path"),
        ("plan --pages-per-day 9 --workload nope", "--workload: found 'nope'; allowed: a path"),
        ("compare tiny tiny", "MODELS: found tiny, tiny; allowed: each model once"),
        ("review approve Liner --by x", "NAMES: found 'Liner' (did you mean Linear?)"),
        ("review approve Linear --by=", "--by: found ''; allowed: at least 1 characters"),
        ("measure --model tiny --output m.json", "--device: found cuda"),
        ("measure --model tiny --output m.csv", "--output: found 'm.csv'; allowed: a file that"),
        ("static --workload dsocr-tiny --base-size 1024", "--workload: found 'dsocr-tiny' with"),
        ("static --base-size 1024", "--image-size: found nothing; allowed: all of --base-size, "),
        (f"static {' '.join(SIZES)} --crop-grid two", "--crop-grid: found 'two'; allowed: WxH"),
        (f"static {' '.join(SIZES)} --base-size 1000", "--base-size: found 1000; allowed: a mul"),
        (f"static {' '.join(SIZES)} --seq-len 1", "--seq-len: found 1; allowed: at least"),
        ("whatif rep --set batch_size", "--set: found 'batch_size'; allowed: FIELD=VALUE"),
        ("whatif rep --set crop_grid=5", "--set: crop_grid: found 5; allowed: a list"),
        ("whatif rep --set crop_grid=[1,2,3]", "--set: crop_grid: found [1, 2, 3]; allowed: at"),
        ("diff rep nope", "nope: found No such file"),
    ],
)
def test_a_message_names_the_option_as_typed(arguments: str, words: str) -> None:
    done = run(*arguments.split())
    assert done.exit_code == 2
    assert words in done.output
    for foreign in ("option:", "/tmp", "list[", "tuple", "String should", "('"):
        assert foreign not in done.output.rpartition("Error:")[2]


def test_measure_without_a_gpu_names_what_it_accepts() -> None:
    done = run("measure", "--model", "tiny", "--output", "m.json")
    assert "allowed: cpu, or cuda on a machine with a GPU" in done.output


@pytest.mark.parametrize(
    "model", ["tiny", "tiny/", "./tiny", "tiny\\", ".\\tiny", "tiny/config.json"]
)
def test_a_model_is_an_existing_folder(model: str, tmp_path: Path) -> None:
    done = run("analyze", "--model", model, "--output", f"{tmp_path}/out", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["model"]["model_variant"] == "tiny"


@pytest.mark.parametrize("output", ["", "-", " "])
@pytest.mark.parametrize(
    "arguments",
    [
        "analyze --output",
        "static --output",
        "compare tiny --output",
        "whatif rep --output",
        "sweep s.yaml --output",
        "measure --output",
        "export",
        "review status --reviews",
    ],
)
def test_an_output_without_a_name_is_refused(arguments: str, output: str) -> None:
    done = run(*arguments.split(), output)
    assert done.exit_code == 2
    assert "to write to" in done.output


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ("compare tiny unlimited-ocr --output", "x.csv"),
        ("whatif rep --output", "x.parquet"),
        ("whatif rep --output", "x"),
        ("sweep s.yaml --output", "x.json"),
        ("measure --output", "x.yaml"),
    ],
)
def test_an_output_has_the_format_that_its_name_says(arguments: str, output: str) -> None:
    done = run(*arguments.split(), output)
    assert done.exit_code == 2
    assert f"found {output!r}; allowed: " in done.output


@pytest.mark.parametrize(
    ("arguments", "output", "suffix"),
    [
        ("report rep --format html --output", "x.md", ".html"),
        ("report rep --format md --output", "x.html", ".md"),
        ("whatif rep --json --output", "x.csv", ".json"),
    ],
)
def test_an_output_of_another_format_than_asked_for_is_refused(
    arguments: str, output: str, suffix: str
) -> None:
    done = run(*arguments.split(), output)
    assert done.exit_code == 2
    assert f"--output: found {output!r} with --" in done.output
    assert f"allowed: a file that ends in {suffix}" in done.output


@pytest.mark.parametrize(("values", "words"), [("1", "1 scenario in"), ("1,2", "2 scenarios in")])
def test_one_scenario_is_not_several(tmp_path: Path, values: str, words: str) -> None:
    done = run("whatif", "rep", f"--set=batch_size={values}", "--output", f"{tmp_path}/x.csv")
    assert words in done.output


def test_json_and_a_json_file_are_the_same(tmp_path: Path) -> None:
    assert run("whatif", "rep", "--json", "--output", f"{tmp_path}/x.json").exit_code == 0
    assert (tmp_path / "x.json").read_text() == run("whatif", "rep", "--json").stdout


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        ("compare tiny unlimited-ocr --output FILE", "tiny/config.json"),
        ("compare tiny --workload w.json --output FILE", "w.json"),
        ("whatif rep --output FILE", "rep/report.json"),
        ("whatif rep --hardware g.json --output FILE", "g.json"),
        ("sweep s.csv --output FILE", "s.csv"),
        ("measure --workload w.json --model tiny --device cpu --output FILE", "w.json"),
        ("analyze --model tiny --workload report.json --output .", "report.json"),
    ],
)
@pytest.mark.parametrize("how", ["itself", "hard link"])
def test_an_input_is_never_overwritten(
    tmp_path: Path, folder: Path, arguments: str, file: str, how: str
) -> None:
    workload = (ROOT / "data/workloads/dsocr-tiny.yaml").read_text()
    gpu = (ROOT / "data/hardware/l4.yaml").read_text()
    inputs = {
        "tiny/config.json": TINY_CONFIG,
        "rep/report.json": (folder / "rep/report.json").read_text(),
        "w.json": json.dumps(yaml.safe_load(workload)),
        "report.json": json.dumps(yaml.safe_load(workload)),
        "g.json": json.dumps(yaml.safe_load(gpu)),
        "s.csv": "sweep: {batch_size: [1]}",
    }
    for name, text in inputs.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    output = file
    if how == "hard link" and "FILE" in arguments:
        output = f"other{Path(file).suffix}"
        (tmp_path / output).hardlink_to(tmp_path / file)
    with contextlib.chdir(tmp_path):
        done = run(*arguments.replace("FILE", output).split())
    assert done.exit_code == 2
    assert "an input is never overwritten" in done.output
    assert {n: (tmp_path / n).read_text() for n in inputs} == inputs


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("compare tiny unlimited-ocr --output", "x.json"),
        ("whatif rep --output", "x.csv"),
        ("whatif rep --output", "x.json"),
        ("analyze --model tiny --output", "out/report.json"),
    ],
)
def test_no_file_behind_a_link_is_overwritten(tmp_path: Path, arguments: str, name: str) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / name).symlink_to(tmp_path / "mine")
    target = tmp_path / name if name.startswith("x") else tmp_path / "out"
    done = run(*arguments.split(), str(target))
    assert done.exit_code == 2
    assert "a symbolic link" in done.output
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("name", ["x.csv", "x.json"])
def test_a_failed_evaluation_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("mine")
    good = ",".join(map(str, range(1, 6000)))
    done = run("whatif", "rep", f"--set=batch_size={good},0", "--output", str(path))
    assert done.exit_code == 2
    assert "--set: batch_size: found 0" in done.output
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_whatif_uses_every_value_that_is_given() -> None:
    done = run("whatif", "rep", "--set", "batch_size=1", "--set", "batch_size=2,4", "--json")
    assert [row["batch_size"] for row in json.loads(done.stdout)] == [1, 2, 4]


@pytest.mark.parametrize("report", ["rep", "rep/", "rep/report.json"])
def test_reports_are_files_or_folders(report: str) -> None:
    assert run("whatif", report).exit_code == 0
    assert run("diff", report, "rep").stdout == "nothing moved\n"


def test_whatif_is_limited() -> None:
    many = ",".join(map(str, range(1, 1002)))
    done = run("whatif", "rep", f"--set=batch_size={many}", f"--set=max_new_tokens={many}")
    assert done.exit_code == 2
    assert "--set: found 1,002,001 scenarios; allowed: at most 1,000,000" in done.output


def test_whatif_writes_the_same_rows_as_csv_and_json(tmp_path: Path) -> None:
    flags = ["--set=batch_size=1,2", "--set=crop_mode=false,true", "--set=crop_grid=null,[1,2]"]
    done = run("whatif", "rep", *flags, "--hardware=l4", "--hardware=a10")
    assert done.exit_code == 2  # a grid without crops is refused: nothing is left out silently
    flags[1:] = ["--set=page_size=[700,900],[2000,1000]"]
    for name in ("rows.csv", "rows.json"):
        assert run("whatif", "rep", *flags, "--output", str(tmp_path / name)).exit_code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_text())))
    same = json.loads((tmp_path / "rows.json").read_text())
    assert [float(r["ttft_ms"]) for r in rows] == [r["ttft_ms"] for r in same]
    assert len(rows) == 4


@pytest.mark.parametrize(
    "value",
    [
        "1:30",
        "2001-01-01",
        '!!int ""',
        "!!int x",
        '!!float ""',
        "!!timestamp x",
        "!!binary x",
        "!!bool x",
        "!!set {a}",
        "!!omap [1]",
        "!!python/object/apply:os.system [x]",
        "[" * 3000,
        "]",
        ",",
        "&a [*a]",
        "*a",
        "{<<: 1}",
        "9" * 5000,
        "1e400",
        ".nan",
        "\x1b[31m",
        "\udcff",
        "{a: 1, a: 2}",
        "? x",
        "- - 1",
        "1\n2",
        "%YAML 1.1",
    ],
)
@pytest.mark.parametrize("field", ["batch_size", "page_size", "profile_id"])
def test_every_value_is_used_or_refused(field: str, value: str) -> None:
    done = run("whatif", "rep", "--set", f"{field}={value}")
    if done.exit_code == 0:
        assert field == "profile_id"
        return
    assert done.exit_code == 2
    assert "--set: " in done.output
    assert not set(ACTS) & set(done.output)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ("env", "packages"),
        ("cache info", "folder"),
        ("diff rep rep", "figures"),
        ("compare tiny unlimited-ocr --workload dsocr-tiny", "figures"),
        ("analyze --model tiny", "report_id"),
        ("review status --model tiny", "state"),
        ("whatif rep", "ttft_ms"),
    ],
)
def test_json_for_scripts(arguments: str, key: str) -> None:
    done = run(*arguments.split(), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert key in (found[0] if isinstance(found, list) else found)


def test_diff_tells_by_its_exit_code_whether_something_moved(tmp_path: Path) -> None:
    flags = ["--model", "tiny", "--hardware", "l4", "--output", str(tmp_path)]
    assert run("analyze", *flags).exit_code == 0
    assert run("diff", "rep", "rep", "--exit-code").exit_code == 0
    assert run("diff", "rep", str(tmp_path)).exit_code == 0
    assert run("diff", "rep", str(tmp_path), "--exit-code").exit_code == 1


def test_quiet_and_verbose(tmp_path: Path) -> None:
    flags = ["analyze", "--model", "tiny", "--output", str(tmp_path)]
    usual, quiet, verbose = (run(*flags, *more) for more in ([], ["--quiet"], ["--verbose"]))
    assert (quiet.output, usual.stdout) == ("", "")
    assert "ms predicted" in usual.stderr
    assert "config.json" not in usual.stderr
    for words in (f"read {Path('tiny/config.json')}", f"wrote {tmp_path / 'report.json'}"):
        assert words in verbose.stderr
    assert run("analyze", "--quiet", "--model", "nope").exit_code == 2


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, (*path, name))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("dsocr analyze --hardware h100", {"h100-nvl", "h100-pcie", "h100-sxm"}),
        ("dsocr analyze --workload dsocr-t", {"dsocr-tiny"}),
        ("dsocr measure --workload dsocr-t", {"dsocr-tiny"}),
        ("dsocr compare tiny unl", {"unlimited-ocr"}),
        ("dsocr whatif rep --set traffic=f", {"traffic=fused"}),
        ("dsocr whatif rep --set kv_", {"kv_dtype="}),
        ("dsocr review approve Lin", {"Linear"}),
        ("dsocr di", {"diff"}),
    ],
)
def test_the_shell_completes_ids(
    words: str, found: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    environment = {"_DSOCR_COMPLETE": "bash_complete"}
    done = CliRunner().invoke(main, env=environment, prog_name="dsocr")
    assert {line.partition(",")[2] for line in done.output.split()} == found


@pytest.mark.parametrize(
    "character",
    ["\x1b", "\x07", "\r", "\n", "\x00", "\x9b", "\u202e", "\ufeff", "\udcff"],
)
def test_one_function_makes_text_safe_to_print(character: str) -> None:
    said = printable(f"a{character}b")
    assert character not in said
    assert said[0] + said[-1] == "ab"
    assert printable("für 漢字 \u200d − × é") == "für 漢字 \u200d − × é"


def test_charts_are_drawn_with_safe_text() -> None:
    drawn = chart("k", HOSTILE, HOSTILE, (1, 1), id=HOSTILE) + legend({HOSTILE: "dsocr-other"})
    assert not set(ACTS) & set(drawn)


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    content = json.loads(Path("rep/report.json").read_text())
    content["hardware"]["name"] = HOSTILE[:-1]
    content["model"]["model_id"] = HOSTILE[:-1]
    content["layers"][0]["class_name"] = HOSTILE[:-1]
    content["workload"]["profile_id"] = "other"
    place = tmp_path / f"x{HOSTILE}"
    place.mkdir()
    (place / "report.json").write_text(json.dumps(content))
    entry = {"status": "approved", "by": HOSTILE[:-1], "date": "2026-01-01", "note": HOSTILE[:-1]}
    reviews = {"layers": {"Linear": {**entry, "fingerprint": "0" * 16, "reviewed": {"a": "b"}}}}
    (tmp_path / "r.json").write_text(json.dumps(reviews))
    (place / "config.json").write_text(TINY_CONFIG)
    for arguments in (
        ("diff", "rep", str(place)),
        ("whatif", str(place)),
        ("whatif", str(place), "--set=batch_size=0"),
        ("whatif", str(place), f"--hardware={HOSTILE}"),
        ("whatif", str(place), "--output", str(place / "x.csv")),
        ("review", "status", "--reviews", str(tmp_path / "r.json"), "--model", "tiny"),
        ("compare", "tiny", str(place)),
        ("analyze", "--model", str(place), "--output", str(place / "out")),
        ("analyze", "--model", str(place / "none"), "--output", str(place / "out"), "-v"),
    ):
        done = run(*arguments)
        assert done.output
        assert not set(ACTS) & set(done.output), arguments


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii"])
def test_any_encoding_of_the_output_will_do(encoding: str) -> None:
    done = process(
        "compare",
        "tiny",
        "unlimited-ocr",
        "--workload=dsocr-tiny",
        env={**os.environ, "PYTHONIOENCODING": encoding},
        text=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"2,048 new tokens" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", ["review status --model tiny", "--help", "whatif rep"])
def test_a_full_disk_is_one_message(arguments: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = process(*arguments.split(), stdout=full)
    assert (done.returncode, done.stderr) == (
        1,
        "Error: standard output: No space left on device\n",
    )


def test_help_is_the_same_without_docstrings() -> None:
    code = (
        "import click, sys; from mkdocs_dsocr.cli import main\n"
        "def show(c, x):\n"
        "    print(c.get_help(x))\n"
        "    for i in getattr(c, 'commands', {}).values(): show(i, click.Context(i, parent=x))\n"
        "show(main, click.Context(main, info_name='dsocr'))\n"
        "from mkdocs_dsocr.layers.builtin import Linear\n"
        "from mkdocs_dsocr.resources import docstring; print(docstring(Linear))\n"
        "from mkdocs_dsocr.report import json_schema; print(json_schema())"
    )
    texts = [
        subprocess.run(
            [sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        for flags in ([], ["-OO"])
    ]
    assert texts[0] == texts[1]
    assert "Trace the model with PyTorch" in texts[0]
    assert compare.help


@pytest.mark.parametrize("value", [10**400, 10**25, 1e308])
@pytest.mark.parametrize(
    "place",
    [
        "predicted_total_time_ms",
        "latency.ttft_ms",
        "memory.footprint_bytes",
        "workload.batch_size",
        "workload.seq_len",
        "hardware.memory_bytes",
        "hardware.bandwidth_gb_s",
        "hardware.host.dispatch_us",
        "model.dimensions.language.hidden_size",
        "layers.0.matmul_flops",
        "stages.decode.time_ms",
    ],
)
def test_huge_numbers_in_a_saved_report(tmp_path: Path, place: str, value: float) -> None:
    content = json.loads(Path("rep/report.json").read_text())
    *way, last = place.split(".")
    inner = content
    for key in way:
        inner = inner[int(key) if key.isdigit() else key]
    assert last in inner
    inner[last] = value
    (tmp_path / "report.json").write_text(json.dumps(content))
    for arguments in (("whatif", str(tmp_path)), ("diff", "rep", str(tmp_path))):
        done = run(*arguments)
        assert done.exit_code in (0, 2)
        if done.exit_code == 0:
            load_report(tmp_path)


@pytest.mark.parametrize(
    "head",
    [b"ref: refs/heads/a\x00b\n", b"\x00", b"ref: refs/" + b"x" * 300, b"\xff", b"ref:"],
)
def test_a_broken_git_head_is_no_revision(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "config.json").write_text(TINY_CONFIG)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_bytes(head)
    done = run("analyze", "--model", f"{tmp_path}/", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["model"]["hf_revision"] is None


@pytest.mark.parametrize("shard", ["x" * 300, "a\x00b", "\udcff", "a/" * 2000, "\x1b[2K"])
def test_a_shard_with_a_name_that_no_file_has(tmp_path: Path, shard: str) -> None:
    (tmp_path / "config.json").write_text(TINY_CONFIG)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    done = run("analyze", "--model", f"{tmp_path}/", "--json")
    assert done.exit_code == 2
    assert "weight_map" in done.output
    assert not set(ACTS) & set(done.output)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are Unicode")
def test_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    place = tmp_path / "m\udcff\udcfe"
    place.mkdir()
    (place / "config.json").write_text(TINY_CONFIG)
    for arguments in (
        ("analyze", "--model", str(place), "--output", str(place / "out"), "--markdown"),
        ("compare", "tiny", str(place), "--output", str(place / "x.json")),
        ("diff", "rep", str(place / "out")),
        ("whatif", str(place / "out"), "--output", str(place / "x.csv")),
        ("review", "status", "--model", str(place)),
    ):
        done = run(*arguments)
        assert done.exit_code == 0, done.output
        assert not set(ACTS) & set(done.output)


def test_sweeps_and_whatif_say_what_is_not_used(tmp_path: Path) -> None:
    content = json.loads(TINY_CONFIG) | {"new_key": 3}
    (tmp_path / "config.json").write_text(json.dumps(content))
    (tmp_path / "s.yaml").write_text(f"model: {tmp_path}/config.json\nsweep: {{batch_size: [1]}}\n")
    report = str(tmp_path / "report")
    runner = CliRunner()
    analyse = ["analyze", "--model", f"{tmp_path}/config.json", "--output", report, "--quiet"]
    assert runner.invoke(main, analyse).exit_code == 0
    for command in (
        ["sweep", str(tmp_path / "s.yaml"), "--output", str(tmp_path / "o.csv")],
        ["whatif", report, "--set", "batch_size=1"],
    ):
        said = runner.invoke(main, command)
        assert said.exit_code == 0, said.output
        assert "warning: Keys of config.json that are not used: new_key." in said.stderr
