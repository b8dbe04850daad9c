"""Engines: steps, memory, the steady state against a simulation, and how many GPUs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.engines import fits, published_rows, shapes, steps_on
from mkdocs_dsocr.cli import main
from mkdocs_dsocr.cost.rates import ms_per
from mkdocs_dsocr.inputs import (
    InputError,
    Serving,
    Workload,
    load_hardware,
    load_workload,
    shipped,
)
from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.resources import data_dir
from mkdocs_dsocr.serving import EngineMemory, EngineSteps, engine_memory, steady_state
from mkdocs_dsocr.serving.chips import required
from mkdocs_dsocr.serving.planning import (
    FORMAT,
    MEMORY,
    PREPARING,
    Engines,
    Target,
    rate_error,
)
from mkdocs_dsocr.serving.simulation import Engine
from mkdocs_dsocr.serving.steps import engine_workload, rates_of

MODEL = "deepseek-ocr-v1-base"
GPUS = [name for name in shipped("hardware") if load_hardware(name).tensor_bf16 is not None]


def steps_of(
    workload: str = "dsocr-a4-gundam", hardware: str = "h100-sxm", model: str = MODEL, **keys: Any
) -> EngineSteps:
    """Return the steps of an engine; keys are those of ``serving``, or of the workload."""
    config, page = load_model_config(model), load_workload(workload)
    serving = {name: keys.pop(name) for name in list(keys) if name in Serving.model_fields}
    page = page.model_copy(update={**keys, "serving": Serving(**serving)})
    per = rates_of([load_hardware(hardware)])
    return EngineSteps(config, engine_workload(config, page), per)


@pytest.mark.parametrize("model", [MODEL, "unlimited-ocr"])
@pytest.mark.parametrize("batch", [1, 8, 200])
def test_a_step_takes_what_its_kernels_take(model: str, batch: int) -> None:
    """There is one time model: a decode step is that of the report, and sampling."""
    steps = steps_of(model=model, step_us=0, sequence_us=0)
    shape = dataclasses.replace(steps.plan.step(100), batch=batch)
    report = steps.cost.pass_cost(shape).on(ms_per(load_hardware("h100-sxm"))).device_ms
    sampling = batch * steps.config.language.vocab_size * 4 * steps.per.memory_ms
    sampling = (sampling + steps.per.reduction_ms).item()
    none = np.zeros(1)
    found = steps.step_ms(np.array([batch]), np.array([shape.kv_len]), none, none).item()
    assert found - sampling == pytest.approx(report, rel=2e-3)


def test_steps_agree_with_measured_ones() -> None:
    """A decode step with an engine's kernels, in a CUDA graph, was measured on two GPUs."""
    errors = [row.error for gpu in ("h100-sxm", "h200-sxm") for row in steps_on(gpu)]
    assert len(errors) == 24
    assert sum(map(abs, errors)) / len(errors) <= 0.2


def test_published_figures_of_engines() -> None:
    errors = {row.figure[:3]: row.error for row in published_rows()}
    assert list(errors) == ["p06", "p07", "p14", "p15"]
    assert sum(map(abs, errors.values())) / len(errors) <= 0.2
    assert max(map(abs, errors.values())) <= 0.25


def test_the_rate_by_output_length_has_the_published_shape() -> None:
    """DeepSeek-OCR's cache grows, Unlimited-OCR's window does not."""
    for shape in shapes():
        measured, predicted = (shape.changes(rates) for rates in (shape.measured, shape.predicted))
        assert predicted == pytest.approx(measured, abs=0.1)


