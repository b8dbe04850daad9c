"""Damaged files and options: each is read, or refused with one message that names it.

``nox -s slow`` tries 2,000, ``nox -s soak`` 20,000. They run in processes of their own so that
memory can be measured.
"""

from __future__ import annotations

import json
import resource
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.build.static import load_static
from mkdocs_dsocr.build.trace_store import cached, trace_model
from mkdocs_dsocr.inputs import InputError, load_hardware
from mkdocs_dsocr.inputs.checkpoint import INDEX, SINGLE, read_checkpoint
from mkdocs_dsocr.inputs.measurement import load_measurements
from mkdocs_dsocr.inputs.reviews import Entry, load_reviews, save_entries
from mkdocs_dsocr.io import Cache
from mkdocs_dsocr.plugin_options import check_path
from mkdocs_dsocr.report.changes import compare, load_report
from mkdocs_dsocr.site.review import reviewed
from mkdocs_dsocr.site.studies import Studies, as_lists, as_tables
from mkdocs_dsocr.site.studies import tables as made_tables
from mkdocs_dsocr.sweep.spec import load_spec
from mkdocs_dsocr.sweep.whatif import evaluated
from tests.conftest import FULL, ROOT, TINY_CONFIG, TINY_GOT, TINY_UNLIMITED, measured_on_cpu
from tests.fuzzing import damaged_files, written

pytestmark = pytest.mark.slow
EACH: Final = 1500 if FULL else 150
LONGEST_S: Final = 5
MOST_KB: Final = 500_000
MOST_LETTERS: Final = 1500
ENTRY: Final = {
    "status": "approved",
    "by": "ada",
    "date": "2026-01-01",
    "fingerprint": "0123456789abcdef",
    "reviewed": {"a": "b"},
}


def _workload(path: Path) -> None:
    settings = pipeline.Settings(model=_tiny(path), workloads=(str(path),))
    analysis = pipeline.analyse(settings)[0][0]
    assert analysis.report.predicted_total_time_ms > 0


def _hardware(path: Path) -> None:
    settings = pipeline.Settings(model=_tiny(path), hardware=(str(path),))
    analysis = pipeline.analyse(settings)[0][0]
    assert analysis.report.predicted_total_time_ms > 0


def _config(path: Path) -> None:
    settings = pipeline.Settings(model=str(path), workloads=("dsocr-tiny",))
    analysis = pipeline.analyse(settings)[0][0]
    assert analysis.root.total.flops > 0


def _sweep(path: Path) -> None:
    spec = load_spec(path)
    assert spec.size > 0
    # A few of the scenarios, with what is most extreme in the file.
    few = {n: v if isinstance(v, list) else [v.start, v.stop] for n, v in spec.sweep.items()}
    small = spec.model_copy(update={"sweep": {n: v[:2] for n, v in few.items()}})
    try:
        assert sum(piece.rows for piece in small.chunks()) == small.size
    except OverflowError as error:
        assert "64 bits" in str(error)  # noqa: PT017


def _report(path: Path) -> None:
    report = load_report(path)
    compare(report, report)
    for scenario in evaluated(report, path, [{}, {"batch_size": 2}]):
        assert scenario.figures
    compare(report, _analysis(path).report, _analysis(path).config)


def _reviews(path: Path) -> None:
    reviewed(_analysis(path), path)
    save_entries(path, {"layers": {"Linear": Entry.model_validate(ENTRY)}})
    assert "Linear" in load_reviews(path).layers


def _measurement(path: Path) -> None:
    load_measurements((str(path),))
    settings = pipeline.Settings(
        _tiny(path), ("dsocr-tiny",), (f"{path.parent}/gpu.yaml",), measurements=(str(path),)
    )
    analysis = pipeline.analyse(settings)[0][0]
    assert analysis.comparison is not None


def _index(path: Path) -> None:
    read_checkpoint(path.with_name("config.json"))


def _trace(path: Path) -> None:
    pipeline.complete(((_analysis(path),),), load_static(path.parent))


def _analysis(path: Path) -> Any:
    found = pipeline.analyse(pipeline.Settings(model=_tiny(path), workloads=("dsocr-tiny",)))
    return found[0][0]


def _tiny(path: Path) -> str:
    return f"{path.parent}/tiny/"


@dataclass(frozen=True)
class Door:
    """A file that is read: its name, a valid one, and what reads it."""

    name: str
    valid: Callable[[Path], Any]
    read: Callable[[Path], None]


