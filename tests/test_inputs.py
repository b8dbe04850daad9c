"""Bad input gets one message that names file, key, what was found and what is allowed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mkdocs_dsocr import resources
from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.cli import main
from mkdocs_dsocr.inputs import InputError, Workload, load_hardware, load_workload
from mkdocs_dsocr.inputs.files import validate
from mkdocs_dsocr.inputs.measurement import SCHEMA_VERSION, VERSIONS, load_measurements
from mkdocs_dsocr.inputs.references import KINDS, Kind, shipped
from mkdocs_dsocr.inputs.workload import LIMITS
from mkdocs_dsocr.sweep.columns import NUMBERS, checked
from mkdocs_dsocr.sweep.spec import load_spec
from tests.conftest import ROOT

CASES = YAML(typ="safe", pure=True).load(
    (Path(__file__).parent / "data" / "bad_inputs.yaml").read_text(encoding="utf-8")
)
WORKLOAD: dict[str, Any] = {
    "profile_id": "w",
    "base_size": 1024,
    "image_size": 640,
    "crop_mode": True,
    "page_size": [1024, 1024],
    "text_tokens": 10,
    "max_new_tokens": 16,
}


def _changed(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(json.dumps(content))
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        place = result
        for parent in parents:
            place = place[parent]
        place[last] = value
        if value is None:
            del place[last]
    return result


def _shipped(path: str) -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe", pure=True).load(
        (resources.data_dir() / path).read_text(encoding="utf-8")
    )
    return content


def _arguments(folder: Path, case: dict[str, Any]) -> list[str]:
    """Write the case's file and return the options that name it."""
    if "config" in case:
        original = _shipped("models/deepseek-ocr-v1-base/config.json")
        (folder / "config.json").write_text(json.dumps(_changed(original, case["config"])))
        return ["--model", f"{folder}/"]
    kind = "hardware" if "hardware" in case else "workload"
    path = folder / f"{kind[0]}.yaml"
    if "text" in case:
        path.write_text(case["text"], encoding="utf-8")
    else:
        original = _shipped("hardware/rtx-5090.yaml") if kind == "hardware" else WORKLOAD
        with path.open("w") as out:
            YAML(typ="safe", pure=True).dump(_changed(original, case[kind]), out)
    return [f"--{kind}", str(path)]


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_bad_input(tmp_path: Path, case: dict[str, Any]) -> None:
    output = tmp_path / "out"
    done = CliRunner().invoke(
        main, ["analyze", *_arguments(tmp_path, case), "--output", str(output)]
    )
    assert done.exit_code == 2, done.output
    message = done.output.strip().splitlines()[-1]
    for words in case["says"]:
        assert words in message
    assert "; allowed: " in message
    assert "Traceback" not in done.output
    assert not output.exists()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--workload", "dsocr-huge", "allowed: a path, or one of dsocr-a4-"),
        ("--hardware", "gtx-1", "found 'gtx-1'; allowed: a path, or one of a10, "),
        ("--model", "gpt", "found 'gpt'; allowed: a path, or one of deepseek-ocr-2, deepseek-"),
        ("--workload", "no/such.yaml", "no/such.yaml: found No such file or directory"),
        ("--model", "no/such", "no/such/config.json: found No such file or directory"),
    ],
)
def test_unknown_ids_and_paths(option: str, value: str, words: str) -> None:
    done = CliRunner().invoke(main, ["analyze", option, value])
    assert done.exit_code == 2
    assert words in done.output


def _compared(given: pipeline.Settings) -> pipeline.Result:
    [[analysis]] = pipeline.analyse(given)
    return pipeline.attach_comparisons(Mock(main=analysis, spec=pipeline.Result), given)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "nope"}, "model: found 'nope'"),
        ({"compared_models": ("nope",)}, "compared_models: found 'nope'"),
        ({"workloads": ("nope",)}, "workloads: found 'nope'"),
        ({"hardware": ("nope",)}, "hardware: found 'nope'"),
    ],
)
def test_an_unknown_id_in_mkdocs_yml_is_named_by_its_option(
    options: dict[str, Any], words: str
) -> None:
    given = pipeline.Settings(**options)
    with pytest.raises(InputError) as said:
        given.files()
    assert said.value.in_mkdocs.startswith(f"mkdocs.yml: {words}")
    with pytest.raises(InputError) as said:
        _compared(given)
    assert said.value.in_mkdocs.startswith(f"mkdocs.yml: {words}")


@pytest.mark.parametrize("key", ["model", "workload"])
def test_an_unknown_id_in_a_sweep_is_named_by_its_key(tmp_path: Path, key: str) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"{key}: nope\nsweep: {{batch_size: [1]}}\n")
    with pytest.raises(InputError, match=rf"spec\.yaml: {key}: found 'nope'"):
        load_spec(spec)


def test_a_binary_file(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_bytes(b"\x00\xff\xfe" * 50)
    with pytest.raises(InputError, match=r"w\.yaml: found a byte that is not UTF-8 at 1"):
        load_workload(str(tmp_path / "w.yaml"))


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text("a: " + "x" * 1_000_001)
    with pytest.raises(InputError, match="at most 1,000,000"):
        load_workload(str(tmp_path / "w.yaml"))


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="directory"):
        load_hardware(f"{tmp_path}/")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_an_output_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    done = CliRunner().invoke(main, ["analyze", "--output", str(tmp_path / "x")])
    assert done.exit_code == 2


