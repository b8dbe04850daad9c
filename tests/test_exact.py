"""Formulas equal PyTorch's counts, as integers, for shapes of all kinds."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from mkdocs_dsocr import sweep
from mkdocs_dsocr.inputs import Hardware, ModelConfig, Workload, load_workload
from mkdocs_dsocr.layers import memory, metrics, tree
from mkdocs_dsocr.layers.builtin import Group
from mkdocs_dsocr.models import Load, load_model_config, model_of, pass_layer
from mkdocs_dsocr.patterns import expand
from mkdocs_dsocr.quantities import Quantity
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.trace import PassRecord, PassShape
from mkdocs_dsocr.tracing import StaticAnalyzer
from mkdocs_dsocr.verify.formulas import verify
from mkdocs_dsocr.verify.verdict import METRICS
from tests.conftest import TINY_CONFIG, TINY_UNLIMITED, WORKLOADS

DATA = Path(__file__).parent / "data"
slow_draws = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def own(
    config: ModelConfig,
    shape: PassShape,
    figure: Callable[[tree.NodeVisit], Quantity],
    load: Load | None = None,
) -> dict[str, int]:
    """Return a figure of one run of a pass by formula, by path pattern, without children."""
    group = pass_layer(config, shape, load=load)
    result: dict[str, int] = {}
    for visit in tree.walk(group, shape.pass_id):
        amount = figure(visit)
        assert amount == int(amount)  # type: ignore[arg-type]
        result[visit.torch_path] = result.get(visit.torch_path, 0) + int(amount)
    return result


def formula(config: ModelConfig, shape: PassShape) -> dict[str, int]:
    return own(config, shape, lambda v: v.summed(metrics.matmul_flops))


def inclusive(own: dict[str, int], pattern: str) -> int:
    """Return what a module and everything below it come to."""
    start = f"{pattern}." if pattern else ""
    return sum(v for p, v in own.items() if p == pattern or p.startswith(start))


def check(config: ModelConfig, analyzer: StaticAnalyzer, shape: PassShape) -> None:
    """Compare each module's figures, children included, with what was counted."""
    record = analyzer.count(shape)
    assert record.unknown_operators == ()
    load = model_of(config).traced_load(config, record.matmul_flops)
    figures: tuple[tuple[Callable[[tree.NodeVisit], Quantity], dict[str, int]], ...] = (
        (lambda v: v.summed(metrics.matmul_flops), record.matmul_flops),
        (lambda v: v.summed(metrics.elementwise_flops), record.elementwise_flops),
        (lambda v: v.summed(metrics.eager_bytes), record.eager_bytes),
        (lambda v: v.launched(), record.dispatches),
    )
    for figure, counted in figures:
        mine = own(config, shape, figure, load)
        called = [p for p in mine if any(path in counted for path in expand(p))]
        assert called
        for pattern in called:
            expected = sum(counted.get(path, 0) for path in expand(pattern))
            assert inclusive(mine, pattern) == expected, (shape, pattern)
        # Nothing was counted that no formula stands for.
        assert set(counted) <= {path for pattern in mine for path in expand(pattern)}
    check_peaks(pass_layer(config, shape, load=load), record)


def check_peaks(group: Group, record: PassRecord) -> None:
    """Compare the most activations at once in a call of each module, and where that is."""
    for visit in tree.walk(group):
        counted = [record.peaks[p] for p in expand(visit.torch_path) if p in record.peaks]
        if not counted or not visit.torch_path:
            continue
        highest, mine = max(counted, key=lambda p: p.bytes), memory.peak(visit.largest)
        where = (record.shape, visit.torch_path)
        assert mine.bytes == highest.bytes, where
        assert mine.operation is memory.dispatched(mine.operations)[highest.operator], where
        assert highest.path in expand(f"{visit.torch_path}.{mine.path}".removesuffix(".")), where


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_shipped_workloads(
    analyse: Callable[..., Analysis],
    analyzer: StaticAnalyzer,
    workload: str,
    batch: int,
) -> None:
    """Every node of every class: prefill, decode's first and last step, all views."""
    analysis = analyse(workload, batch_size=batch, num_pages=batch)
    verification = verify([analysis], analyzer.trace(analysis.plan.shapes))
    assert verification.failures == []
    assert verification.other == ()
    assert all(c.nodes for c in verification.classes)
    for metric in METRICS:
        assert sum(r.compared[metric].counted for r in verification.rows) > 0