def _yaml(place: str) -> Callable[[Path], Any]:
    return lambda _: yaml.safe_load((ROOT / "data" / place).read_text(encoding="utf-8"))


def _json(place: str) -> Callable[[Path], Any]:
    return lambda folder: json.loads((folder / place).read_text(encoding="utf-8"))


DOORS: Final = (
    Door("workload.yaml", _yaml("workloads/dsocr-a4-gundam.yaml"), _workload),
    Door("hardware.yaml", _yaml("hardware/h100-sxm.yaml"), _hardware),
    Door("config.json", lambda _: json.loads(TINY_CONFIG), _config),
    Door("unlimited.json", lambda _: json.loads(TINY_UNLIMITED), _config),
    Door("got.json", lambda _: json.loads(TINY_GOT), _config),
    Door(
        "sweep.yaml",
        lambda _: {
            "sweep": {
                "batch_size": {"start": 1, "stop": 9, "step": 2},
                "hardware": ["h100-sxm", "a10"],
                "weight_dtype": ["bf16", "fp8"],
                "text_tokens": [1, 20],
            }
        },
        _sweep,
    ),
    Door("report.json", _json("valid/report.json"), _report),
    Door(
        "reviews.yaml",
        lambda _: {"layers": {"Linear": ENTRY, "GELU": ENTRY}, "assumptions": {"a": ENTRY}},
        _reviews,
    ),
    Door("measurement.json", _json("valid/measurement.json"), _measurement),
    Door(INDEX, lambda _: {"weight_map": {"a": SINGLE, "b": SINGLE}}, _index),
    Door("trace.json", _json("valid/trace.json"), _trace),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small model and a valid file of each kind."""
    from mkdocs_dsocr.report import report_files

    place = tmp_path_factory.mktemp("fuzz")
    (place / "tiny").mkdir()
    (place / "valid").mkdir()
    (place / "tiny/config.json").write_text(TINY_CONFIG)
    analyses = pipeline.analyse(pipeline.Settings(f"{place}/tiny/", ("dsocr-tiny",)))
    files = {
        "report.json": report_files(analyses[0][0])["report.json"],
        "trace.json": trace_model(analyses, "meta", lambda _: None).artifacts["trace.json"],
        "measurement.json": measured_on_cpu(analyses),
    }
    for name, text in files.items():
        (place / "valid" / name).write_text(text, encoding="utf-8")
    return place


@pytest.fixture(autouse=True)
def _frugal() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KB


def refused_or_read(read: Callable[[Path], None], path: Path) -> None:
    """Read a file: whatever is in it, the only error is one that names it."""
    try:
        read(path)
    except InputError as error:
        said = str(error)
    else:
        return
    # A damaged name may be that of another file, which the message then names.
    assert any(name in said for name in (path.name, str(path.parent), "etc/passwd")), said
    assert ": found " in said
    assert "; allowed: " in said
    assert len(said) < MOST_LETTERS, said
    assert said.isprintable(), said


def fuzz(files: st.SearchStrategy[bytes], run: Callable[[bytes], None]) -> None:
    """Run on as many files as asked for, and say everything that went wrong."""
    failures: dict[str, bytes] = {}

    @settings(
        max_examples=EACH,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(files)
    def each(data: bytes) -> None:
        start = time.process_time()
        try:
            run(data)
            assert time.process_time() - start < LONGEST_S, "too long"
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            failures.setdefault(f"{error!r:.300} at {where.filename}:{where.lineno}", data[:2000])

    each()
    assert failures == {}


@pytest.mark.parametrize("door", DOORS, ids=lambda d: d.name)
def test_damaged_files(door: Door, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny").symlink_to(folder / "tiny")
    if door.name == INDEX:
        shutil.copy(folder / "tiny/config.json", tmp_path)
        tensors = {name: np.zeros(2, np.float32) for name in "ab"}
        (tmp_path / SINGLE).write_bytes(save(tensors))
    path = tmp_path / door.name
    valid = door.valid(folder)
    if door.name == "measurement.json":
        gpu = {**DOORS[1].valid(folder), "device_names": [valid["device"]]}
        (tmp_path / "gpu.yaml").write_bytes(written(gpu, ".yaml"))
    path.write_bytes(written(valid, path.suffix))
    door.read(path)  # what is valid is read

    def run(data: bytes) -> None:
        path.write_bytes(data)
        refused_or_read(door.read, path)

    fuzz(damaged_files(valid, path.suffix), run)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """Draw a safetensors file: its header's length, its JSON, and too little or much behind."""
    entry = st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "BF16", "I64", "F8_E4M3", "Q4", ""]),
            "shape": st.lists(st.sampled_from([0, 1, 2, -1, 2**40, 1.5]), max_size=3),
            "data_offsets": st.lists(st.sampled_from([0, 4, 8, -4, 2**62]), max_size=3),
        }
    )
    names = st.sampled_from(["a", "b", "__metadata__", "x" * 999])
    header = json.dumps(draw(st.dictionaries(names, entry, max_size=3))).encode()
    if draw(st.booleans()):
        header = header.replace(b'"b"', b'"a"')  # a name twice
    length = draw(st.sampled_from([len(header), len(header) - 1, 0, 2**63, 100_000_001]))
    data = length.to_bytes(8, "little") + header + bytes(draw(st.integers(0, 12)))
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