@pytest.mark.parametrize("place", ["file", "file/x"])
@pytest.mark.parametrize(
    "command",
    [
        "analyze --output",
        "static --output",
        "export",
        "measure --device cpu --workload dsocr-tiny --workload dsocr-base --output",
    ],
)
def test_an_output_that_cannot_be_written(tmp_path: Path, command: str, place: str) -> None:
    """It is refused before the first step of the command."""
    (tmp_path / "file").write_text("mine")
    done = CliRunner().invoke(main, [*command.split(), str(tmp_path / place)])
    assert done.exit_code == 2
    assert done.output.startswith("Usage:")
    assert "file', which is not a directory; allowed: a " in done.output
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_no_bytes_make_a_traceback(tmp_path: Path, data: bytes) -> None:
    for name, load in (("w.yaml", load_workload), ("w.json", load_hardware)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=name):
            load(str(tmp_path / name))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*WORKLOAD, "x"]) | st.text(max_size=5), inner)
        ),
        max_leaves=8,
    )
)
def test_no_value_makes_a_traceback(tmp_path: Path, value: object) -> None:
    text = json.dumps({**WORKLOAD, "base_size": value})
    (tmp_path / "w.json").write_text(text)
    try:
        load_workload(str(tmp_path / "w.json"))
    except InputError as error:
        assert "base_size" in str(error)  # noqa: PT017 - valid sizes are drawn too


def test_each_limit_is_that_of_files_and_sweeps() -> None:
    for name in sorted({*Workload.model_fields} & {*LIMITS}):
        limit = LIMITS[name]
        step = limit.multiple or 1
        for value in (limit.least, limit.most):
            assert getattr(validate(Workload, WORKLOAD | {name: value}, "w"), name) == value
        for value in (limit.least - step, limit.most + step):
            with pytest.raises(InputError) as said:
                validate(Workload, WORKLOAD | {name: value}, "w")
            assert said.value.allowed == str(limit)
            if name in NUMBERS and name != "num_pages":  # there it may follow from a batch
                with pytest.raises(InputError) as said:
                    checked(name, [value])
                assert said.value.allowed == str(limit)


def test_what_is_published_as_measured_can_be_read() -> None:
    """Files of every version that was ever written stay valid."""
    files = sorted((ROOT / "data/measurements").glob("*/*/dsocr-*.json"))
    assert files
    found = [*load_measurements(tuple(map(str, files))).values()]
    assert {m.schema_version for m in found} <= {*VERSIONS}
    assert "1.1" in VERSIONS
    assert VERSIONS[-1] == SCHEMA_VERSION


def test_a_measurement_of_a_later_version_is_refused_for_that(tmp_path: Path) -> None:
    first = next((ROOT / "data/measurements").glob("*/*/dsocr-*.json"))
    later = json.loads(first.read_text()) | {"schema_version": "9.0", "added": 1}
    (tmp_path / "m.json").write_text(json.dumps(later))
    message = (
        r"m\.json: schema_version: found '9\.0'; allowed: 1\.1, 1\.2; measure again, or install"
    )
    with pytest.raises(InputError, match=message):
        load_measurements((str(tmp_path / "m.json"),))


def test_a_shape_twice_in_a_measurement_is_refused(tmp_path: Path) -> None:
    """Which of two times is right nobody knows."""
    first = next((ROOT / "data/measurements").glob("*/*/dsocr-*.json"))
    content = json.loads(first.read_text())
    again = len(content["passes"])
    content["passes"].append(content["passes"][1])
    (tmp_path / "m.json").write_text(json.dumps(content))
    message = (
        rf"m\.json: passes\.{again}\.shape: found the shape of passes\.1 \(.*\) again; "
        "allowed: each shape once"
    )
    with pytest.raises(InputError, match=message):
        load_measurements((str(tmp_path / "m.json"),))


@pytest.mark.parametrize("name", ["mine.yaml", "hardware/mine.yaml"])
def test_a_profile_of_ones_own_may_have_any_file_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Also in a folder that has the name of the package's own."""
    folder = tmp_path / "hardware"
    folder.mkdir()
    shutil.copy(resources.data_dir() / "hardware/h100-sxm.yaml", folder / "mine.yaml")
    monkeypatch.chdir(tmp_path if "/" in name else folder)
    assert load_hardware(name).hardware_id == "h100-sxm"


@pytest.mark.parametrize("kind", ["hardware", "workloads"])
def test_shipped_ids_are_file_names(kind: Kind) -> None:
    load: Any = {"hardware": load_hardware, "workloads": load_workload}[kind]
    key = {"hardware": "hardware_id", "workloads": "profile_id"}[kind]
    assert [getattr(load(name), key) for name in shipped(kind)] == shipped(kind)


def test_other_files_between_those_that_ship_are_no_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hardware/x.yaml", "workloads/y.yaml", "models/z/config.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
        (tmp_path / name.partition("/")[0] / "README.md").write_text("")
        (tmp_path / name.partition("/")[0] / "folder").mkdir()
    monkeypatch.setattr(resources, "data_dir", lambda: tmp_path)
    assert [shipped(kind) for kind in KINDS] == [["z"], ["y"], ["x"]]
