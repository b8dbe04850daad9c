"""Checkpoint folders: headers beside the traced model, and nothing else of them touched."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mkdocs_dsocr.build import pipeline, sites
from mkdocs_dsocr.build.trace_store import trace_model
from mkdocs_dsocr.cli import main
from mkdocs_dsocr.inputs import InputError, ModelConfig
from mkdocs_dsocr.inputs.checkpoint import INDEX, read_checkpoint
from mkdocs_dsocr.inputs.model_config import HEADERS
from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.tracing import StaticAnalyzer
from mkdocs_dsocr.verify.checkpoint import OPTIONAL, compare
from tests.conftest import ROOT, TINY_CONFIG, BuildSite

COMMIT = "9f30c71f441d010e5429c532364a86705536c53a"
Shapes = dict[str, tuple[int, ...]]
WIDTH = {"BF16": 2, "F16": 2, "F32": 4, "I64": 8, "U8": 1}


def write(path: Path, shapes: Shapes, dtypes: dict[str, str] | None = None) -> None:
    """Write a safetensors file with real headers and sparse data."""
    header, end = {}, 0
    for name, shape in shapes.items():
        dtype = (dtypes or {}).get(name, "BF16")
        size = WIDTH[dtype]
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def shapes_of(analyzer: StaticAnalyzer) -> Shapes:
    return {n: tuple(p.shape) for n, p in analyzer.session.model.named_parameters()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> StaticAnalyzer:
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "config.json").write_text(TINY_CONFIG)
    return StaticAnalyzer(load_model_config(f"{folder}/"))


@pytest.fixture
def folder(tmp_path: Path, tiny: StaticAnalyzer) -> Path:
    """A whole checkpoint of the tiny model, in one file."""
    target = tmp_path / "checkpoint"
    target.mkdir()
    (target / "config.json").write_text(TINY_CONFIG)
    write(target / "model.safetensors", shapes_of(tiny))
    return target


def shard(folder: Path, shapes: Shapes, parts: int = 3) -> dict[str, str]:
    """Write a checkpoint in several files with an index; return its weight map."""
    names = list(shapes)
    placed: dict[str, str] = {}
    for part in range(parts):
        file = f"model-{part + 1:05}-of-{parts:05}.safetensors"
        mine = names[part::parts]
        write(folder / file, {n: shapes[n] for n in mine})
        placed |= dict.fromkeys(mine, file)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return placed


def test_2710_of_2710_tensors_match(
    tmp_path: Path, config: ModelConfig, analyzer: StaticAnalyzer
) -> None:
    """The public checkpoint's own names and shapes, in four shards, with and without the buffer."""
    shutil.copy(config.path, tmp_path / "config.json")
    shapes = shapes_of(analyzer)
    for further in ({}, {OPTIONAL: (1, 257)}):
        shard(tmp_path, {**shapes, **further}, 4)
        checkpoint = read_checkpoint(tmp_path / "config.json")
        assert checkpoint is not None
        assert len(checkpoint.files) == 4
        assert sum(checkpoint.files.values()) > 6_672_212_480
        verdict = compare(checkpoint, analyzer.modules())
        assert (verdict.matching, verdict.expected) == (2710, 2710)
        assert verdict.agrees
        assert verdict.failures == []


def test_differences_are_named(folder: Path, tiny: StaticAnalyzer) -> None:
    shapes = shapes_of(tiny)
    lost, *_ = shapes
    changed = "lm_head.weight"
    shapes[changed] = (shapes[changed][0] + 1, shapes[changed][1])
    del shapes[lost]
    write(folder / "model.safetensors", {**shapes, "lora.a": (3,)}, {"model.norm.weight": "F32"})
    checkpoint = read_checkpoint(folder / "config.json")
    assert checkpoint is not None
    verdict = compare(checkpoint, tiny.modules())
    assert [d.name for d in verdict.missing] == [lost]
    assert [d.name for d in verdict.unexpected] == ["lora.a"]
    assert {d.name for d in verdict.differing} == {changed, "model.norm.weight"}
    (failure,) = verdict.failures
    assert f"{verdict.expected - 3} of {verdict.expected} tensors match" in failure
    assert "1 missing, 2 differing, 1 unexpected" in failure
    assert json.loads(verdict.to_json())["agrees"] is False


