"""The guard of all figures: what reports and sweeps came to, recorded to be compared.

``tests/test_golden.py`` computes everything again: integers and strings stay equal, times and
shares to 1e-9. ``python -m tests.golden`` records the same workloads anew, and so moves the guard.

A report is read as a table: columns by the keys that lead to a figure, with dots between them
(``module_metrics.self.io_bytes``); in each a value by module, class, stage or place in a list.
Columns of a sweep are ``sweep.<stage>.<figure>`` and ``sweep.<figure>``.
"""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy
import yaml

from mkdocs_dsocr import sweep
from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.inputs import InputError
from tests.drawn import consistent

RENAMED: Final[dict[str, str]] = {}
"""Old keys → new ones, applied in this order to every column that has them.

``"dispatches": "launches"`` is of every column with that key,
``"stages.dispatches": "stages.launches"`` of those where it follows that section.
"""
CHANGED: Final[dict[str, str]] = {}
"""Patterns of (old) columns, or of a column|row, that change on purpose → the reason.

They are not compared.
"""

FOLDER: Final = Path(__file__).parent / "data" / "golden"
DATA: Final = Path(__file__).parents[1] / "data"
MODELS: Final = ("deepseek-ocr-v1-base", "unlimited-ocr")
GPUS: Final = ("rtx-5090", "h100-sxm", "a100-80gb-sxm")
SEED: Final = 20_240_601
WORKLOADS_A_MODEL: Final = 200
SCENARIOS_A_MODEL: Final = 2_000
DIGITS: Final = 12
"""Of recorded times and shares."""
TOLERANCE: Final = 1e-9

Table = dict[str, dict[str, Any]]
Array = numpy.ndarray[Any, Any]
Columns = dict[str, Array]


# What is called of the package.


def reports(model: str, workload: str, gpus: Sequence[str]) -> dict[str, Table]:
    """Return the report of a workload by GPU, or why it is refused. All are ids or paths."""
    settings = pipeline.Settings(model=model, workloads=(workload,), hardware=tuple(gpus))
    try:
        [analyses] = pipeline.analyse(settings)
    except InputError as error:
        said = {"key": error.key, "found": error.found, "allowed": error.allowed}
        return dict.fromkeys(gpus, table({"refused": said}))
    found = [a.report.model_dump(mode="json", by_alias=True) for a in analyses]
    return {gpu: table(report) for gpu, report in zip(gpus, found, strict=True)}


def drawn_report(model: str, drawn: Mapping[str, Any]) -> Table:
    """Return the report of a drawn workload, written as files, or why it is refused."""
    profile = DATA / f"hardware/{drawn['hardware']}.yaml"
    gpu = yaml.safe_load(profile.read_text(encoding="utf-8")) | drawn["rates"]
    with tempfile.TemporaryDirectory() as folder:
        paths = {"workload": Path(folder, "workload.yaml"), "gpu": Path(folder, "gpu.yaml")}
        for name, content in (("workload", consistent(drawn["workload"])), ("gpu", gpu)):
            paths[name].write_text(yaml.safe_dump(content), encoding="utf-8")
        [found] = reports(model, str(paths["workload"]), [str(paths["gpu"])]).values()
        return found


def swept(model: str, inputs: Mapping[str, Array]) -> Columns:
    """Return the result columns of scenarios."""
    dimensions: dict[str, Any] = dict(inputs)
    found = sweep.rows(model, **dimensions)
    return {_sweep_column(k): numpy.asarray(v) for k, v in found.items() if k not in inputs}


def _sweep_column(name: str) -> str:
    stage, _, figure = name.partition("_")
    is_of_a_stage = stage in ("vision", "projector", "prefill", "decode")
    return f"sweep.{stage}.{figure}" if is_of_a_stage else f"sweep.{name}"


# Reports as tables.

