"""The page *What if*: the browser comes to the numbers that Python comes to."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from playwright.sync_api import Browser, Page

from mkdocs_dsocr import sweep
from mkdocs_dsocr.cost.browser import gpu_rates, text
from mkdocs_dsocr.inputs import ModelConfig, Workload, load_hardware, load_workload, shipped
from mkdocs_dsocr.inputs.fields import RATE
from mkdocs_dsocr.inputs.workload import CHOICES as CHOICES_OF
from mkdocs_dsocr.inputs.workload import LIMITS, VIEW
from mkdocs_dsocr.models import load_model_config, model_of
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.serving.planning import Engines, Target
from mkdocs_dsocr.sweep.columns import NUMBERS
from tests.browsing import Visitor, served
from tests.conftest import TINY_CONFIG, TINY_UNLIMITED, BuildSite
from tests.drawn import consistent

pytestmark = pytest.mark.browser
SCENARIOS = 200
ANALYSED = 8
SIZES = [64 * n for n in range(1, 24)]
CHOICES: dict[str, Any] = {
    "base_size": SIZES,
    "image_size": SIZES,
    "crop_mode": (True, True, False),
    "tiles_w": range(1, 6),
    "tiles_h": range(1, 5),
    "text_tokens": (0, 1, 9, 250),
    "max_new_tokens": (1, 2, 3, 17, 500, 4000),
    "batch_size": (1, 2, 4, 9, 32),
    "pages_per_prompt": (1, 1, 3),
    "vision_batching": ("per_page", "batched"),
    "logits_positions": ("all", "last"),
    "host_mode": ("eager", "cuda_graph"),
    "traffic": ("fused", "eager"),
    "weight_dtype": ("bf16", "fp16", "fp8", "int8", "int4", "nvfp4", "mxfp4"),
    "activation_dtype": ("bf16", "bf16", "fp16", "fp8", "int8", "nvfp4"),
    "kv_dtype": ("bf16", "fp8", "int8", "int4", "nvfp4"),
}
MODELS = {
    "deepseek-ocr-v1-base": "dsocr-standard-v1",
    "unlimited-ocr": "dsocr-standard-v1",
    "deepseek-ocr-2": "dsocr2-a4",
    "got-ocr-2": "got-a4",
}
"""Models, each with a workload whose grid its rule knows."""
DEFAULT = next(iter(MODELS))
LATENCY = {
    "ttft_ms": "ttft_ms",
    "first_time_ms": "tpot_first_ms",
    "middle_time_ms": "tpot_middle_ms",
    "last_time_ms": "tpot_last_ms",
    "tokens_per_s": "tokens_per_s",
    "pages_per_s": "pages_per_s",
}


def planner(visitor: Visitor) -> Page:
    """Open the page and wait for its first figures."""
    page = visitor.open("dsocr/planner/")
    page.wait_for_function("document.querySelector('form.dsocr-planner').result")
    return page


def shows_whether_it_fits(page: Page, analysis: Analysis) -> bool:
    """Tell whether the page says that a batch does not fit, where it does not."""
    message = page.locator("[data-planner=message]")
    if analysis.footprint_bytes <= analysis.hardware.room_bytes:
        return message.is_hidden()
    return message.inner_text().startswith("Does not fit: the batch needs ")


def drawn(config: ModelConfig) -> tuple[list[dict[str, Any]], list[str]]:
    draw = random.Random(7)
    rows = [{k: draw.choice(values) for k, values in CHOICES.items()} for _ in range(SCENARIOS)]
    if not model_of(config).reads_many_pages:
        rows = [row | {"pages_per_prompt": 1} for row in rows]
    if (sides := model_of(config).sides(config)) != VIEW:
        rows = [row | dict.fromkeys(("base_size", "image_size"), sides.most) for row in rows]
    return rows, [draw.choice(shipped("hardware")) for _ in rows]


def as_workload(row: dict[str, Any]) -> dict[str, Any]:
    rest = {k: v for k, v in row.items() if k not in ("tiles_w", "tiles_h")}
    return {**rest, "crop_grid": [row["tiles_w"], row["tiles_h"]]}


@pytest.mark.parametrize("model", MODELS)
def test_scenarios_are_the_sweeps_and_the_reports(
    chrome: Browser, address: str, model: str
) -> None:
    config = load_model_config(model)
    rows, gpus = drawn(config)
    page = planner(Visitor(chrome, address))
    if model != DEFAULT:
        page.add_script_tag(content=text(config))
    rates = {gpu: gpu_rates(load_hardware(gpu)) for gpu in set(gpus)}
    found = page.evaluate(
        "([rows, rates]) => rows.map((row, i) => dsocrFormulas.batch(row, rates[i]))",
        [[as_workload(r) for r in rows], [rates[g] for g in gpus]],
    )
    columns: dict[str, Any] = {k: numpy.array([row[k] for row in rows]) for k in CHOICES}
    columns["num_pages"] = columns["batch_size"] * columns["pages_per_prompt"]
    expected = sweep.rows(model, MODELS[model], hardware=gpus, **columns)
    compared = 0
    for name, column in expected.items():
        if name not in found[0] or name in CHOICES:
            continue
        for index, row in enumerate(found):
            value, here = column[index].item(), row[name]
            if isinstance(value, int):
                assert here == value, (name, rows[index])
            else:
                assert here == pytest.approx(value, rel=1e-9, nan_ok=True), (name, rows[index])
            compared += 1
    assert compared > 50 * SCENARIOS
    analysed = 0
    for row, gpu, here in zip(rows, gpus, found, strict=True):
        if here["time_ms"] != here["time_ms"] or analysed == ANALYSED or row["max_new_tokens"] < 2:
            continue
        analysis = Analysis(config, workload(as_workload(row)), load_hardware(gpu))
        for name, of in LATENCY.items():
            assert here[name] == pytest.approx(getattr(analysis.latency, of), rel=1e-9), (name, row)
        assert here["footprint_bytes"] == analysis.footprint_bytes
        assert here["seq_len"] == analysis.plan.seq_len
        analysed += 1
    assert analysed == ANALYSED


def workload(fields: dict[str, Any]) -> Workload:
    return Workload.model_validate(consistent({"profile_id": "drawn", **fields}), strict=False)


@pytest.mark.parametrize("model", MODELS)
def test_the_grid_is_the_models(chrome: Browser, address: str, model: str) -> None:
    config, draw = load_model_config(model), random.Random(3)
    rule, most, side = model_of(config), model_of(config).max_tiles, model_of(config).tile_size
    pages = [(draw.randint(1, 4000), draw.randint(1, 4000)) for _ in range(500)]
    pages += [(side * w, side * h) for w in range(1, 10) for h in range(1, 10)]
    page = planner(Visitor(chrome, address))
    if model != DEFAULT:
        page.add_script_tag(content=text(config))
    found = page.evaluate(
        "(pages) => pages.map(([width, height, max_tiles]) =>"
        " dsocrFormulas.grid({ width, height, max_tiles }))",
        [(*page, most) for page in pages] + [(*page, 6) for page in pages],
    )
    expected = [rule.grid(*p, most) for p in pages] + [rule.grid(*p, 6) for p in pages]
    assert [(g["tiles_w"], g["tiles_h"]) for g in found] == expected


def test_choices_stay_in_the_address_and_come_back(
    chrome: Browser, address: str, tmp_path: Path, config: ModelConfig
) -> None:
    visitor = Visitor(chrome, address)
    page = planner(visitor)
    facts = page.locator("[data-planner=ttft_ms]")
    before = facts.inner_text()
    page.select_option("[name=mode]", "Gundam")
    page.fill("[name=page_w]", "1240")
    page.fill("[name=page_h]", "1754")
    page.fill("[name=batch_size]", "8")
    page.select_option("[name=gpu]", "h100-sxm")
    page.select_option("[name=weight_dtype]", "int8")
    after = facts.inner_text()
    assert after != before
    assert "batch_size=8" in page.url
    other = Visitor(chrome, address).open(page.url.removeprefix(address))
    other.wait_for_function("document.querySelector('form.dsocr-planner').result")
    assert other.locator("[data-planner=ttft_ms]").inner_text() == after
    assert other.input_value("[name=tiles_h]") == "3"

    path = tmp_path / "planned.yaml"
    path.write_text(page.locator("[data-planner=yaml]").inner_text())
    analysis = Analysis(config, load_workload(str(path)), load_hardware("h100-sxm"))
    shown = page.evaluate("document.querySelector('form.dsocr-planner').result")
    assert shown["ttft_ms"] == pytest.approx(analysis.latency.ttft_ms, rel=1e-9)
    assert shown["largest_batch"] == analysis.largest_batch

    page.get_by_role("button", name="Back to").click()
    page.wait_for_function("!location.search")
    assert facts.inner_text() == before
    assert not visitor.errors


def test_an_update_evaluates_the_formulas_a_few_times(chrome: Browser, address: str) -> None:
    """The largest batch is found in few steps; ``benchmarks/browser.py`` has the time."""
    page = planner(Visitor(chrome, address))
    counts = page.evaluate(
        """sizes => {
          const { batch } = dsocrFormulas;
          let count = 0;
          dsocrFormulas.batch = (...inputs) => (count++, batch(...inputs));
          const input = document.querySelector("[name=batch_size]");
          return sizes.map((size) => {
            count = 0;
            input.value = size;
            input.dispatchEvent(new Event("input", { bubbles: true }));
            return count;
          });
        }""",
        [1, 3, 9, 64, 5000, 10**6],
    )
    assert max(counts) <= 10, counts


@pytest.mark.parametrize("memory", [0.5, 8, 17.3, 80, 5000, 10**9])
def test_the_largest_batch_fits_and_the_next_one_does_not(
    chrome: Browser, address: str, memory: float
) -> None:
    page = planner(Visitor(chrome, address))
    page.fill("[name=memory_gb]", str(memory))
    shown = page.evaluate("document.querySelector('form.dsocr-planner').result.largest_batch")
    profile = load_hardware("rtx-5090")
    room = int(memory * 1e9) - (profile.memory_bytes - profile.room_bytes)
    workload = load_workload("dsocr-standard-v1").model_dump()
    config = load_model_config(DEFAULT)

    def footprint(batch: int) -> int:
        sizes = {**workload, "batch_size": batch, "num_pages": batch}
        return Analysis(config, Workload(**sizes), profile).footprint_bytes

    most = int(page.locator("form.dsocr-planner").get_attribute("data-batches") or 0)
    assert shown == 0 or footprint(shown) <= room
    assert shown == most or footprint(shown + 1) > room


def test_a_format_that_the_gpu_lacks_is_said(chrome: Browser, address: str) -> None:
    page = planner(Visitor(chrome, address))
    page.select_option("[name=gpu]", "a100-80gb-sxm")
    page.select_option("[name=activation_dtype]", "fp8")
    page.select_option("[name=weight_dtype]", "fp8")
    assert "do not support a chosen format" in page.locator("[data-planner=message]").inner_text()
    page.select_option("[name=gpu]", "h100-sxm")
    assert page.locator("[data-planner=message]").is_hidden()


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_ones_own_peaks_are_a_sweeps(chrome: Browser, address: str, dtype: str) -> None:
    page, times = planner(Visitor(chrome, address)), set()
    formats = dict.fromkeys(("weight_dtype", "activation_dtype", "kv_dtype"), dtype)
    for name, value in {"gpu": "h100-sxm", **formats}.items():
        page.select_option(f"[name={name}]", value)
    for name in ("cuda_tflops", "tensor_tflops"):
        page.fill(f"[name={name}]", "500")
        shown = page.evaluate("document.querySelector('form.dsocr-planner').result.time_ms")
        page.fill(f"[name={name}]", "")
        swept: Any = {**formats, name: [500.0]}
        found = sweep.rows(workload="dsocr-standard-v1", hardware="h100-sxm", num_pages=1, **swept)
        assert shown == pytest.approx(found["time_ms"][0], rel=1e-9), name
        times.add(shown)
    assert len(times) == 2


def test_without_scripts_the_page_says_where_the_numbers_are(chrome: Browser, address: str) -> None:
    page = chrome.new_context(java_script_enabled=False).new_page()
    page.goto(address + "dsocr/planner/")
    assert page.get_by_text("This page needs scripts").is_visible()
    assert not any(part.is_visible() for part in page.locator("[data-planner-on]").all())


@pytest.mark.parametrize(
    "typed",
    [{"batch_size": 20_000}, {"tiles_w": 120, "tiles_h": 3}, {"max_new_tokens": 2_000_000}],
    ids=["batch", "tiles", "tokens"],
)
def test_every_allowed_value_has_figures(
    chrome: Browser, address: str, config: ModelConfig, typed: dict[str, int]
) -> None:
    """The page allows what a workload file allows, and its figures are Python's."""
    page = planner(Visitor(chrome, address))
    if "tiles_w" in typed:
        page.check("[name=crop_mode]")
        for name in ("page_w", "page_h"):
            page.fill(f"[name={name}]", "")
    for name, value in typed.items():
        page.fill(f"[name={name}]", str(value))
    shown = page.evaluate("document.querySelector('form.dsocr-planner').result")
    fields = load_workload("dsocr-standard-v1").model_dump() | {"seq_len": None}
    grid = (typed.get("tiles_w", 1), typed.get("tiles_h", 2))
    fields |= {"page_size": None, "crop_grid": grid, "text_tokens": 19, "num_pages": None}
    fields |= {k: v for k, v in typed.items() if k in fields}
    planned = Workload.model_validate(consistent(fields))
    analysis = Analysis(config, planned, load_hardware("rtx-5090"))
    assert shown["seq_len"] == analysis.plan.seq_len
    assert shown["footprint_bytes"] == analysis.footprint_bytes
    assert shown["time_ms"] == pytest.approx(analysis.predicted_ms, rel=1e-9)
    assert shows_whether_it_fits(page, analysis)


