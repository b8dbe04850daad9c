"""The checkpoint's own modules: run only where the user says so, and then compared exactly."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.build.static import StaticAnalysis, load_static
from mkdocs_dsocr.build.trace_store import trace_model
from mkdocs_dsocr.cli import main
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.tracing.counter import EVERYTHING, OperatorCounter
from mkdocs_dsocr.tracing.forwards import calls_for_forwards, stand_ins
from mkdocs_dsocr.tracing.meta_values import BLANK, MetaValues, balanced
from mkdocs_dsocr.tracing.modules import Modules
from mkdocs_dsocr.tracing.torchvision import importable
from tests.conftest import ROOT, TINY_CONFIG, BuildSite

CODE = ROOT / "tests/remote_code/modeling_deepseekocr.py"
IS_VENDOR = metadata.version("transformers") == "4.46.3"
vendor_only = pytest.mark.skipif(not IS_VENDOR, reason="needs [vendor]: make test-all")
others_only = pytest.mark.skipif(IS_VENDOR, reason="needs another transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the tiny model with code of its own and no weights."""
    target = tmp_path_factory.mktemp("remote") / "tiny-ocr"
    target.mkdir()
    (target / "config.json").write_text(TINY_CONFIG)
    shutil.copy(CODE, target)
    return target


def settings(folder: Path, *workloads: str) -> pipeline.Settings:
    chosen = workloads or ("dsocr-snapshot-2x2",)
    return pipeline.Settings(f"{folder}/", chosen, device="meta", trust_remote_code=True)


@pytest.fixture(scope="module")
def static(folder: Path) -> StaticAnalysis:
    analyses = pipeline.analyse(settings(folder, "dsocr-snapshot-2x2", "dsocr-tiny"))
    return trace_model(analyses, "meta", lambda _: None, trust=True)


@pytest.fixture(scope="module")
def result(folder: Path, static: StaticAnalysis) -> pipeline.Result:
    analyses = pipeline.analyse(settings(folder, "dsocr-snapshot-2x2", "dsocr-tiny"))
    return pipeline.complete(analyses, static)


@vendor_only
def test_flops_parameters_and_caches_are_those_of_the_checkpoint(result: pipeline.Result) -> None:
    """With and without local views: difference 0 in every class."""
    assert result.vendor is not None
    assert result.vendor.failures == []
    seen = result.vendor.verification
    assert len(seen.classes) == 31
    for verdict in seen.classes:
        assert verdict.compared["matmul_flops"].difference == 0, verdict.class_name
        assert verdict.parameters_formula == verdict.parameters_counted
    assert seen.by_class["NoTPAttention"].compared["matmul_flops"].counted > 0
    assert result.vendor.traced_as == {"LlamaFlashAttention2": "LlamaAttention"}
    assert seen.other == ()


@vendor_only
def test_operators_that_differ_are_the_whole_difference(result: pipeline.Result) -> None:
    """Every byte and dispatch in which the two traces differ is in the table."""
    static, verdict = result.static, result.vendor
    assert static.vendor is not None
    assert verdict is not None
    assert verdict.attention_is_eager
    pairs = [(r, static.trace.find(r.shape)) for r in static.vendor.passes]
    assert all(ours for _, ours in pairs)

    def difference(metric: str) -> int:
        total = 0
        for record, ours in pairs:
            path = "" if record.shape.part == "language" else "model"
            total += getattr(record, metric)[path] - getattr(ours, metric)[path]
        return total

    assert sum(d.bytes for d in verdict.operators) == difference("eager_bytes")
    calls = sum(d.vendor_calls - d.reference_calls for d in verdict.operators)
    assert calls == difference("dispatches")


@vendor_only
def test_operators_are_compared_whatever_the_workload_asks_for(
    folder: Path, tmp_path: Path
) -> None:
    """The checkpoint's code runs without autocast and with all logits; so does the reference."""
    workload = tmp_path / "other.yaml"
    workload.write_text(
        "profile_id: other\nbase_size: 512\nimage_size: 512\ncrop_mode: false\ntext_tokens: 3\n"
        "max_new_tokens: 2\nprecision_mode: autocast\nlogits_positions: last\n"
    )
    analyses = pipeline.analyse(settings(folder, str(workload)))
    found = pipeline.complete(
        analyses, trace_model(analyses, "meta", lambda _: None, trust=True)
    ).vendor
    assert found is not None
    assert found.failures == []
    assert found.attention_is_eager


@vendor_only
def test_a_decode_step_waits_once_a_moe_layer(static: StaticAnalysis) -> None:
    assert static.vendor is not None
    waits = {r.shape.pass_id: r.host_syncs for r in static.vendor.passes}
    assert waits["decode"] == 2  # of three layers one is dense
    assert waits["vision.global"] == 0