TEXTS: Final = (
    "schema_version",
    "report_id",
    "generated_at",
    "hardware",
    "notes",
    "not_modelled",
    "layer_docs_dir",
    "model.notes",
    "workload.profile_id",
    "workload.description",
    "operator_categories.display_name",
    "operator_categories.description",
    "modules.qualified_class_name",
    "module_metrics.profile_id",
)
"""What is no figure: sentences, versions, names of the package's own and the GPU's profile."""
BY_ROW: Final = ("stages", "memory.stages", "serving.critical_batches")
"""Whose keys are rows."""
ROW_KEYS: Final = ("module_id", "class_name", "category_id", "batch")
"""Which keys, the first first, tell the entries of a list apart; otherwise it is their place."""


def table(report: Mapping[str, Any]) -> Table:
    """Return a report as columns."""
    result: Table = {}
    for column, row, value in _cells(report, (), ()):
        result.setdefault(column, {})[row] = value
    return result


def _cells(
    node: Any, column: tuple[str, ...], row: tuple[str, ...], is_row: bool = False
) -> Iterator[tuple[str, str, Any]]:
    """Yield column, row and value of every figure; `is_row` of what a key of `BY_ROW` leads to."""
    name = ".".join(column)
    if name in TEXTS:
        return
    if isinstance(node, dict):
        for key, value in node.items():
            if name in BY_ROW and not is_row:
                yield from _cells(value, column, (*row, key), True)
            else:
                yield from _cells(value, (*column, key), row)
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from _cells(value, column, (*row, _row(value, place)))
    else:
        yield name, "|".join(row), node


def _row(entry: Any, place: int) -> str:
    keys = ROW_KEYS if isinstance(entry, dict) else ()
    return str(next((entry[key] for key in keys if key in entry), place))


# Tables beside each other.


def new_name(column: str) -> str:
    """Return what a recorded column is called now."""
    name = f".{column}."
    for old, new in RENAMED.items():
        name = name.replace(f".{old}.", f".{new}.")
    return name[1:-1]


def is_changed(column: str) -> bool:
    """Return whether a recorded column changes on purpose."""
    return bool(matching((column,), CHANGED))