def test_quantised_checkpoints_are_described(folder: Path, tiny: StaticAnalyzer) -> None:
    awq = {"quant_method": "awq", "bits": 4, "group_size": 128}
    raw = {**json.loads(TINY_CONFIG), "quantization_config": awq}
    (folder / "config.json").write_text(json.dumps(raw))
    shapes = shapes_of(tiny)
    name = "model.layers.0.mlp.gate_proj.weight"
    shapes[name.replace("weight", "qweight")] = shapes.pop(name)
    write(folder / "model.safetensors", shapes)
    checkpoint = read_checkpoint(folder / "config.json")
    assert checkpoint is not None
    storage = load_model_config(f"{folder}/").storage
    verdict = compare(checkpoint, tiny.modules(), storage)
    assert verdict.is_quantised
    assert not verdict.agrees
    assert verdict.failures == []


def _truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    os.truncate(path, path.stat().st_size - 1)


def _lying(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[:8] = struct.pack("<Q", 2**40)
    path.write_bytes(data)


def _no_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x80\x02}q\x00.")  # an empty pickle


def _indexed(placed: Callable[[dict[str, str]], Any]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = {"weight_map": placed({"lm_head.weight": "model.safetensors"})}
        (folder / INDEX).write_text(json.dumps(content))

    return change


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_truncated, ["model.safetensors", "a whole safetensors file"]),
        (_lying, ["model.safetensors", "a whole safetensors file"]),
        (_no_header, ["model.safetensors", "a whole safetensors file"]),
        (_indexed(lambda _: {}), [INDEX, "weight_map", "a file name for each tensor"]),
        (_indexed(lambda _: ["a"]), [INDEX, "weight_map"]),
        (_indexed(lambda m: {**m, "x": "../x.safetensors"}), ["weight_map: x", "same folder"]),
        (_indexed(lambda m: {**m, "x": "/etc/passwd"}), ["weight_map: x", "same folder"]),
        (_indexed(lambda m: {**m, "x": "a\\b.safetensors"}), ["weight_map: x", "same folder"]),
        (_indexed(lambda m: {**m, "x": 3}), ["weight_map: x", "found 3"]),
        (_indexed(lambda m: {**m, "x": "pytorch_model.bin"}), ["x", "a .safetensors file"]),
        (_indexed(lambda m: {**m, "x": "model.safetensors"}), ["weight_map: x", "no file has it"]),
    ],
)
def test_damaged_checkpoints_get_one_message(
    folder: Path, damage: Callable[[Path], None], says: list[str]
) -> None:
    damage(folder)
    output = folder / "out"
    done = CliRunner().invoke(main, ["analyze", "--model", str(folder), "--output", str(output)])
    assert done.exit_code == 2
    for words in says:
        assert words in done.output
    assert not output.exists()


@pytest.mark.parametrize(("dtype", "header"), [("float16", "F16"), ("float32", "F32")])
def test_a_checkpoint_of_another_dtype_is_of_the_model(
    folder: Path, tiny: StaticAnalyzer, dtype: str, header: str
) -> None:
    """Its dtype is the model's, whether its config says so or only its tensors."""
    shapes = shapes_of(tiny)
    write(folder / "model.safetensors", shapes, dict.fromkeys(shapes, header))
    for stated in (dtype, "bfloat16", None):
        raw = json.loads(TINY_CONFIG)
        for section in (raw, raw["language_config"]):
            section["torch_dtype"] = stated
        (folder / "config.json").write_text(json.dumps(raw))
        config = load_model_config(f"{folder}/")
        assert HEADERS[config.storage.dtype] == header
        assert bool(config.storage.notes) == (stated == "bfloat16")
        checkpoint = read_checkpoint(config.path)
        assert checkpoint is not None
        verdict = compare(checkpoint, tiny.modules(), config.storage)
        assert verdict.matching == verdict.expected == len(shapes)
        assert verdict.failures == []
        (failure,) = compare(checkpoint, tiny.modules()).failures
        assert f"{len(shapes)} differ only in dtype, such as {header} instead of BF16" in failure