@vendor_only
def test_a_wrong_width_in_the_code_is_found(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other-ocr"
    shutil.copytree(folder, other)
    code = other / CODE.name
    right = "DeepseekV2MLP(config.hidden_size, width * config.n_shared_experts)"
    assert right in code.read_text()
    code.write_text(code.read_text().replace(right, "DeepseekV2MLP(config.hidden_size, width)"))
    ran = CliRunner().invoke(main, [*STATIC, f"{other}/", "--output", str(tmp_path / "out")])
    assert ran.exit_code == 1, ran.output
    assert "chatty" not in ran.output
    assert "the checkpoint's own DeepseekV2MLP" in ran.output


STATIC = ["static", "--device=meta", "--workload=dsocr-tiny", "--trust-remote-code", "--model"]


@vendor_only
def test_code_that_fails_is_one_message(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "failing-ocr"
    shutil.copytree(folder, other)
    (other / CODE.name).write_text("import a_module_that_is_nowhere\n")
    ran = CliRunner().invoke(main, [*STATIC, f"{other}/"])
    assert ran.exit_code == 2
    assert "a_module_that_is_nowhere" in ran.output
    assert "Traceback" not in ran.output


@vendor_only
def test_one_more_line_shows_the_checkpoints_modules(build_site: BuildSite, folder: Path) -> None:
    built = build_site(
        "site_name: s\ntheme: material\nplugins:\n  - search\n  - dsocr:\n"
        f"      model: {folder}/\n      workloads: [dsocr-tiny]\n      trust_remote_code: true\n"
    )
    assert built.returncode == 0, built.output
    page = built.read("dsocr/vendor/index.html")
    assert "FLOPs, parameters and KV cache agree with" in page
    assert "LlamaAttention" in page
    verdict = json.loads(built.read("dsocr/artifacts/static/vendor.json"))
    assert verdict["agrees"] is True
    assert load_static(built.site / "dsocr/artifacts/static").vendor is not None


@others_only
def test_another_transformers_is_named(folder: Path) -> None:
    ran = CliRunner().invoke(main, [*STATIC, f"{folder}/"])
    assert ran.exit_code == 2
    assert "mkdocs-dsocr[vendor]" in ran.output
    assert metadata.version("transformers") in ran.output


@pytest.mark.parametrize("lacking", ["code", "auto_map"])
def test_a_checkpoint_without_code_is_refused(tmp_path: Path, lacking: str) -> None:
    content = json.loads(TINY_CONFIG)
    if lacking == "auto_map":
        del content["auto_map"]
        shutil.copy(CODE, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"auto_map|no \*\.py"):
        pipeline.analyse(settings(tmp_path))


class _Inner(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


class _Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = _Inner(), _Inner()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first.forward(x))
        return out


def test_a_direct_forward_is_a_call() -> None:
    """Hooks see each module once, however it is called, and nothing stays behind."""
    model, seen = _Outer(), []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: seen.append(name))
    with calls_for_forwards(model):
        model(torch.zeros(1))
    assert seen == ["first", "second", ""]
    assert all("forward" not in vars(m) for m in model.modules())


def test_values_that_meta_lacks() -> None:
    counts, pixels = (torch.zeros(n, device="meta") for n in (4, 9))
    blank = torch.zeros(9, device="meta")
    setattr(blank, BLANK, True)
    values = MetaValues(routed=10)
    with values.answering(), torch.autocast("meta", enabled=False):
        assert counts.cpu().tolist() == [3, 3, 2, 2] == balanced(10, 4)
        assert torch.sum(pixels).item() != 0
        assert torch.sum(blank).item() == 0
        assert pixels.cuda() is pixels
    assert values.asked == 3
    with pytest.raises(RuntimeError):
        torch.autocast("meta", enabled=False)


def test_what_stands_in_is_not_run() -> None:
    model: Any = _Outer()
    with stand_ins({model.first: lambda x: x * 0}):
        assert model(torch.ones(1)).item() == 1
    assert model(torch.ones(1)).item() == 3


VIEWS: dict[str, Callable[[Tensor], Any]] = {
    "split": lambda x: torch.ops.aten.split(x, 2),
    "split_with_sizes": lambda x: torch.ops.aten.split_with_sizes(x, [1, 3]),
    "tensor_split": lambda x: x.tensor_split(2),
    "chunk": lambda x: x.chunk(2),
    "unbind": lambda x: x.unbind(),
    "narrow": lambda x: x.narrow(0, 0, 2),
    "movedim": lambda x: x.movedim(0, 1),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "t": lambda x: x.t(),
    "mT": lambda x: x.mT,
    "expand_as": lambda x: x[:1].expand_as(x),
    "unflatten": lambda x: torch.ops.aten.unflatten(x, 0, [2, 2]),
    "as_strided": lambda x: x.as_strided((2, 2), (1, 1)),
    "diagonal": lambda x: x.diagonal(),
    "unfold": lambda x: x.unfold(0, 2, 1),
    "unsqueeze_": lambda x: x[:].unsqueeze_(0),
}


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_views_are_known_and_no_kernels(name: str) -> None:
    class Module(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return VIEWS[name](x)

    module = Module()
    counter, x = OperatorCounter(Modules(module)), torch.zeros(4, 4, device="meta")
    with torch.no_grad(), counter.watching():
        module(x)
    assert counter.unknown == set()
    assert counter.dispatches[EVERYTHING] == 0


@pytest.mark.parametrize("broken", [False, True], ids=["absent", "of another torch"])
def test_torchvision_is_imported_and_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    if broken:
        package = tmp_path / "torchvision"
        package.mkdir()
        (package / "__init__.py").write_text(
            "import sys; sys.modules[__name__ + '.half'] = sys\n"
            "raise RuntimeError('operator torchvision::nms does not exist')\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
    elif util.find_spec("torchvision"):
        pytest.skip("torchvision is installed")
    with importable():
        functional = importlib.import_module("torchvision.transforms.functional")
        transforms = importlib.import_module("torchvision.transforms")
        assert functional.InterpolationMode.BICUBIC.__name__ == "BICUBIC"
        with pytest.raises(ImportError, match=r"torchvision\.ToTensor is called"):
            transforms.ToTensor()
    assert not [name for name in sys.modules if name.partition(".")[0] == "torchvision"]
    with pytest.raises((ImportError, RuntimeError)):
        importlib.import_module("torchvision")