def matching(columns: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Return the columns that one of the patterns is of."""
    known = list(patterns)
    return [c for c in columns if any(fnmatch.fnmatchcase(c, pattern) for pattern in known)]


DIGEST: Final = "sha256 of all rows"


def digest(column: Mapping[str, Any]) -> str:
    """Return a digest of a column, whatever the order of its rows."""
    lines = "\n".join(f"{row}\t{value}" for row, value in sorted(column.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def differences(recorded: Table, found: Table) -> list[str]:
    """Return a line for each recorded column that is another one now, with its first row."""
    lines = []
    for name, before in recorded.items():
        if is_changed(name):
            continue
        now = found.get(new_name(name))
        if now is None:
            lines.append(f"{name}: no column {new_name(name)}")
            continue
        if DIGEST in before:
            now = {DIGEST: digest(now)}
        rows = [
            row
            for row in {**before, **now}
            if not _is_same(before.get(row, ...), now.get(row, ...))
            and not is_changed(f"{name}|{row}")
        ]
        if rows:
            values = f"{before.get(rows[0], 'absent')} → {now.get(rows[0], 'absent')}"
            lines.append(f"{name}: {len(rows)} rows, first {rows[0]!r}: {values}")
    return lines


def _is_same(before: Any, now: Any) -> bool:
    if isinstance(before, float) and isinstance(now, int | float):
        return math.isclose(before, now, rel_tol=TOLERANCE)
    return type(before) is type(now) and bool(before == now)


def sweep_differences(recorded: Columns, found: Columns) -> list[str]:
    """Return a line for each recorded column that is another one now, with its first row."""
    lines = []
    for name, before in recorded.items():
        if is_changed(name):
            continue
        now = found.get(new_name(name))
        if now is None or now.dtype.kind != before.dtype.kind:
            lines.append(f"{name}: no column {new_name(name)} of type {before.dtype}")
            continue
        is_float = before.dtype.kind == "f"
        same = numpy.isclose(now, before, TOLERANCE, 0.0, True) if is_float else now == before
        if not same.all():
            row = int(same.argmin())
            lines.append(f"{name}: {(~same).sum()} rows, first {row}: {before[row]} → {now[row]}")
    return lines


# Files.


def write_tables(path: Path, tables: Mapping[str, Table], more: Mapping[str, Any]) -> None:
    """Write tables and something beside them; equal lists of rows are there once."""
    rows: dict[tuple[str, ...], int] = {}
    packed = {
        key: {
            name: [
                rows.setdefault(tuple(column), len(rows)),
                [_rounded(v) for v in column.values()],
            ]
            for name, column in found.items()
        }
        for key, found in tables.items()
    }
    content = {"rows": [list(r) for r in rows], "tables": packed, "more": more}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def read_tables(path: Path) -> tuple[dict[str, Table], dict[str, Any]]:
    """Return what :func:`write_tables` wrote."""
    content = json.loads(gzip.decompress(path.read_bytes()))
    rows = content["rows"]
    tables: dict[str, Table] = {
        key: {name: dict(zip(rows[at], v, strict=True)) for name, (at, v) in packed.items()}
        for key, packed in content["tables"].items()
    }
    return tables, content["more"]


# Reports of the shipped workloads.

ANY_GPU: Final = "any GPU"


def shipped() -> list[tuple[str, str]]:
    """Return each model with each workload that is shipped."""
    ids = sorted(path.stem for path in (DATA / "workloads").glob("*.yaml"))
    return [(model, workload) for model in MODELS for workload in ids]


def report_path(model: str, workload: str) -> Path:
    """Return where the reports of a workload are recorded."""
    return FOLDER / "reports" / f"{model}--{workload}.json.gz"


def write_reports() -> None:
    """Record the reports: the columns that no GPU changes once, the others by GPU."""
    for model, workload in shipped():
        found = reports(model, workload, GPUS)
        first = found[GPUS[0]]
        common = {k for k, v in first.items() if all(t.get(k) == v for t in found.values())}
        tables = {ANY_GPU: {k: v for k, v in first.items() if k in common}}
        for gpu, columns in found.items():
            tables[gpu] = {k: v for k, v in columns.items() if k not in common}
        write_tables(report_path(model, workload), tables, {})


def report_differences(model: str, workload: str) -> list[str]:
    """Return what is different in the reports of a workload."""
    tables, _ = read_tables(report_path(model, workload))
    found = reports(model, workload, GPUS)
    return [
        f"{gpu}: {line}"
        for gpu in GPUS
        for line in differences(tables[ANY_GPU] | tables[gpu], found[gpu])
    ]


# Drawn workloads.

DRAWN: Final = FOLDER / "drawn.json.gz"
WHOLE: Final = (
    "refused.*",
    "predicted_total_time_ms",
    "floor_total_time_ms",
    "latency.*",
    "serving",
    "serving.*",
    "memory.*",
    "stages.*",
    "workload.seq_len",
    "workload.image_tokens",
    "workload.text_tokens",
    "layers.time_ms",
)
"""Columns that are recorded row by row for a drawn workload."""
DIGESTED: Final = ("module_metrics.*", "passes.*", "modules.instances")
"""Columns that are recorded as a digest where they are of integers."""
EXPERTS: Final = 64
SIDES: Final = (512, 640, 640, 1024, 1280)
FORMATS: Final = ("bf16", "fp16", "fp8", "int8", "int4")


def write_drawn() -> None:
    """Record the drawn workloads anew."""
    inputs = read_tables(DRAWN)[1]
    tables = {k: _condensed(drawn_report(k.split("/")[0], d)) for k, d in inputs.items()}
    write_tables(DRAWN, tables, inputs)


def draw() -> None:
    """Draw other workloads: so many that are analysed, and those refused among them."""
    chance = random.Random(SEED)
    tables: dict[str, Table] = {}
    inputs: dict[str, Any] = {}
    for model in MODELS:
        numbers = {"analysed": 0, "refused": 0}
        while numbers["analysed"] < WORKLOADS_A_MODEL:
            drawn = _drawn(chance)
            found = drawn_report(model, drawn)
            kind = "refused" if "refused.key" in found else "analysed"
            key = f"{model}/{kind}/{numbers[kind]:03}"
            tables[key], inputs[key] = _condensed(found), drawn
            numbers[kind] += 1
    write_tables(DRAWN, tables, inputs)


def drawn_keys(kind: str) -> list[str]:
    """Return the keys of the drawn workloads that are ``analysed`` or ``refused``."""
    return [key for key in read_tables(DRAWN)[1] if f"/{kind}/" in key]


def drawn_differences(keys: Iterable[str]) -> list[str]:
    """Return what is different in the reports of drawn workloads."""
    tables, inputs = read_tables(DRAWN)
    return [
        f"{key}: {line}"
        for key in keys
        for line in differences(tables[key], drawn_report(key.split("/")[0], inputs[key]))
    ]


def _condensed(found: Table) -> Table:
    result = {name: found[name] for name in matching(found, WHOLE)}
    for name in matching(found, DIGESTED):
        if all(type(value) is int for value in found[name].values()):
            result[name] = {DIGEST: digest(found[name])}
    return result


def _log(chance: random.Random, low: int, high: int) -> int:
    return round(math.exp(chance.uniform(math.log(low), math.log(high))))


def _side(chance: random.Random) -> int:
    return chance.choice((*SIDES, 64 * chance.randint(1, 32)))


def _drawn(chance: random.Random) -> dict[str, Any]:
    """Return a workload, a GPU, and the rates that it achieves; they may be refused."""
    workload: dict[str, Any] = {
        "profile_id": "drawn",
        "base_size": _side(chance),
        "image_size": _side(chance),
        "crop_mode": chance.random() < 0.6,
        "max_new_tokens": chance.choice((1, 2, 3, *(_log(chance, 4, 20_000) for _ in range(9)))),
    }
    if workload["crop_mode"] and chance.random() < 0.5:
        workload["crop_grid"] = [chance.randint(1, 5), chance.randint(1, 5)]
    elif workload["crop_mode"]:
        workload["page_size"] = [_log(chance, 100, 8_000), _log(chance, 100, 8_000)]
        workload["image_size"] = 640
    if chance.random() < 0.7:
        workload["text_tokens"] = chance.choice((0, 1, 10, _log(chance, 2, 50_000)))
    else:
        workload["seq_len"] = _log(chance, 200, 10_000)
    choices: dict[str, tuple[Any, ...]] = {
        "batch_size": (2, *(_log(chance, 1, 1_000) for _ in range(3))),
        "num_pages": (1, *(_log(chance, 1, 5_000) for _ in range(3))),
        "vision_batching": ("per_page", "batched"),
        "host_mode": ("eager", "cuda_graph"),
        "precision_mode": ("module", "autocast"),
        "weight_dtype": FORMATS,
        "activation_dtype": FORMATS,
        "kv_dtype": FORMATS,
        "traffic": ("fused", "eager"),
        "logits_positions": ("all", "last"),
        "expert_load": ([round(math.exp(chance.gauss(0, 0.8)), 3) for _ in range(EXPERTS)],),
    }
    for name, values in choices.items():
        if chance.random() < 0.5:
            workload[name] = chance.choice(values)
    gpus = sorted(path.stem for path in (DATA / "hardware").glob("*.yaml"))
    rates: dict[str, Any] = {}
    if chance.random() < 0.3:
        tensor, memory = chance.uniform(20, 900), chance.uniform(200, 3_000)
        rates["achieved"] = {
            "tensor_tflops": round(tensor, 1),
            "bandwidth_gb_s": round(memory, 1),
            "source": "drawn",
        }
    return {"workload": workload, "hardware": chance.choice(gpus), "rates": rates}


# Scenarios of sweeps.

SCENARIOS: Final = FOLDER / "scenarios.npz"


def write_scenarios() -> None:
    """Record the scenarios anew."""
    arrays: Columns = {}
    for (model, group, kind), columns in _recorded_scenarios().items():
        if kind == "input":
            found = {"input": columns, "result": swept(model, columns)}
            for name, values in found.items():
                arrays |= {f"{model}/{group}/{name}/{k}": v for k, v in values.items()}
    numpy.savez_compressed(SCENARIOS, allow_pickle=False, **arrays)


def _recorded_scenarios() -> dict[tuple[str, str, str], Columns]:
    """Return columns by model, group, and whether they are ``input`` or ``result``."""
    recorded: dict[tuple[str, str, str], Columns] = {}
    with numpy.load(SCENARIOS) as arrays:
        for key in arrays:
            model, group, kind, name = key.split("/")
            recorded.setdefault((model, group, kind), {})[name] = arrays[key]
    return recorded


def draw_scenarios() -> None:
    """Draw other scenarios: half with the rates of their GPU, half with some of their own."""
    chance = random.Random(SEED)
    arrays: Columns = {}
    for model in MODELS:
        for group in ("profiles", "rates"):
            drawn = [_scenario(chance, model, group) for _ in range(SCENARIOS_A_MODEL // 2)]
            inputs = {name: numpy.array([row[name] for row in drawn]) for name in drawn[0]}
            for kind, columns in (("input", inputs), ("result", swept(model, inputs))):
                arrays |= {f"{model}/{group}/{kind}/{k}": v for k, v in columns.items()}
    numpy.savez_compressed(SCENARIOS, allow_pickle=False, **arrays)


def scenario_differences(model: str) -> list[str]:
    """Return what is different in the scenarios of a model."""
    recorded = _recorded_scenarios()
    return [
        f"{group}: {line}"
        for group in ("profiles", "rates")
        for line in sweep_differences(
            recorded[model, group, "result"], swept(model, recorded[model, group, "input"])
        )
    ]


def _scenario(chance: random.Random, model: str, group: str) -> dict[str, Any]:
    autocast = model == MODELS[0] and chance.random() < 0.3
    result: dict[str, Any] = {
        "hardware": chance.choice(sorted(p.stem for p in (DATA / "hardware").glob("*.yaml"))),
        "base_size": _side(chance),
        "image_size": _side(chance),
        "crop_mode": chance.random() < 0.6,
        "tiles_w": chance.randint(1, 5),
        "tiles_h": chance.randint(1, 5),
        "text_tokens": chance.choice((0, 1, 10, _log(chance, 2, 5_000))),
        "max_new_tokens": chance.choice((1, 2, 3, *(_log(chance, 4, 2_000) for _ in range(9)))),
        "batch_size": chance.choice((1, _log(chance, 1, 64))),
        "logits_positions": chance.choice(("all", "last")),
        "host_mode": chance.choice(("eager", "cuda_graph")),
        "vision_batching": chance.choice(("per_page", "batched")),
        "precision_mode": "autocast" if autocast else "module",
        "traffic": chance.choice(("fused", "eager")),
        "weight_dtype": chance.choice(FORMATS),
        "activation_dtype": "bf16" if autocast else chance.choice(FORMATS),
        "kv_dtype": chance.choice(FORMATS),
    }
    if group == "profiles":
        return result | {"num_pages": _log(chance, 1, 200)}
    return result | {
        "tensor_tflops": round(chance.uniform(20, 2_000), 1),
        "cuda_tflops": round(chance.uniform(5, 150), 1),
        "bandwidth_gb_s": round(chance.uniform(200, 8_000), 1),
        "memory_gb": round(chance.uniform(8, 256), 1),
        "dispatch_us": round(chance.uniform(0.5, 20), 2),
        "synchronise_us": round(chance.uniform(1, 50), 2),
    }


# All of it.


def recorded_columns() -> set[str]:
    """Return the name of every column that is recorded."""
    paths = [DRAWN, *(report_path(model, workload) for model, workload in shipped())]
    names = {name for path in paths for found in read_tables(path)[0].values() for name in found}
    with numpy.load(SCENARIOS) as arrays:
        return names | {key.split("/")[3] for key in arrays if "/result/" in key}


def main() -> None:
    """Record everything anew; with ``--draw``, for workloads and scenarios that are drawn now."""
    print("This moves the guard: what figures are now is what they have to be from here on.")
    others = (draw, draw_scenarios) if "--draw" in sys.argv else (write_drawn, write_scenarios)
    for write in (write_reports, *others):
        start = time.perf_counter()
        write()
        print(f"{write.__name__}: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
