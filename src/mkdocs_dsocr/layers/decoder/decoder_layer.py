"""DeepseekV2DecoderLayer, with a dense MLP or with experts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from mkdocs_dsocr.layers.decoder.mlp import DeepseekV2MLP
from mkdocs_dsocr.layers.decoder.moe import DeepseekV2MoE, ExpertSizes
from mkdocs_dsocr.layers.decoder.rms_norm import DeepseekV2RMSNorm
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.llama import AttentionSizes, LlamaFlashAttention2, Sequences
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor
from mkdocs_dsocr.layers.prenorm import pre_norm
from mkdocs_dsocr.quantities import Quantity


@layer
class DecoderLayer(Sequences):
    """What all decoder layers share: norms, attention, MLP, residuals.

    Attention and MLP get those of the layer's fields that they have.
    """

    norm: ClassVar[type[DeepseekV2RMSNorm]] = DeepseekV2RMSNorm
    attention: ClassVar[type[BaseLayer]]
    mlp: ClassVar[type[BaseLayer]]

    def _given(self) -> tuple[Tensor, ...]:
        """Return what the attention reads besides its norm's output."""
        return (Tensor("positions", self.q_len, "int64"),)

    def _attend(self, normed: Tensor, attended: Tensor) -> Iterator[Step]:
        attention, reads = self.inner(self.attention), (normed, *self._given())
        yield Child("self_attn", attention, reads=reads, writes=(attended,))

    def forward(self) -> Iterator[Step]:
        rows = self.batch * self.q_len
        yield from pre_norm(
            rows * self.hidden_size,
            self.norm(rows=rows, width=self.hidden_size),
            self._attend,
            self.inner(self.mlp, rows=rows),
            norms=("input_layernorm", "post_attention_layernorm"),
            written=("norm", "norm"),
        )


@layer
class RotatedDecoderLayer(DecoderLayer):
    """What decoder layers share whose attention is given the angles of the positions."""

    heads: Quantity = dim("H", "heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")

    def _given(self) -> tuple[Tensor, ...]:
        return tuple(Tensor(n, self.q_len * self.head_dim) for n in ("cos", "sin"))


@layer
class Dense(BaseLayer):
    """What a decoder layer with a dense MLP has."""

    rationale = Rationale(
        counted="Both norms, attention, MLP and both residual additions.",
        not_counted="Fusion of a residual addition with the norm that follows it.",
        assumed="Every part is called once per layer.",
        would_change="The sequence: projections and MLP grow with S, attention with S·K.",
    )

    intermediate_size: Quantity = dim("m", "width inside the dense MLP", "elements")


@layer
class _DeepseekDecoderLayer(DecoderLayer, AttentionSizes):
    """DeepSeek's own in both kinds of decoder layer."""

    module_class = "DeepseekV2DecoderLayer"
    definition = (
        "Pre-norm decoder layer: causal attention, then a dense MLP in the first layers and a "
        "mixture of experts in all others, each with a residual."
    )
    source = "modeling_deepseekv2.DeepseekV2DecoderLayer"
    attention = LlamaFlashAttention2


@layer
class DenseDecoderLayer(Dense, _DeepseekDecoderLayer):
    """Pre-norm decoder layer with a dense SwiGLU MLP: the first layers of the stack."""

    mlp = DeepseekV2MLP


@layer
class MoEDecoderLayer(ExpertSizes, _DeepseekDecoderLayer):
    """Pre-norm decoder layer whose MLP is a mixture of experts."""

    rationale = Rationale(
        counted="Both norms, attention, gate, routed and shared experts, both residual additions.",
        not_counted="The time of Python's own loop over the experts.",
        assumed="All experts are resident; a call reads those that its tokens choose.",
        would_change="The batch in decode: more tokens per step touch more experts, until all are "
        "read anyway.",
    )
    mlp = DeepseekV2MoE

    largest_load: Quantity = dim("L", "tokens of the expert that gets most")
    expert_count: int
