"""DeepseekV2DecoderLayer, with a dense MLP or with experts."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers.decoder.mlp import DeepseekV2MLP
from mkdocs_dsocr.layers.decoder.moe import DeepseekV2MoE
from mkdocs_dsocr.layers.decoder.rms_norm import DeepseekV2RMSNorm
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.llama import LlamaFlashAttention2
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor, residual
from mkdocs_dsocr.quantities import Quantity


def pre_norm(
    norm: DeepseekV2RMSNorm, attention: BaseLayer, given: tuple[Tensor, ...], mlp: BaseLayer
) -> Iterator[Step]:
    """Yield attention and MLP, each on its norm and added to the residual stream.

    Parameters
    ----------
    norm, attention, mlp
        The layers; both norms are alike.
    given
        What the attention reads beside its norm's output.
    """
    names = ("x", "norm(x)", "attn(norm(x))", "y", "norm(y)", "mlp(norm(y))", "z")
    x, normed, attended, y, normed_y, mapped, z = (Tensor(n, norm.rows * norm.width) for n in names)
    yield Child("input_layernorm", norm, reads=(x,), writes=(normed,))
    yield Child("self_attn", attention, reads=(normed, *given), writes=(attended,))
    yield residual(x, attended, y, "x + attn(norm(x))")
    yield Child("post_attention_layernorm", norm, reads=(y,), writes=(normed_y,))
    yield Child("mlp", mlp, reads=(normed_y,), writes=(mapped,))
    yield residual(y, mapped, z, "y + mlp(norm(y))")


@layer
class _DecoderLayer(BaseLayer):
    """What both kinds of decoder layer share: norms, attention, residuals."""

    module_class = "DeepseekV2DecoderLayer"
    definition = (
        "Pre-norm decoder layer: causal attention, then a dense MLP in the first layers and a "
        "mixture of experts in all others, each with a residual."
    )
    source = "modeling_deepseekv2.DeepseekV2DecoderLayer"

    batch: Quantity = dim("B", "samples in the batch", "samples")
    q_len: Quantity = dim("S", "new positions a sample", "tokens")
    kv_len: Quantity = dim("K", "positions in the cache after the append", "tokens")
    hidden_size: Quantity = dim("h", "hidden size", "elements")
    heads: Quantity = dim("H", "query heads")
    kv_heads: Quantity = dim("H_kv", "key and value heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    cached: bool = False
    grouped: bool = False

    def _mlp(self, rows: Quantity) -> BaseLayer:
        raise NotImplementedError

    def forward(self) -> Iterator[Step]:
        rows = self.batch * self.q_len
        positions = Tensor("positions", self.q_len, "int64")
        norm = DeepseekV2RMSNorm(rows=rows, width=self.hidden_size)
        yield from pre_norm(norm, self._attention(), (positions,), self._mlp(rows))

    def _attention(self) -> LlamaFlashAttention2:
        return LlamaFlashAttention2(
            batch=self.batch,
            q_len=self.q_len,
            kv_len=self.kv_len,
            hidden_size=self.hidden_size,
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            cached=self.cached,
            grouped=self.grouped,
        )


@layer
class DenseDecoderLayer(_DecoderLayer):
    """Pre-norm decoder layer with a dense SwiGLU MLP: the first layers of the stack."""

    rationale = Rationale(
        counted="Both norms, attention, MLP and both residual additions.",
        not_counted="Fusion of a residual addition with the norm that follows it.",
        assumed="Every part is called once a layer.",
        would_change="The sequence: projections and MLP grow with S, attention with S·K.",
    )

    intermediate_size: Quantity = dim("m", "width inside the dense MLP", "elements")

    def _mlp(self, rows: Quantity) -> BaseLayer:
        return DeepseekV2MLP(
            rows=rows, hidden_size=self.hidden_size, intermediate_size=self.intermediate_size
        )


@layer
class MoEDecoderLayer(_DecoderLayer):
    """Pre-norm decoder layer whose MLP is a mixture of experts."""

    rationale = Rationale(
        counted="Both norms, attention, gate, routed and shared experts, both residual additions.",
        not_counted="The host's loop over the experts.",
        assumed="All experts are resident; a call reads those that its tokens chose.",
        would_change="The batch in decode: more tokens a step touch more experts, until all are "
        "read anyway.",
    )

    moe_intermediate_size: Quantity = dim("m", "width inside a routed expert", "elements")
    experts: Quantity = dim("E", "routed experts")
    top_k: Quantity = dim("k", "experts a token")
    shared_experts: Quantity = dim("s", "shared experts, run as one MLP s·m wide")
    distinct_experts: Quantity = dim("D", "distinct experts that get any token (an expectation)")
    largest_load: Quantity = dim("L", "tokens of the expert that gets most")
    expert_count: int

    def _mlp(self, rows: Quantity) -> BaseLayer:
        return DeepseekV2MoE(
            rows=rows,
            hidden_size=self.hidden_size,
            moe_intermediate_size=self.moe_intermediate_size,
            experts=self.experts,
            top_k=self.top_k,
            shared_experts=self.shared_experts,
            distinct_experts=self.distinct_experts,
            largest_load=self.largest_load,
            expert_count=self.expert_count,
        )