@pytest.mark.parametrize("pointer", [False, True])
@pytest.mark.parametrize("gone", [1, 3])
def test_a_partial_download_is_analysed_with_a_note(
    folder: Path, tiny: StaticAnalyzer, gone: int, pointer: bool
) -> None:
    (folder / "model.safetensors").unlink()
    placed = shard(folder, shapes_of(tiny))
    for name in sorted(set(placed.values()))[:gone]:
        (folder / name).unlink()
        if pointer:
            (folder / name).write_text("version https://git-lfs.github.com/spec/v1\nsize 9\n")
    done = CliRunner().invoke(
        main, ["analyze", "--model", f"{folder}/", "--output", str(folder / "out")]
    )
    assert done.exit_code == 0, done.output
    assert f"note: {gone} of 3 weight files that the index names are missing" in done.output
    assert "a partial download" in json.loads((folder / "out/report.json").read_text())["notes"]
    checkpoint = read_checkpoint(folder / "config.json")
    assert checkpoint is not None
    verdict = compare(checkpoint, tiny.modules())
    assert verdict.agrees
    assert verdict.expected == sum(name in checkpoint.tensors for name in placed)


@pytest.mark.parametrize("base", ["deepseek-ai/DeepSeek-OCR", None])
def test_an_adapter_needs_its_base_model(tmp_path: Path, base: str | None) -> None:
    content = {"peft_type": "LORA", "base_model_name_or_path": base}
    (tmp_path / "adapter_config.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="an adapter") as error:
        load_model_config(f"{tmp_path}/")
    assert f"the folder of its base model, {base}" in str(error.value) or base is None


def test_a_tensor_in_two_files_is_refused(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "other.safetensors")
    (folder / "model.safetensors").rename(folder / "again.safetensors")
    with pytest.raises(InputError, match="each once"):
        read_checkpoint(folder / "config.json")


def test_ten_thousand_further_tensors(folder: Path, tiny: StaticAnalyzer) -> None:
    extra = {f"extra.{n}": (1,) for n in range(10_000)}
    write(folder / "model.safetensors", {**shapes_of(tiny), **extra})
    checkpoint = read_checkpoint(folder / "config.json")
    assert checkpoint is not None
    verdict = compare(checkpoint, tiny.modules())
    assert verdict.matching == verdict.expected
    assert len(verdict.unexpected) == 10_000


def test_a_hubs_cache_of_links(tmp_path: Path, folder: Path) -> None:
    """Snapshots are folders of links: name and revision are the path's, not the blobs'."""
    root = tmp_path / "models--deepseek-ai--DeepSeek-OCR"
    snapshot, blobs = root / "snapshots" / COMMIT, root / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in folder.iterdir():
        path.rename(blobs / path.name)
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    config = load_model_config(f"{snapshot}/")
    assert config.revision == COMMIT
    assert config.variant == "DeepSeek-OCR"
    assert config.model_id == "deepseek-ai/DeepSeek-OCR"
    assert read_checkpoint(config.path) is not None
    (blobs / "model.safetensors").unlink()
    with pytest.raises(InputError, match="No such file"):
        read_checkpoint(config.path)


def test_where_the_revision_is_known(folder: Path) -> None:
    assert load_model_config(f"{folder}/").revision is None
    git = folder / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "refs/heads/main").write_text(COMMIT + "\n")
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert load_model_config(f"{folder}/").revision == COMMIT
    (git / "HEAD").write_text("ref: refs/../../../secret\n")
    assert load_model_config(f"{folder}/").revision is None
    noted = folder / ".cache/huggingface/download/config.json.metadata"
    noted.parent.mkdir(parents=True)
    noted.write_text(f"{COMMIT}\n0a1b\n1.5\n")
    assert load_model_config(f"{folder}/").revision == COMMIT
    stated = {**json.loads(TINY_CONFIG), "_commit_hash": COMMIT[::-1]}
    (folder / "config.json").write_text(json.dumps(stated))
    assert load_model_config(f"{folder}/").revision == COMMIT[::-1]


