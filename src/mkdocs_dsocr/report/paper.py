"""What the DeepSeek-OCR paper states, beside what the formulas give for the same things.

Figures: Wei et al. 2025, "DeepSeek-OCR: Contexts Optical Compression" (table of
modes, section on the decoder, abstract), and the README of the model's
repository for the output rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mkdocs_dsocr.inputs import Hardware, ModelConfig, Workload, load_hardware
from mkdocs_dsocr.inputs.measurement import fingerprint
from mkdocs_dsocr.layers import metrics, tree
from mkdocs_dsocr.layers.layer import Layer
from mkdocs_dsocr.models import load_model_config, pass_layer
from mkdocs_dsocr.models.tokens import features_a_side
from mkdocs_dsocr.quantities import Quantity, maximum, total
from mkdocs_dsocr.report.analysis import Analysis
from mkdocs_dsocr.trace import PassShape

MODES: Final[tuple[tuple[str, int, int, str], ...]] = (
    ("Tiny", 512, 0, "64"),
    ("Small", 640, 0, "100"),
    ("Base", 1024, 0, "256"),
    ("Large", 1280, 0, "400"),
    ("Gundam", 1024, 640, "n × 100 + 256"),
    ("Gundam-M", 1280, 1024, "n × 256 + 400"),
)
"""Name, side of the global view, side of a tile (0 without tiles), visual tokens as stated."""
PAPER_ARCHITECTURE: Final = "DeepseekOCRForCausalLM"
"""What the paper describes."""
GPU: Final = "a100-40gb-sxm"
PAGES_A_DAY: Final = 200_000
TOKENS_A_SECOND: Final = 2_500
ACTIVE_PARAMETERS: Final = 570_000_000
BATCH: Final = 256
"""Pages decoded together for the ceilings."""
NEW_TOKENS: Final = 1_000
"""Output tokens of a page for the ceilings."""


@dataclass(frozen=True)
class ModeRow:
    """Visual tokens of a mode: as stated, and features of its views."""

    name: str
    stated: str
    by_formula: str


@dataclass(frozen=True)
class CeilingRow:
    """A published rate, and the rate that no implementation exceeds."""

    what: str
    published: float
    ceiling: float

    @property
    def factor(self) -> float:
        return self.ceiling / self.published


@dataclass(frozen=True)
class PaperComparison:
    """Everything on the page."""

    modes: tuple[ModeRow, ...]
    stated_active_parameters: int
    active_parameters: int
    parameters: int
    gpu: Hardware
    workload: Workload
    ceilings: tuple[CeilingRow, ...]


def is_the_papers_model(config: ModelConfig) -> bool:
    """Tell whether a config has the sizes of the published model."""
    return fingerprint(config) == fingerprint(load_model_config("deepseek-ocr-v1-base"))


def compare_with_paper(config: ModelConfig) -> PaperComparison:
    """Return the paper's figures beside the formulas' for the published model."""
    gpu = load_hardware(GPU)
    workload = Workload(
        profile_id="paper",
        base_size=1024,
        image_size=1024,
        crop_mode=False,
        text_tokens=10,
        max_new_tokens=NEW_TOKENS,
        batch_size=BATCH,
        num_pages=BATCH,
        logits_positions="last",
        host_mode="cuda_graph",
    )
    analysis = Analysis(config, workload, gpu)
    tokens = BATCH * (NEW_TOKENS - 1)
    decode_s = analysis.stage_times["decode"].floor_ms / 1000
    pages_per_s, rate = 1000 * BATCH / analysis.floor_ms, "output tokens per second"
    return PaperComparison(
        modes=tuple(_modes()),
        stated_active_parameters=ACTIVE_PARAMETERS,
        active_parameters=active_parameters(config),
        parameters=analysis.root.total.num_parameters,
        gpu=gpu,
        workload=workload,
        ceilings=(
            CeilingRow("pages per day, all stages", PAGES_A_DAY, 86_400 * pages_per_s),
            CeilingRow(f"{rate}, all stages", TOKENS_A_SECOND, NEW_TOKENS * pages_per_s),
            CeilingRow(f"{rate}, decode alone", TOKENS_A_SECOND, tokens / decode_s),
        ),
    )


def _modes() -> Iterator[ModeRow]:
    for name, view, tile, stated in MODES:
        whole = features_a_side(view) ** 2
        tokens = f"n × {features_a_side(tile) ** 2} + {whole}" if tile else f"{whole}"
        yield ModeRow(name, stated, tokens)


def active_parameters(config: ModelConfig) -> int:
    """Return the weights that one token is multiplied with in a decode step.

    Projections, MLPs, gates, the chosen experts and the LM head; norms and the
    one row of the embedding are left out.
    """
    window = 1 if config.language.sliding_window else 0
    step = PassShape("decode", "language", batch=1, q_len=1, kv_len=2, logits=1, window=window)
    experts, chosen = config.language.n_routed_experts, config.language.num_experts_per_tok
    found = 0
    for visit in tree.walk(pass_layer(config, step), "decode"):
        own = visit.modules * _weights(visit.layer)
        if "experts" in visit.torch_path.split("."):
            own = own * chosen // experts  # type: ignore[operator]
        if any(operation.products for operation in visit.layer.operations()):
            found += own  # type: ignore[assignment]
    return found


def _weights(layer: Layer) -> Quantity:
    """Return a layer's parameters, or the weights that it reads, where they are another's."""
    tensors = (t for o in layer.operations() if o.products for t in o.reads)
    read = total(t.elements for t in tensors if t.role == "weight")
    found: Quantity = maximum(metrics.num_parameters(layer), read)
    return found