def test_damaged_safetensors(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "tiny/config.json", tmp_path)

    def run(data: bytes) -> None:
        (tmp_path / SINGLE).write_bytes(data)
        refused_or_read(_index, tmp_path / SINGLE)

    fuzz(headers(), run)


def test_a_header_of_a_hundred_megabytes(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "tiny/config.json", tmp_path)
    size = 100 * 10**6
    with (tmp_path / SINGLE).open("wb") as file:
        file.write(size.to_bytes(8, "little") + b'{"a":"')
        file.write(b"x" * (size - 8) + b'"}')
    with pytest.raises(InputError, match=SINGLE):
        read_checkpoint(tmp_path / "config.json")


def test_damaged_cache_entries(tmp_path: Path) -> None:
    """A damaged entry is none; only what was saved is ever loaded."""
    kept = Cache(tmp_path)
    saved = {"artifacts": {"trace.json": "{}"}, "reason": "r"}
    kept.save("key", saved)
    (path,) = kept.entries()
    lines = path.read_text(encoding="utf-8").splitlines()
    valid = [json.loads(line) for line in lines]

    def run(data: bytes) -> None:
        path.write_bytes(data)
        assert kept.load("key", dict) in (None, saved)

    fuzz(damaged_files(valid, ".jsonl"), run)


def test_cache_entries_of_another_shape(folder: Path, tmp_path: Path) -> None:
    """Well-signed content that no build wrote is none, or what a build could have written."""
    path = tmp_path / "x"
    (tmp_path / "tiny").symlink_to(folder / "tiny")
    analyses = ((_analysis(path),),)
    static = trace_model(analyses, "meta", lambda _: None)
    entry = {"artifacts": static.artifacts, "reason": static.device_reason}
    tables = as_lists(made_tables(analyses[0][0], [load_hardware("h100-sxm")]))
    cache = Cache(tmp_path / "cache")

    def run(data: bytes) -> None:
        try:
            content = json.loads(data)
            json.dumps(content)
        except (ValueError, RecursionError):
            return
        cache.save("key", content)
        found = cached("key", cache, analyses)
        if found is not None:
            assert found.artifacts.keys() == static.artifacts.keys()
            for failure in pipeline.complete(analyses, found).failures:
                assert failure
        shown = cache.load("key", lambda content: as_tables(content, 1))
        if shown is not None:
            assert Studies(analyses[0][0], shown).files()

    cache.save("key", entry)
    assert cached("key", cache, analyses) == static
    fuzz(damaged_files(tables, ".json") | damaged_files(entry, ".json"), run)


def test_paths_of_the_plugin() -> None:
    """Whatever is taken is a plain path."""
    letters = st.sampled_from("ab9-_/.%\\\0\n <'\u202e{é") | st.characters()
    words = st.sampled_from(["a", "con", "NUL", "..", "/", "a/b", "sitemap.xml", "%2e"])
    paths = st.lists(letters | words, max_size=12).map("".join)

    def run(data: bytes) -> None:
        path = data.decode("utf-8", "surrogatepass")
        try:
            check_path(path, ["a"])
        except InputError as error:
            assert str(error).isprintable()  # noqa: PT017
        else:
            assert path.isascii()
            assert all(part.replace("-", "").replace("_", "").isalnum() for part in path.split("/"))
            assert path.split("/")[0].casefold() != "a"

    fuzz(paths.map(lambda path: path.encode("utf-8", "surrogatepass")), run)