def test_pages_encoded_at_once_are_verified(
    analyse: Callable[..., Analysis], analyzer: StaticAnalyzer
) -> None:
    """The weights of the towers are read once a batch, the FLOPs are the same."""
    size = {"batch_size": 2, "num_pages": 3, "max_new_tokens": 2}
    one = analyse("dsocr-snapshot-2x2", **size)
    batched = analyse("dsocr-snapshot-2x2", vision_batching="batched", **size)
    assert verify([batched], analyzer.trace(batched.plan.shapes)).failures == []
    for stage in ("vision", "projector"):
        a, b = one.report.stages[stage], batched.report.stages[stage]
        assert a.matmul_flops == b.matmul_flops
        assert a.io_bytes > b.io_bytes


def test_a_short_last_round_is_verified(
    analyse: Callable[..., Analysis], analyzer: StaticAnalyzer
) -> None:
    analysis = analyse("dsocr-tiny", batch_size=3, num_pages=7, logits_positions="last")
    assert [(r.calls, r.first.batch) for r in analysis.plan.runs if r.stage == "prefill"] == [
        (2, 3),
        (1, 1),
    ]
    assert verify([analysis], analyzer.trace(analysis.plan.shapes)).failures == []


@pytest.mark.parametrize(
    "shape",
    [
        PassShape("vision.local", "vision", image_size=896, tiles_w=2, tiles_h=1),
        PassShape("projector.local", "projector", image_size=640, tiles_w=2, tiles_h=3),
        PassShape(
            "prefill", "language", batch=2, q_len=300, kv_len=300, image_tokens=257, logits=300
        ),
        PassShape("decode", "language", batch=3, q_len=1, kv_len=900, logits=1, autocast=True),
    ],
    ids=lambda shape: f"{shape.part}-{shape.kv_len}",
)
def test_equal_calls_are_counted_once_and_come_to_the_same(
    config: ModelConfig, analyzer: StaticAnalyzer, shape: PassShape
) -> None:
    """A trace of every call, beside one that replays what it has counted before."""
    whole = StaticAnalyzer(config, replays=False).count(shape)
    assert analyzer.count(shape) == whole
    assert set(whole.peaks) == set(whole.dispatches)


@pytest.fixture(scope="module")
def shallow(config: ModelConfig) -> StaticAnalyzer:
    """The model at its full widths with three decoder layers: equal layers count alike."""
    language = config.language.model_copy(update={"num_hidden_layers": 3})
    return StaticAnalyzer(config.model_copy(update={"language": language}))


@slow_draws
@given(size=st.integers(8, 20).map(lambda n: 64 * n), views=st.integers(1, 6))
def test_any_view(config: ModelConfig, analyzer: StaticAnalyzer, size: int, views: int) -> None:
    """View sizes from 512 to 1280 px: padded windows and resized tables are met."""
    check(
        config,
        analyzer,
        PassShape("vision.local", "vision", image_size=size, tiles_w=views, tiles_h=1),
    )


@slow_draws
@given(
    size=st.integers(8, 20).map(lambda n: 64 * n),
    w=st.integers(1, 5),
    h=st.integers(1, 5),
    pages=st.integers(1, 4),
)
def test_any_grid_of_the_projector(
    config: ModelConfig, analyzer: StaticAnalyzer, size: int, w: int, h: int, pages: int
) -> None:
    shape = PassShape(
        "projector.local", "projector", image_size=size, tiles_w=w, tiles_h=h, pages=pages
    )
    check(config, analyzer, shape)


@slow_draws
@given(
    batch=st.integers(1, 5),
    q_len=st.integers(1, 900),
    past=st.integers(0, 900),
    last_only=st.booleans(),
)
def test_any_length_and_batch(
    shallow: StaticAnalyzer,
    batch: int,
    q_len: int,
    past: int,
    last_only: bool,
) -> None:
    """Prefill, decode and everything between: new tokens on top of a cache."""
    shape = PassShape(
        "prefill",
        "language",
        batch=batch,
        q_len=q_len,
        kv_len=q_len + past,
        logits=1 if last_only else q_len,
    )
    check(shallow.session.config, shallow, shape)