LARGE = """profile_id: large
base_size: 1024
image_size: 640
crop_mode: true
crop_grid: [120, 3]
max_tiles: 360
text_tokens: 1900000
max_new_tokens: 100000
batch_size: 20000
"""


@pytest.fixture(scope="module")
def large(build_site: BuildSite) -> Iterator[str]:
    """The address of a site whose workload is larger than any page's form once allowed."""
    options = "{device: meta, model: tiny/, workloads: [large.yaml], hardware: [h100-sxm]}"
    yml = f"site_name: s\ntheme: {{name: material, font: false}}\nplugins:\n  - dsocr: {options}\n"
    built = build_site(yml, {"large.yaml": LARGE})
    assert built.returncode == 0, built.output
    with served(built.site) as url:
        yield url


def test_a_large_workload_has_pythons_figures(chrome: Browser, large: str, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/config.json").write_text(TINY_CONFIG)
    (tmp_path / "large.yaml").write_text(LARGE)
    config = load_model_config(f"{tmp_path}/tiny/")
    analysis = Analysis(
        config, load_workload(str(tmp_path / "large.yaml")), load_hardware("h100-sxm")
    )
    visitor = Visitor(chrome, large)
    page = planner(visitor)
    found = page.evaluate("document.querySelector('form.dsocr-planner').result")
    for name, of in LATENCY.items():
        assert found[name] == pytest.approx(getattr(analysis.latency, of), rel=1e-9), name
    assert found["seq_len"] == analysis.plan.seq_len
    assert found["image_tokens"] == analysis.plan.image_tokens
    assert found["footprint_bytes"] == pytest.approx(analysis.footprint_bytes, rel=1e-12)
    assert page.locator("[data-planner=seq_len]").inner_text() == f"{analysis.plan.seq_len:,}"
    assert shows_whether_it_fits(page, analysis)
    assert page.locator("[data-planner=stages] tr").count() == 4
    # FLOPs of 20,000 such pages are above 2^53.
    assert "≈" in page.locator("[data-planner=stages]").inner_text()
    assert page.locator("[data-planner=inexact]").is_visible()
    assert not visitor.errors


BOOK = """profile_id: book
image_size: 512
crop_mode: false
text_tokens: 10
max_new_tokens: 20
pages_per_prompt: 100
"""


@pytest.mark.slow
def test_a_book_is_built_and_its_batches_may_have_over_a_million_pages(
    chrome: Browser, build_site: BuildSite, tmp_path: Path
) -> None:
    options = "{device: meta, model: tiny/, workloads: [book.yaml], hardware: [h100-sxm]}"
    yml = f"site_name: s\ntheme: {{name: material, font: false}}\nplugins:\n  - dsocr: {options}\n"
    built = build_site(yml, {"book.yaml": BOOK, "tiny/config.json": TINY_UNLIMITED})
    assert built.returncode == 0, built.output
    with served(built.site) as url:
        visitor = Visitor(chrome, url)
        page = planner(visitor)
        page.fill("[name=batch_size]", "20000")
        found = page.evaluate("document.querySelector('form.dsocr-planner').result")
        (tmp_path / "book.yaml").write_text(page.locator("[data-planner=yaml]").inner_text())
    book = load_workload(str(tmp_path / "book.yaml"))
    assert book.pages == 2_000_000
    config = load_model_config(f"{built.folder}/tiny/")
    analysis = Analysis(config, book, load_hardware("h100-sxm"))
    assert found["footprint_bytes"] == pytest.approx(analysis.footprint_bytes, rel=1e-12)
    assert found["time_ms"] == pytest.approx(analysis.predicted_ms, rel=1e-9)
    assert found["pages_per_s"] == pytest.approx(analysis.latency.pages_per_s, rel=1e-9)
    assert not visitor.errors


REFUSED = [
    ("batch_size", "1000001", "Found 1,000,001; allowed: a whole number from 1 to 1,000,000."),
    ("batch_size", "", "Found nothing; allowed: a whole number from 1 to 1,000,000."),
    ("base_size", "650", "Found 650; allowed: a multiple of 64 from 64 to 8,192."),
    ("text_tokens", "1.5", "Found 1.5; allowed: a whole number from 0 to 10,000,000."),
    ("memory_gb", "0", "Found 0; allowed: a number above 0.000001, at most 1,000,000,000."),
    ("tiles_h", "9000", "Found 18,000 views; allowed: at most 10,000."),
    ("max_new_tokens", "9999999", "image and new tokens included; allowed: at most 10,000,000."),
]


def test_a_value_outside_its_limits_is_said(chrome: Browser, address: str) -> None:
    visitor = Visitor(chrome, address)
    page = planner(visitor)
    facts, refusal = page.locator("[data-planner=ttft_ms]"), page.locator("[data-planner=message]")
    before = facts.inner_text()
    for name, value, message in REFUSED:
        page.check("[name=crop_mode]")
        page.fill("[name=tiles_w]", "2")
        page.fill("[name=tiles_h]", "1")
        page.fill(f"[name={name}]", value)
        note = page.locator(f"#dsocr-fault-{name}")
        assert message in note.inner_text()
        described = page.get_attribute(f"[name={name}]", "aria-describedby")
        assert described == f"dsocr-fault-{name}"
        assert refusal.inner_text().startswith("Not computed: ")
        assert facts.inner_text() == "–"
        assert page.locator("[data-planner=results]").is_hidden()
        assert page.evaluate("document.querySelector('form.dsocr-planner').result") is None
        page.get_by_role("button", name="Back to").click()
        refusal.wait_for(state="hidden")
        assert note.is_hidden()
        assert facts.inner_text() == before
        assert page.locator("[data-planner=stages]").is_visible()
    assert not visitor.errors


def test_the_forms_limits_are_the_workloads(chrome: Browser, address: str) -> None:
    page = planner(Visitor(chrome, address))
    fields = page.evaluate(
        """() => [...document.querySelectorAll("form.dsocr-planner [data-allowed]")]
          .map(({ name, min, max, step, dataset }) => [name, min, max, step, dataset.allowed])"""
    )
    assert {name for name, *_ in fields} >= {*NUMBERS} - {"num_pages", "pages_per_prompt"}
    for name, *attributes in fields:
        limit = LIMITS.get(name, RATE)
        expected = (limit.least, limit.most, limit.multiple or "any", limit)
        assert attributes == [str(value) for value in expected], name
    for name in page.evaluate(
        "[...document.querySelectorAll('[data-workload]')].map((x) => x.name)"
    ):
        offered = page.locator(f"select[name={name}] option").all_inner_texts()
        assert tuple(offered) == CHOICES_OF[name]


@pytest.mark.parametrize("chosen", [{"activation_dtype": "int4"}, {"gpu": "t4"}])
def test_without_times_no_time_is_shown(
    chrome: Browser, address: str, chosen: dict[str, str]
) -> None:
    page = planner(Visitor(chrome, address))
    for name, value in chosen.items():
        offered = page.locator(f"[name={name}] option").evaluate_all("all => all.map(o => o.value)")
        if value not in offered:
            pytest.skip(f"the form offers no {value}")
        page.select_option(f"[name={name}]", value)
    if page.evaluate(
        "Number.isFinite(document.querySelector('form.dsocr-planner').result.time_ms)"
    ):
        pytest.skip("the GPU supports the format")
    assert "No times" in page.locator("[data-planner=message]").inner_text()
    words = page.locator("form.dsocr-planner").inner_text()
    assert "NaN" not in words
    for name in ("ttft_ms", "middle_time_ms", "pages_per_day", "time_ms"):
        assert page.locator(f"[data-planner={name}]").inner_text() == "–"
        assert page.locator(f"[data-planner={name}_change]").inner_text() == ""
    assert page.locator("[data-planner=time_strip]").is_hidden()
    assert page.locator("[data-planner=modules]").is_hidden()
    assert page.locator("[data-planner=footprint_bytes]").inner_text() != "–"


def test_a_batch_that_does_not_fit_has_no_rate(chrome: Browser, address: str) -> None:
    page = planner(Visitor(chrome, address))
    page.fill("[name=batch_size]", "4000")
    message = page.locator("[data-planner=message]")
    assert message.inner_text().startswith("Does not fit")
    assert "that CUDA reserves" in message.inner_text()
    assert message.inner_text().endswith("Times are those of the same GPU with enough memory.")
    assert "dsocr-bad" in (message.get_attribute("class") or "")
    for name in ("pages_per_day", "pages_per_s", "tokens_per_s"):
        assert page.locator(f"[data-planner={name}]").inner_text() == "–"
    assert page.locator("[data-planner=largest_batch]").inner_text() != "–"


def test_the_memory_bar_is_of_one_stage(chrome: Browser, address: str, config: ModelConfig) -> None:
    page = planner(Visitor(chrome, address))
    analysis = Analysis(config, load_workload("dsocr-standard-v1"), load_hardware("rtx-5090"))
    found = page.evaluate("document.querySelector('form.dsocr-planner').result")
    for stage, memory in analysis.stage_memory.items():
        parts = (memory.total, memory.kvcache, memory.waiting, memory.activations)
        names = ("footprint", "kvcache", "waiting", "activation")
        assert [found[f"{stage}_{name}_bytes"] for name in names] == list(map(int, parts)), stage
    widths = page.locator("[data-planner=memory_strip] rect").evaluate_all(
        "all => all.map((rect) => Number(rect.getAttribute('width')))"
    )
    assert sum(widths) == pytest.approx(100)
    largest = max(analysis.stage_memory, key=lambda s: analysis.stage_memory[s].total)
    assert largest in page.locator("[data-planner=memory_note]").inner_text()


@pytest.mark.parametrize(
    ("pages", "ttft", "tpot"),
    [(10**6, None, None), (33_000_000, None, None), (10**7, 200.0, 12.0), (5000, 20.0, None)],
)
def test_fleets_are_pythons(
    chrome: Browser, address: str, pages: int, ttft: float | None, tpot: float | None
) -> None:
    """The page has the fleets of ``dsocr plan``."""
    page = Visitor(chrome, address).open("dsocr/planner/", until="networkidle")
    page.wait_for_function("document.querySelector('form.dsocr-fleets').result")
    found = page.evaluate(
        """values => {
          const form = document.querySelector("form.dsocr-fleets");
          for (const name in values) form.elements[name].value = values[name] ?? "";
          form.dispatchEvent(new Event("input"));
          return form.result;
        }""",
        {"pages_per_day": pages, "ttft_ms": ttft, "tpot_ms": tpot},
    )
    gpus = [load_hardware(name) for name in shipped("hardware")]
    engines = Engines(load_model_config(DEFAULT), load_workload(MODELS[DEFAULT]), gpus)
    expected = {f.hardware_id: f for f in engines.fleets(Target(pages, ttft, tpot))}
    assert {row["id"] for row in found} == set(expected)
    prices = [row["usd_per_hour"] for row in found if row["gpus"]]
    assert prices == sorted(prices)
    for row in found:
        fleet = expected[row["id"]]
        assert row["gpus"] == fleet.gpus, row["id"]
        assert row["binds"] == fleet.binds, row["id"]
        if fleet.gpus is not None:
            assert row["most_gpus"] == fleet.most_gpus
            assert row["concurrency"] == pytest.approx(fleet.concurrency, abs=1)
            assert row["ttft_ms"] == pytest.approx(fleet.ttft_ms, rel=1e-4)
            assert row["kwh"] == pytest.approx(fleet.kwh_per_1000_pages, rel=1e-4)


def test_two_scenarios_stand_side_by_side(chrome: Browser, address: str) -> None:
    visitor = Visitor(chrome, address)
    page = planner(visitor)
    assert page.locator("[data-planner=pair]").is_hidden()
    page.fill("[name=batch_size]", "8")
    first = page.locator("[data-planner=ttft_ms]").inner_text()
    page.get_by_role("button", name="Keep for comparison").click()
    page.fill("[name=batch_size]", "16")
    page.select_option("[name=gpu]", "h100-sxm")
    now = page.locator("[data-planner=ttft_ms]").inner_text()
    assert first != now
    lines = page.locator("[data-planner=pair_rows] tr").all()
    rows = {
        cells[0]: cells[1:] for cells in (line.locator("td").all_inner_texts() for line in lines)
    }
    assert rows["Pages in the batch"][:2] == ["8", "16"]
    assert rows["Profile"][1] == "NVIDIA H100 SXM5 80 GB"
    assert rows["Time to first token"][:2] == [first, now]
    assert "New tokens per page" not in rows
    assert rows["Time to first token"][2].startswith(("+", "−", "×"))
    page.get_by_role("button", name="Back to").click()
    page.locator("[data-planner=pair]").wait_for(state="hidden")
    assert "the kept scenario" not in page.locator("form.dsocr-planner").inner_text()
    assert visitor.errors == []