def drawn(number: int, seed: int) -> Iterator[tuple[EngineSteps, int]]:
    """Yield engines of random settings, and a concurrency of each."""
    random = np.random.default_rng(seed)
    for _ in range(number):
        tokens = int(random.choice([1024, 2048, 8192, 16384]))
        most = min(512, tokens // 4)
        steps = steps_of(
            hardware=str(random.choice(GPUS)),
            model=str(random.choice([MODEL, "unlimited-ocr"])),
            max_new_tokens=int(random.integers(1, 3000)),
            text_tokens=int(random.choice([1, 10, 2000])),
            max_num_batched_tokens=tokens,
            max_num_seqs=most,
            draft_tokens=int(random.choice([0, 0, 0, 2])),
            acceptance_rate=float(random.choice([0.0, 0.7])),
            overlap_scheduling=bool(random.random() < 0.8),
            step_us=float(random.choice([0, 1000, 5000])),
            vision_graphs=bool(random.random() < 0.5),
        )
        yield steps, int(np.exp(random.uniform(0, np.log(most))))


def check_closed_form(number: int, seed: int) -> None:
    """Rates within 5 %; times to the first token within 25 %, and within 3 % on average."""
    errors = []
    for steps, concurrency in drawn(number, seed):
        closed = steady_state(steps, np.array([concurrency]))
        counted = Engine(steps, concurrency, seed).closed(max(12 * concurrency, 200))
        found = closed.engine_pages_per_s.item()
        assert found == pytest.approx(counted.pages_per_s, rel=0.05), (steps.plan.workload, found)
        first = closed.ttft_ms.item() - steps.serving.preprocessing_ms
        settled = counted.ttft_ms[len(counted.ttft_ms) // 2 :].mean()
        assert first == pytest.approx(settled, rel=0.25), (steps.plan.workload, concurrency)
        errors.append(abs(first / settled - 1))
    assert sum(errors) / len(errors) <= 0.03


def test_the_closed_form_agrees_with_the_simulation() -> None:
    check_closed_form(8, seed=1)


@pytest.mark.slow
def test_the_closed_form_agrees_with_200_simulations() -> None:
    check_closed_form(200, seed=2)


def test_latencies_agree_with_the_simulation() -> None:
    """Means of both, where prompts rarely wait for each other."""
    steps = steps_of(max_new_tokens=800)
    closed = steady_state(steps, np.array([32]))
    counted = Engine(steps, 32).closed(300)
    assert closed.tpot_ms.item() == pytest.approx(counted.tpot_ms.mean(), rel=0.03)
    first = closed.ttft_ms.item() - steps.serving.preprocessing_ms
    assert first == pytest.approx(counted.ttft_ms.mean(), rel=0.1)
    assert counted.p99(counted.ttft_ms) > counted.ttft_ms.mean()


def test_requests_that_arrive_at_random_are_as_many_as_the_rate() -> None:
    steps = steps_of(max_new_tokens=300)
    most = steady_state(steps, np.array([64])).engine_pages_per_s.item()
    counted = Engine(steps, 64).open(most / 2, 1500)
    assert counted.pages_per_s == pytest.approx(most / 2, rel=0.1)
    assert counted.ttft_ms.min() > steps.serving.preprocessing_ms
    crowded = Engine(steps, 64).open(most * 0.95, 1500)
    assert crowded.p99(crowded.ttft_ms) > counted.p99(counted.ttft_ms)


def test_one_sequence_alone() -> None:
    """A page takes its prompt's step and its decode steps, and the rate is the reciprocal."""
    steps = steps_of(max_new_tokens=100)
    found = steady_state(steps, np.array([1]))
    ttft = found.ttft_ms.item() - steps.serving.preprocessing_ms
    whole = ttft + 99 * found.tpot_ms.item()
    assert 1000 / found.engine_pages_per_s.item() == pytest.approx(whole)


def test_preprocessing_binds_where_it_is_slowest() -> None:
    config, page = load_model_config(MODEL), load_workload("dsocr-a4-gundam")
    serving = Serving(preprocessing_ms=1000, preprocessing_workers=2)
    page = page.model_copy(update={"serving": serving})
    [fleet] = Engines(config, page, [load_hardware("h100-sxm")]).fleets(Target(86_400 * 7))
    assert fleet.binds == PREPARING
    assert fleet.pages_per_s == pytest.approx(2)
    assert fleet.gpus == 4
    assert fleet.workers == 7


def test_a_draft_layer_pays_where_its_tokens_are_accepted() -> None:
    plain, never, always = (
        steady_state(steps_of(draft_tokens=k, acceptance_rate=rate), np.array([1]))
        for k, rate in ((0, 0.0), (1, 0.0), (1, 1.0))
    )
    assert never.tpot_ms.item() > plain.tpot_ms.item()
    assert plain.tpot_ms.item() / 2 < always.tpot_ms.item() < 0.65 * plain.tpot_ms.item()


def test_blocks_of_a_published_cache() -> None:
    """vllm-ascend reports 831,872 tokens in 51,114,070,016 bytes; its blocks have 128."""
    [memory] = engine_memory(steps_of(block_size=128), [load_hardware("h100-sxm")])
    assert memory.token_bytes == 61_440
    published = dataclasses.replace(memory, usable=51_114_070_016, weights=0, peak=0)
    assert published.tokens == 831_872


def test_published_weights() -> None:
    """6.2304 GiB after loading, of any GPU."""
    [memory] = engine_memory(steps_of(), [load_hardware("h100-sxm")])
    assert memory.weights / 2**30 == pytest.approx(6.2304, rel=0.01)


def test_a_gpu_of_8_gib_runs_one_sequence() -> None:
    assert fits(8 * 2**30, max_num_seqs=1) == 1
    assert fits(7 * 2**30, max_num_seqs=1) == 0


def test_sequences_take_whole_blocks() -> None:
    memory = EngineMemory(
        usable=1000, weights=100, peak=100, token_bytes=2, block_size=16, sequence_tokens=17,
        max_num_seqs=100,
    )  # fmt: skip
    assert (memory.cache, memory.blocks, memory.tokens) == (800, 25, 400)
    assert memory.sequence_blocks == 2
    assert memory.largest == memory.fitting == 12
    assert memory.is_limit
    assert not dataclasses.replace(memory, max_num_seqs=12).is_limit


def test_the_largest_concurrency_of_an_rtx_5090() -> None:
    """Logits of every prompt position left room for 58 sequences; an engine needs the last."""
    [memory] = engine_memory(
        steps_of("dsocr-standard-v1", max_num_seqs=1024), [load_hardware("rtx-5090")]
    )
    assert memory.largest > 250
    assert memory.cache < 0.9 * 34e9 - memory.weights


def test_fleets_of_every_gpu() -> None:
    config, page = load_model_config(MODEL), load_workload("dsocr-a4-gundam")
    gpus = [load_hardware(name) for name in shipped("hardware")]
    engines = Engines(config, page, gpus)
    rows = engines.fleets(Target(10**6))
    assert {row.hardware_id for row in rows} == {*shipped("hardware")}
    by_id = {row.hardware_id: row for row in rows}
    assert by_id["t4"].binds == FORMAT
    for row in rows:
        if row.gpus is not None:
            assert row.gpus * row.pages_per_s >= 10**6 / 86_400 > (row.gpus - 1) * row.pages_per_s
            slow = row.pages_per_s * (1 - rate_error(load_hardware(row.hardware_id)))
            assert row.most_gpus == math.ceil(10**6 / 86_400 / slow)
            assert row.number.partition("–")[0] == f"{row.gpus:,}"
            assert 1 <= row.concurrency <= row.best_concurrency <= row.largest_concurrency
            assert 0 < row.kv_share <= 1
    prices = [row.usd_per_hour for row in rows if row.usd_per_hour is not None]
    assert prices == sorted(prices)
    ten = {row.hardware_id: row for row in engines.fleets(Target(10**7))}
    assert ten["l4"].gpus == pytest.approx(10 * (by_id["l4"].gpus or 0), rel=0.2)


def test_targets_of_latency_cost_gpus_or_cannot_be_met() -> None:
    config, page = load_model_config(MODEL), load_workload("dsocr-a4-gundam")
    engines = Engines(config, page, [load_hardware("a10")])
    [free] = engines.fleets(Target(10**7))
    [bound] = engines.fleets(Target(10**7, tpot_ms=20))
    assert free.gpus is not None
    assert bound.gpus is not None
    assert bound.gpus > free.gpus
    assert bound.tpot_ms is not None
    assert bound.tpot_ms <= 20
    assert bound.binds == "TPOT target"
    [never] = engines.fleets(Target(10**7, ttft_ms=50))
    assert never.gpus is None
    assert never.binds == "TTFT target"
    small = load_hardware("a10").model_copy(update={"memory_bytes": 6 * 10**9})
    [none] = Engines(config, page, [small]).fleets(Target(1))
    assert (none.gpus, none.binds) == (None, MEMORY)


def test_text_needs_no_preprocessing_and_no_pages_over_the_network() -> None:
    serving = Serving(preprocessing_ms=10_000)
    fields: dict[str, Any] = {"text_tokens": 1000, "max_new_tokens": 200, "engine": "vllm"}
    page = Workload(profile_id="text", text_only=True, serving=serving, **fields)
    [fleet] = Engines(load_model_config(MODEL), page, [load_hardware("l4")]).fleets(Target(10**6))
    assert fleet.gpus
    assert (fleet.workers, fleet.gbit_per_s) == (0, 0)


def test_what_a_chip_needs_is_what_reaches_the_target() -> None:
    """A chip of the required rates reaches it; the reference needs a factor below 1 if it does."""
    config, page = load_model_config(MODEL), load_workload("dsocr-a4-gundam")
    chip, target = load_hardware("h100-sxm"), Target(10**6, tpot_ms=20)
    [fleet] = Engines(config, page, [chip]).fleets(target)
    assert fleet.gpus == 1
    rows = {row.concurrency: row for row in required(config, page, chip, target)}
    row = rows[64]
    assert row.bandwidth_gb_s is not None
    assert row.bandwidth_gb_s <= chip.bandwidth_gb_s
    assert rows[1].bandwidth_gb_s is None  # minimum times of kernels alone take too long
    halves = {row.concurrency: row for row in required(config, page, chip, target, gpus=2)}
    assert (halves[64].bandwidth_gb_s or math.inf) < row.bandwidth_gb_s
    assert rows[256].memory_bytes > row.memory_bytes > 6.7e9


def test_a_chip_for_pages_of_one_token_is_found() -> None:
    """Nothing is decoded, and so no time per output token is too long."""
    config, page = load_model_config(MODEL), load_workload("dsocr-a4-gundam")
    page = page.model_copy(update={"max_new_tokens": 1})
    rows = required(config, page, load_hardware("h100-sxm"), Target(10**5, tpot_ms=20))
    assert rows[-1].bandwidth_gb_s is not None


def test_an_engine_cuts_at_most_six_tiles(tmp_path: Path) -> None:
    text = "profile_id: wide\nbase_size: 1024\nimage_size: 640\ncrop_mode: true\n"
    text += "page_size: [1000, 9000]\ntext_tokens: 10\nmax_new_tokens: 10\n"
    (tmp_path / "wide.yaml").write_text(text)
    config, page = load_model_config(MODEL), load_workload(str(tmp_path / "wide.yaml"))
    per = rates_of([load_hardware("h100-sxm")])
    steps = EngineSteps(config, engine_workload(config, page), per)
    assert math.prod(steps.plan.grid) <= 6
    (tmp_path / "own.yaml").write_text(text + "engine: vllm\n")
    assert load_workload(str(tmp_path / "own.yaml")).max_tiles == 6


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("serving: {block_size: 16}", "engine: vllm"),
        ("engine: vllm\nserving: {block_size: 0}", "serving.block_size"),
        ("engine: vllm\nserving: {blocks: 1}", "blocks"),
        ("engine: vllm\nserving: {max_num_seqs: 300, max_num_batched_tokens: 256}", "at least 300"),
        ("engine: vllm\nserving: {acceptance_rate: 1.5}", "acceptance_rate"),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, keys: str, message: str) -> None:
    text = "profile_id: x\nimage_size: 640\ncrop_mode: false\ntext_tokens: 5\nmax_new_tokens: 9\n"
    (tmp_path / "x.yaml").write_text(f"{text}{keys}\n")
    with pytest.raises(InputError, match=message):
        load_workload(str(tmp_path / "x.yaml"))


def test_the_command() -> None:
    arguments = ["plan", "--pages-per-day", "2e6", "--hardware", "h100-sxm", "--hardware", "t4"]
    result = CliRunner().invoke(main, [*arguments, "--json", "-q"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert [row["hardware_id"] for row in found["rows"]] == ["h100-sxm", "t4"]
    assert found["rows"][1]["ttft_ms"] is None
    assert found["serving"]["block_size"] == 16
    text = CliRunner().invoke(main, arguments).output
    assert "Cheapest (prices are examples):" in text
    assert FORMAT in text
    needs = CliRunner().invoke(main, [*arguments[:5], "--require", "--gpus", "2", "-q"])
    assert needs.exit_code == 0, needs.output
    assert "GB/s" in needs.output


def test_gpus_without_the_format_alone() -> None:
    """Where no GPU has it, each row says so."""
    plan = ["plan", "--pages-per-day", "1e6", "--json", "-q"]
    for gpus in (["--hardware", "t4"], ["--hardware", "t4", "--hardware", "v100-32gb-sxm"]):
        result = CliRunner().invoke(main, [*plan, *gpus])
        assert result.exit_code == 0, result.output
        assert {row["binds"] for row in json.loads(result.output)["rows"]} == {FORMAT}


def test_percentiles_are_above_the_means() -> None:
    arguments = ["plan", "--pages-per-day", "1e6", "--hardware", "h100-sxm", "--p99", "-q"]
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    [row], [simulated] = found["rows"], found["simulated"]
    assert simulated["hardware_id"] == "h100-sxm"
    assert simulated["ttft_p99_ms"] > row["ttft_ms"]
    assert simulated["tpot_p99_ms"] > 0.9 * row["tpot_ms"]
    assert "99 % below TTFT" in CliRunner().invoke(main, arguments).output


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--p99", "--require"], "--p99"),
        (["--gpus", "2"], "--gpus"),
        (["--require", "--hardware", "h100-sxm", "--hardware", "t4"], "--hardware"),
        (["--hardware", "h9"], "h9"),
        (["--hardware", "t4", "--hardware", "t4"], "--hardware: found t4, t4; allowed: each id"),
        (["--tpot-ms", "0"], "--tpot-ms"),
        (["--tpot-ms", "nan"], "'--tpot-ms': nan is not in the range"),
        (["--ttft-ms", "NaN"], "'--ttft-ms': NaN is not in the range"),
        (["--pages-per-day", "nan"], "'--pages-per-day': nan is not in the range"),
        (["--pages-per-day", "inf"], "'--pages-per-day': inf is not in the range"),
        (["--pages-per-day", "5e-324"], "'--pages-per-day': 5e-324 is not in the range"),
    ],
)
def test_mistakes_in_the_command(more: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["plan", "--pages-per-day", "10", *more])
    assert result.exit_code == 2
    assert message in result.output


def test_profiles_that_share_an_id(tmp_path: Path) -> None:
    """Two files with one id would get each other's name in the table."""
    text = (data_dir() / "hardware" / "h100-sxm.yaml").read_text(encoding="utf-8")
    options = []
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(text.replace("name: ", f"name: {name} "))
        options += ["--hardware", str(tmp_path / f"{name}.yaml")]
    result = CliRunner().invoke(main, ["plan", "--pages-per-day", "10", *options, "--p99"])
    assert result.exit_code == 2, result.output
    assert "--hardware: found h100-sxm, h100-sxm; allowed: each id once" in result.output