@slow_draws
@given(data=st.data())
def test_any_model_of_the_architecture(
    tmp_path_factory: pytest.TempPathFactory, gpu: Hardware, data: st.DataObject
) -> None:
    """Other widths, depths, heads and expert counts, all passes of a small workload."""
    draw = data.draw
    raw = json.loads(load_model_config("deepseek-ocr-v1-base").path.read_text())
    heads = draw(st.sampled_from([2, 4]))
    kv_heads = draw(st.sampled_from([h for h in (1, 2, 4) if heads % h == 0]))
    experts = draw(st.integers(2, 9))
    layers = draw(st.integers(1, 4))
    language = {
        "hidden_size": heads * draw(st.sampled_from([8, 16])),
        "intermediate_size": draw(st.integers(8, 70)),
        "moe_intermediate_size": draw(st.integers(8, 40)),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "n_routed_experts": experts,
        "n_shared_experts": draw(st.integers(1, 3)),
        "num_experts_per_tok": draw(st.integers(1, experts)),
        "first_k_dense_replace": draw(st.integers(0, layers)),
        "vocab_size": draw(st.integers(50, 300)),
    }
    raw |= language
    raw["language_config"] |= language
    clip = raw["vision_config"]["width"]["clip-l-14-224"]
    sam = raw["vision_config"]["width"]["sam_vit_b"]
    clip |= {"width": 32, "heads": 4, "layers": draw(st.integers(1, 3))}
    sam |= {"width": 24, "heads": 3, "layers": draw(st.integers(1, 4))}
    sam["global_attn_indexes"] = [i for i in (1, 2) if i < sam["layers"]]
    sam["downsample_channels"] = [16, 32]
    raw["projector_config"] |= {"input_dim": 64, "n_embed": language["hidden_size"]}
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text(json.dumps(raw))
    workload = Workload(
        profile_id="w",
        base_size=draw(st.sampled_from([256, 896])),
        image_size=320,
        crop_mode=True,
        crop_grid=(draw(st.integers(1, 3)), draw(st.integers(1, 2))),
        text_tokens=draw(st.integers(0, 9)),
        max_new_tokens=draw(st.integers(1, 6)),
        batch_size=draw(st.integers(1, 3)),
    )
    analysis = Analysis(load_model_config(str(folder) + "/"), workload, gpu)
    trace = StaticAnalyzer(analysis.config).trace(analysis.plan.shapes)
    assert verify([analysis], trace).failures == []


@pytest.mark.parametrize("config_text", [TINY_CONFIG, TINY_UNLIMITED], ids=["own", "unlimited"])
def test_a_request_without_an_image_is_exact(
    tmp_path: Path, gpu: Hardware, config_text: str
) -> None:
    (tmp_path / "config.json").write_text(config_text)
    fields = {"profile_id": "t", "text_only": True, "text_tokens": 40, "max_new_tokens": 6}
    workload = Workload.model_validate({**fields, "batch_size": 2, "num_pages": 3})
    analysis = Analysis(load_model_config(f"{tmp_path}/"), workload, gpu)
    trace = StaticAnalyzer(analysis.config).trace(analysis.plan.shapes)
    assert verify([analysis], trace).failures == []
    assert analysis.report.stages["vision"].dispatches == 0
    page = Analysis(analysis.config, load_workload("dsocr-tiny"), gpu)
    assert analysis.root.total.num_parameters == page.root.total.num_parameters
    found = sweep.rows(
        f"{tmp_path}/", text_only=True, text_tokens=40, max_new_tokens=6, batch_size=2, num_pages=3
    )
    assert found["footprint_bytes"][0] == analysis.footprint_bytes
    assert found["io_bytes"][0] == analysis.root.total.io_bytes
    assert found["weight_bytes"][0] == page.root.total.figures()["weight_bytes"]


