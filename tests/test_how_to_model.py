"""The how-to *Add a model* has every attribute and method, with the signature of the code."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from mkdocs_dsocr.cost.browser import grid_program
from mkdocs_dsocr.inputs import Hardware, Workload, load_workload
from mkdocs_dsocr.models import Model, load_model_config, registry
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.tracing import Session, StaticAnalyzer, torchinfo_artifacts
from mkdocs_dsocr.verify.formulas import verify
from tests.conftest import ROOT, TINY_GOT

TEXT: Final = (ROOT / "docs/how-to/model.md").read_text(encoding="utf-8")
TABLE: Final = re.compile(r"^\| (attribute|method) \|.*\n\|[-|]+\n((?:\|.*\n)+)", re.MULTILINE)
ROW: Final = re.compile(r"^\| (.+?) \| (.*) \|$", re.MULTILINE)
HELPERS: Final = ("run", "values", "views", "token_ids")
"""What a session has from its base class."""


class Documented(NamedTuple):
    """What the document says of a class: attributes, signatures, and what is required."""

    attributes: list[str]
    signatures: dict[str, str]
    required: set[str]


def _documented() -> list[Documented]:
    """Return the tables of the model and those of its session."""
    attributes: list[list[str]] = []
    methods: list[dict[str, str]] = []
    required: list[set[str]] = []
    for kind, rows in TABLE.findall(TEXT):
        found = [(re.findall(r"`([^`]+)`", names), says) for names, says in ROW.findall(rows)]
        if kind == "attribute":
            attributes.append([name for names, _ in found for name in names])
        else:
            methods.append({n.partition("(")[0]: n for names, _ in found for n in names})
            wanted = (names for names, says in found if says.startswith("required: "))
            required.append({name.partition("(")[0] for names in wanted for name in names})
    return [Documented(*parts) for parts in zip(attributes, methods, required, strict=True)]


MODEL, SESSION = _documented()


def _defined(name: str, signature: str, body: str) -> str:
    """Return the source of a method with a documented signature that calls another object's."""
    arguments = signature.partition("(")[2].removesuffix(")")
    given, keyword_only = [], False
    for argument in filter(None, arguments.split(", ")):
        plain = argument.partition("=")[0]
        keyword_only |= plain == "*"
        given += [f"{plain}={plain}" if keyword_only else plain] if plain != "*" else []
    own = ", ".join(filter(None, ("self", arguments)))
    return f"    def {name}({own}):\n        return {body}.{name}({', '.join(given)})\n"


@pytest.mark.parametrize(("base", "documented"), [(Model, MODEL), (Session, SESSION)])
def test_the_document_has_what_the_class_has(base: type, documented: Documented) -> None:
    public = {n for n in {*vars(base), *inspect.get_annotations(base)} if n[0] != "_"}
    assert {*documented.attributes, *documented.signatures} == public - {*HELPERS}
    assert all(f"`{name}(" in TEXT for name in HELPERS)
    assert documented.required == vars(base)["__abstractmethods__"]
    for name, signature in documented.signatures.items():
        scope: dict[str, Any] = {}
        exec("class C:\n" + _defined(name, signature, "self"), scope)
        told, real = (inspect.signature(getattr(c, name)).parameters for c in (scope["C"], base))
        assert [(p.name, p.kind, p.default) for p in told.values()] == [
            (p.name, p.kind, p.default) for p in real.values()
        ]


MODULE: Final = """
from mkdocs_dsocr.models import Model
from mkdocs_dsocr.models.got_ocr2 import MODEL as other
from mkdocs_dsocr.tracing import Session
from mkdocs_dsocr.tracing.got_ocr2 import GotOcr2Session

class Mine(Model):
{model}

class MySession(Session):
    def __init__(self, config, device):
        self._other = GotOcr2Session(config, device)
        self.config, self.device, self.model = config, device, self._other.model
        self.roots, self.stages = self._other.roots, self._other.stages
{session}
"""


def test_a_model_as_documented_is_analysed_and_traced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: Hardware
) -> None:
    """It defines what the tables name and nothing else; GOT-OCR-2.0 gives the values."""
    own = {"architecture": "'Mine'", "session": "'my_documented_ocr:MySession'"}
    lines = [f"    {name} = {own.get(name, f'other.{name}')}" for name in MODEL.attributes]
    methods = [_defined(n, s, "other") for n, s in MODEL.signatures.items() if n != "parse"]
    parse = (
        "    def parse(self, path, content):\n        config = other.parse(path, content)\n"
        "        return config.model_copy(update={'architecture': self.architecture})\n"
    )
    of_session = [_defined(n, s, "self._other") for n, s in SESSION.signatures.items()]
    code = MODULE.format(model="\n".join([*lines, *methods, parse]), session="\n".join(of_session))
    (tmp_path / "my_documented_ocr.py").write_text(code)
    (tmp_path / "config.json").write_text(
        TINY_GOT.replace("GotOcr2ForConditionalGeneration", "Mine")
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    model: Model = importlib.import_module("my_documented_ocr").Mine()
    models = {**registry.known_models(), model.architecture: model}
    monkeypatch.setattr(registry, "known_models", lambda: models)

    config = load_model_config(f"{tmp_path}/")
    fields = load_workload("dsocr-tiny").model_dump(exclude_none=True) | {
        "crop_mode": True,
        "base_size": 512,
        "page_size": (600, 900),
    }
    workload = Workload.model_validate(fields | {"crop_grid": (1, 2), "max_new_tokens": 3})
    analysis = Analysis(config, workload, gpu)
    analyzer = StaticAnalyzer(config)
    verdict = verify([analysis], analyzer.trace(analysis.plan.shapes))
    assert verdict.rows
    assert verdict.failures == []
    assert torchinfo_artifacts(analyzer.session, analysis.plan, {})
    assert {*grid_program(config, [workload]).outputs} == {"tiles_w", "tiles_h"}
