"""The reference *Files* names every key that the code reads, and *Architecture* every format's."""

from __future__ import annotations

import re
from typing import Any, Final, get_args

import pytest
import yaml

from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.inputs.files import validate
from mkdocs_dsocr.inputs.hardware import CONSTANTS, Host, KernelConstants, Peak, Rates
from mkdocs_dsocr.inputs.serving import Serving
from mkdocs_dsocr.inputs.workload import CHOICES, Dtype, WeightDtype, Workload
from mkdocs_dsocr.models.quantization import _METHODS
from mkdocs_dsocr.sweep.columns import HARDWARE, WORKLOAD
from tests.conftest import ROOT

TEXT: Final = (ROOT / "docs/reference/files.md").read_text(encoding="utf-8")
SECTIONS: Final = dict(re.findall(r"^##+ (.+)\n((?:(?!##).*\n)*)", TEXT, re.MULTILINE))


def _rows(section: str) -> dict[str, list[str]]:
    """Return the cells of each row of a section's table, by the key in the first cell."""
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", SECTIONS[section], re.MULTILINE)
    return {key: re.split(r" ?\| ", cells) for key, cells in rows}


def _words(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


def test_every_key_of_a_workload_is_there() -> None:
    rows = _rows("Workload")
    assert rows.keys() == Workload.model_fields.keys()
    required = {name for name, field in Workload.model_fields.items() if field.is_required()}
    not_with_text_only = {"image_size", "crop_mode"}
    always = {key for key, (needed, *_) in rows.items() if needed == "yes"}
    assert always == required | not_with_text_only


@pytest.mark.parametrize("key", sorted({*CHOICES} - {"crop_mode", "text_only"}))
def test_every_choice_of_a_workload_is_there(key: str) -> None:
    said = _words(" ".join(_rows("Workload")[key]))
    if key in ("activation_dtype", "kv_dtype"):  # "the same, without" those of weights alone
        said = _words(" ".join(_rows("Workload")["weight_dtype"])) - {*_of_weights_alone()}
    assert {str(value) for value in CHOICES[key]} <= said


def _of_weights_alone() -> list[str]:
    return [name for name in CHOICES["weight_dtype"] if name not in get_args(Dtype)]


def test_every_key_of_serving_is_there_with_its_default() -> None:
    said = {key: yaml.safe_load(default) for key, (default, *_) in _rows("Serving").items()}
    assert said == {name: field.default for name, field in Serving.model_fields.items()}


def test_every_key_of_a_profile_is_there() -> None:
    section = SECTIONS["Hardware"]
    example: dict[str, Any] = yaml.safe_load(
        re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)[0]
    )
    validate(Hardware, example, "the example")
    assert {*Hardware.model_fields} <= {*re.findall(r"\w+", section)}
    for key, model in (("tensor_bf16", Peak), ("host", Host), ("achieved", Rates)):
        assert example[key].keys() == model.model_fields.keys()
    assert {*KernelConstants.model_fields} <= {*re.findall(r"\w+", section)}
    (said,) = re.findall(r"^The constants of `kernels` are(.*?)given is", section, re.DOTALL | re.M)
    assert {*CONSTANTS} == _words(said) - {"kernels"}


def test_every_dimension_of_a_sweep_is_there() -> None:
    said = _words(SECTIONS["Sweeps"])
    modes = {*CHOICES} - {"crop_mode", "text_only"}  # "the modes and formats of a workload"
    assert {*WORKLOAD, *HARDWARE} - modes <= said


def test_every_method_of_quantisation_is_there() -> None:
    rows = re.findall(r"^\| ([\w-]+) \| (.*) \|$", SECTIONS["Stored formats"], re.MULTILINE)
    assert {name.lower() for name, _ in rows} - {"method"} == {*_METHODS}


def test_every_format_of_products_has_a_peak(gpu: Hardware) -> None:
    """As *Architecture* says of a new format: a field, and an entry."""
    formats = [name for name in get_args(Dtype) if name != "fp32"]
    fields = {name for name in Hardware.model_fields if name.startswith("tensor_")}
    assert fields == {f"tensor_{name}" for name in formats}
    other = gpu.cuda_fp32
    peaks = {name: other.model_copy(update={"tflops": i}) for i, name in enumerate(formats, 1)}
    every = gpu.model_copy(update={f"tensor_{name}": peak for name, peak in peaks.items()})
    assert {name: every.peak(name) for name in formats} == peaks
    page = (ROOT / "src/mkdocs_dsocr/site/templates/workload.md.j2").read_text(encoding="utf-8")
    assert all(f"gpu.tensor_{name}" in page for name in formats)
    assert {*formats, "fp32"} < {*get_args(WeightDtype)}
    recipe = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    for needed in ("`Dtype`", "`WeightDtype`", "`Hardware.peak`", "`tensor_<name>`"):
        assert needed in recipe