def test_the_sum_over_all_steps_equals_every_step_traced(
    analyse: Callable[..., Analysis], analyzer: StaticAnalyzer
) -> None:
    """Decode's closed form against a count of each single step."""
    analysis = analyse("dsocr-tiny", max_new_tokens=8, batch_size=2, num_pages=2)
    run = next(r for r in analysis.plan.runs if r.stage == "decode")
    assert run.steps == 7
    counted = 0
    for kv_len in range(run.first.kv_len, run.last.kv_len + 1):
        shape = PassShape("decode", "language", batch=2, q_len=1, kv_len=kv_len, logits=1)
        counted += analyzer.count(shape).matmul_flops[""]
    assert analysis.nodes["decode"].total.matmul_flops == counted


def test_the_vendors_own_counts(config: ModelConfig) -> None:
    """FLOPs that PyTorch counted on the vendor's code for one page of 703 tokens."""
    views = {
        "(1 global view, 1024 px)": ("vision.global", 1024, 1, 1),
        "(4 local views, 640 px)": ("vision.local", 640, 2, 2),
    }
    flops = {}
    for text, (pass_id, size, w, h) in views.items():
        shape = PassShape(pass_id, "vision", image_size=size, tiles_w=w, tiles_h=h)
        flops[f"model.sam_model {text}"] = _inclusive(config, shape, "model.sam_model")
        short = text.replace(", 1024 px", "").replace(", 640 px", "")
        flops[f"model.vision_model {short}"] = _inclusive(config, shape, "model.vision_model")
        shape = PassShape("projector", "projector", image_size=size, tiles_w=w, tiles_h=h)
        flops[f"model.projector {short}"] = _inclusive(config, shape, "model.projector")
    prefill = PassShape("prefill", "language", batch=1, q_len=703, kv_len=703, logits=703)
    step = PassShape("decode", "language", batch=1, q_len=1, kv_len=704, logits=1)
    for text, shape, layers in (("{}", prefill, 11), ("{}, one step at context 704", step, 11)):
        sparse = _inclusive(config, shape, "model.layers.[1-11]")
        flops[text.format("model.layers.0")] = _inclusive(config, shape, "model.layers.0")
        flops[text.format("model.layers.1")] = sparse // layers
        flops[text.format("model.layers (all 12)")] = _inclusive(config, shape, "model.layers")
    flops["model.layers.1 (each of 1-11)"] = flops["model.layers.1"]
    flops["model.layers.0.self_attn"] = _inclusive(config, prefill, "model.layers.0.self_attn")
    flops["all MoEGate"] = _inclusive(config, prefill, "model.layers.[1-11].mlp.gate")
    flops["all LlamaRotaryEmbedding"] = sum(
        v for k, v in formula(config, prefill).items() if k.endswith("rotary_emb")
    )
    with (DATA / "flops-2x2-703.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert flops[row["module"]] == int(row["matmul_conv_flops"]), row["module"]
    assert len(rows) == 15


def _inclusive(config: ModelConfig, shape: PassShape, pattern: str) -> int:
    return inclusive(formula(config, shape), pattern)


def test_closed_forms_of_the_decoder(config: ModelConfig) -> None:
    """The published closed forms, without RoPE and LM head."""
    for batch, seq_len in ((1, 703), (3, 512), (2, 77)):
        prefill = PassShape("prefill", "language", batch=batch, q_len=seq_len, kv_len=seq_len)
        flops = formula(config, prefill)
        layers = sum(v for p, v in flops.items() if "rotary" not in p and p != "lm_head")
        assert layers == 61440 * batch * seq_len**2 + 817233920 * batch * seq_len
        head = PassShape("decode", "language", batch=batch, q_len=1, kv_len=seq_len, logits=1)
        flops = formula(config, head)
        layers = sum(v for p, v in flops.items() if "rotary" not in p and p != "lm_head")
        assert layers == 817233920 * batch + 61440 * batch * seq_len
        assert flops["lm_head"] == 330956800 * batch


def test_the_module_tree_of_the_checkpoint(analyzer: StaticAnalyzer) -> None:
    """All 4,083 modules: path, class, parameter names and shapes."""
    modules = {m.path: m for m in analyzer.modules()}
    with (DATA / "module-tree.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(modules) == 4083
    for row in rows:
        module = modules[row["path"]]
        expected = row["class"].replace("LlamaAttention", "LlamaFlashAttention2")
        assert module.class_name == expected
        shapes = {n: "x".join(map(str, s)) for n, s in module.parameters.items()}
        assert shapes == dict(p.split(":") for p in row["own_parameters"].split())
    model = analyzer.session.model
    assert sum(p.numel() for p in model.parameters()) == 3_336_106_240
    assert sum(p.numel() for p in model.model.parameters()) == 3_170_627_840
    assert len(list(model.parameters())) == 2710
    assert len(model.state_dict()) == 2711
    classes = Counter(m.class_name for m in modules.values())
    assert len(set(classes) - {"DeepseekOCRForCausalLM"}) == 29


def test_an_independent_implementation(config: ModelConfig) -> None:
    """transformers' UnlimitedOcr, of the same sizes: parameters and vision FLOPs."""
    transformers = pytest.importorskip("transformers", minversion="5.20")
    with torch.device("meta"):
        other = transformers.UnlimitedOcrForConditionalGeneration(transformers.UnlimitedOcrConfig())
    dead_convolution = 1024 * 3 * 14 * 14
    parameters = sum(p.numel() for p in other.parameters())
    assert parameters == 3_336_106_240 - dead_convolution
    vision = other.model.vision_tower.eval()
    for size in (512, 640, 896, 1024, 1280):
        pixels = torch.zeros((2, 3, size, size), device="meta")
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            vision(pixels)
        shape = PassShape("vision.local", "vision", image_size=size, tiles_w=2, tiles_h=1)
        assert sum(formula(config, shape).values()) == counter.get_total_flops(), size


def test_a_real_forward_on_the_cpu_counts_the_same(tmp_path: Path, gpu: Hardware) -> None:
    """Real values and real routing: counts as by formula, finite logits, a cache that grows."""
    workload = Workload(
        profile_id="w",
        base_size=256,
        image_size=128,
        crop_mode=True,
        crop_grid=(2, 1),
        text_tokens=5,
        max_new_tokens=3,
        batch_size=3,
    )
    (tmp_path / "config.json").write_text(TINY_CONFIG)
    analysis = Analysis(load_model_config(f"{tmp_path}/"), workload, gpu)
    torch.manual_seed(0)
    analyzer = StaticAnalyzer(analysis.config, "cpu")
    verification = verify([analysis], analyzer.trace(analysis.plan.shapes))
    assert verification.unknown_operators == ()
    # A CPU keeps LayerNorm's two statistics of a row in bfloat16, a GPU in float32.
    statistics = {
        i: 4 * n.visit.modules * n.visit.calls * n.visit.layer.rows  # type: ignore[attr-defined]
        for i, n in analysis.nodes.items()
        if n.class_name == "LayerNorm"
    }
    assert statistics
    for row in verification.rows:
        differences = {m: pair.difference for m, pair in row.compared.items()}
        below = row.module_id if row.module_id in statistics else f"{row.module_id}."
        expected = sum(
            amount
            for i, amount in statistics.items()
            if row.module_id == "model" or i.startswith(below)
        )
        assert differences.pop("eager_bytes") == expected, row
        visit = analysis.nodes[row.module_id].visit
        of_one_call = 4 * visit.layer.rows if row.class_name == "LayerNorm" else 0  # type: ignore[attr-defined]
        assert differences.pop("peak_bytes") == of_one_call, row
        assert row.peak_at.agrees, row
        assert not any(differences.values()), row

    session = analyzer.session
    (ids,), inputs = session.page_inputs(analysis.plan)
    cache = inputs["cache"]
    with torch.inference_mode():
        logits = session.model(ids, **inputs)
        mask = torch.ones(1, analysis.plan.seq_len + 1, dtype=torch.int64)
        step = session.model(session.token_ids(1, 1), cache, mask=mask)
    assert logits.shape == (1, analysis.plan.seq_len, 100)
    assert step.shape == (1, 1, 100)
    assert torch.isfinite(logits).all()
    assert torch.isfinite(step).all()
    assert cache.nbytes == 3 * 2 * 2 * 32 * (analysis.plan.seq_len + 1)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_real_forward_on_cuda_counts_the_same(
    config: ModelConfig, analyse: Callable[..., Analysis]
) -> None:
    analysis = analyse("dsocr-tiny")
    trace = StaticAnalyzer(config, "cuda").trace(analysis.plan.shapes)
    assert verify([analysis], trace).failures == []