def test_the_page_and_the_file_show_the_verdict(folder: Path, tiny: StaticAnalyzer) -> None:
    settings = pipeline.Settings(model=f"{folder}/", workloads=("dsocr-tiny",))
    static = trace_model(pipeline.analyse(settings), "meta", lambda _: None)
    count = len(shapes_of(tiny))

    def built() -> tuple[str, dict[str, Any]]:
        complete = pipeline.complete(pipeline.analyse(settings), static)
        _, pages, others = sites.site_files(complete, "directory")
        return pages["checkpoint.md"], json.loads(others["artifacts/static/checkpoint.json"])

    page, verdict = built()
    assert f"{count} of {count} tensors match" in page
    assert verdict["matching"] == count
    assert str(folder) not in page
    extra = {f"lora<b>{n}": (3,) for n in range(300)}
    write(folder / "model.safetensors", {**shapes_of(tiny), **extra})
    page, verdict = built()
    assert "lora&lt;b&gt;0" in page
    assert "lora<b>" not in page
    assert "The first 200 of 300." in page
    assert len(verdict["unexpected"]) == 300


MARK = "import pathlib; pathlib.Path(__file__).with_name('mark').touch()\n"


@pytest.fixture
def remote(folder: Path) -> Path:
    """A checkpoint that asks for its own code, which would leave a mark, and holds pickles."""
    auto = {"AutoModel": "modeling_deepseekocr.DeepseekOCRForCausalLM"}
    (folder / "config.json").write_text(json.dumps({**json.loads(TINY_CONFIG), "auto_map": auto}))
    for name in ("modeling_deepseekocr.py", "configuration_deepseekocr.py", "__init__.py"):
        (folder / name).write_text(MARK)
    for name in ("pytorch_model.bin", "consolidated.pt"):
        os.mkfifo(folder / name)  # whoever opens it waits forever
    return folder


def test_no_command_runs_code_of_a_checkpoint(remote: Path, tmp_path: Path) -> None:
    workload = tmp_path / "w.yaml"
    workload.write_text(
        "profile_id: w\nbase_size: 64\nimage_size: 64\ncrop_mode: false\n"
        "text_tokens: 2\nmax_new_tokens: 2\n"
    )
    common = ["--model", str(remote), "--workload", str(workload)]
    cpu = ["--device", "cpu", "--repeats", "1", "--output", str(tmp_path / "m.json")]
    for command in (
        ["analyze", *common, "--output", str(tmp_path / "a")],
        ["static", *common, "--device", "meta", "--output", str(tmp_path / "s")],
        ["measure", *common, *cpu],
    ):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "s/checkpoint.json").is_file()
    assert not list(tmp_path.rglob("mark"))


@pytest.mark.slow
def test_a_strict_build_refuses_another_model_and_runs_no_code(
    build_site: BuildSite, remote: Path, tiny: StaticAnalyzer
) -> None:
    write(remote / "model.safetensors", {**shapes_of(tiny), "lora": (3,)})
    built = build_site(
        f"site_name: s\ntheme: mkdocs\nplugins: [{{dsocr: {{model: {remote}, device: meta}}}}]\n"
    )
    assert built.returncode != 0
    count = len(shapes_of(tiny))
    assert f"{count} of {count} tensors match" in built.output
    assert "1 unexpected, the first of them lora" in built.output
    assert "Traceback" not in built.output
    assert not list(remote.rglob("mark"))


def test_the_shipped_model_has_no_weights() -> None:
    assert read_checkpoint(ROOT / "data/models/deepseek-ocr-v1-base/config.json") is None
