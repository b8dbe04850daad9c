"""A small model of the same architecture as remote code, with the habits of the public one.

It calls ``forward`` directly, copies counts to the host, asks whether pixels are
zero, moves tensors to the GPU, has eager attention from transformers, and imports
torchvision for images that nothing here prepares.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torchvision import transforms
from torchvision.transforms.functional import InterpolationMode
from transformers import Cache, LlamaConfig, PreTrainedModel
from transformers.modeling_attn_mask_utils import _prepare_4d_causal_attention_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaFlashAttention2

from mkdocs_dsocr.inputs.model_config import ClipConfig, SamConfig
from mkdocs_dsocr.tracing.reference import vision

ATTENTION = {"eager": LlamaAttention, "flash_attention_2": LlamaFlashAttention2}


class ImageTransform:
    mode = InterpolationMode.BICUBIC

    def __call__(self, image):
        return transforms.Compose([transforms.ToTensor()])(image)


@torch.jit.script
def quick_gelu(x):
    return x * torch.sigmoid(1.702 * x)


class DeepseekOCRConfig(LlamaConfig):
    model_type = "DeepseekOCR"

    def __init__(self, language_config=None, vision_config=None, **kwargs):
        super().__init__(
            **{**kwargs, **(language_config or {}), "auto_map": kwargs.get("auto_map")}
        )
        self.vision_config = vision_config


class NoTPFeedForward(vision.NoTPFeedForward):
    def forward(self, x):
        return self.fc2(quick_gelu(self.fc1(x)))


class NoTPTransformerBlock(vision.NoTPTransformerBlock):
    def __init__(self, config):
        super().__init__(config)
        self.mlp = NoTPFeedForward(config)

    def forward(self, x):
        h = x + self.self_attn.forward(self.layer_norm1(x))
        return h + self.mlp.forward(self.layer_norm2(h))


class VitModel(vision.VitModel):
    def __init__(self, config):
        super().__init__(config)
        self.transformer.layers = nn.ModuleList(
            NoTPTransformerBlock(config) for _ in range(config.layers)
        )

    def forward(self, x, patch_embeds):
        return super().forward(patch_embeds)


class DeepseekV2RMSNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, x):
        dtype = x.dtype
        x = x.to(torch.float32)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * x.to(dtype)


class DeepseekV2MLP(nn.Module):
    def __init__(self, hidden_size, intermediate_size):
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)
        self.act_fn = nn.SiLU()

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class MoEGate(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.weight = nn.Parameter(torch.empty(config.n_routed_experts, config.hidden_size))

    def forward(self, hidden_states):
        rows = hidden_states.view(-1, hidden_states.shape[-1])
        logits = F.linear(rows.type(torch.float32), self.weight.type(torch.float32), None)
        scores = logits.softmax(dim=-1, dtype=torch.float32)
        weights, indices = torch.topk(scores, k=self.top_k, dim=-1, sorted=False)
        return indices, weights * 1.0


class DeepseekV2MoE(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config.moe_intermediate_size
        self.experts = nn.ModuleList(
            DeepseekV2MLP(config.hidden_size, width) for _ in range(config.n_routed_experts)
        )
        self.gate = MoEGate(config)
        self.shared_experts = DeepseekV2MLP(config.hidden_size, width * config.n_shared_experts)

    def forward(self, hidden_states):
        identity, shape = hidden_states, hidden_states.shape
        indices, weights = self.gate(hidden_states)
        rows = hidden_states.view(-1, shape[-1])
        return self.moe_infer(rows, indices, weights).view(*shape) + self.shared_experts(identity)

    @torch.no_grad()
    def moe_infer(self, x, indices, weights):
        counts = indices.new_zeros((indices.shape[0], len(self.experts)))
        counts.scatter_(1, indices, 1)
        counts = counts.sum(dim=0)
        order = indices.view(-1).argsort()
        gathered = x[order // indices.shape[1]]
        outputs, start = [], 0
        for index, rows in enumerate(counts.cpu().numpy()):
            if rows == 0:
                continue
            outputs.append(self.experts[index](gathered[start : start + rows]))
            start += rows
        joined = torch.cat(outputs, dim=0)
        placed = torch.empty_like(joined)
        placed[order] = joined
        return (
            placed.view(*indices.shape, -1)
            .type(weights.dtype)
            .mul_(weights.unsqueeze(dim=-1))
            .sum(dim=1)
            .type(placed.dtype)
        )


class DeepseekV2DecoderLayer(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.self_attn = ATTENTION[config._attn_implementation](config=config, layer_idx=layer_idx)
        self.mlp = (
            DeepseekV2MLP(config.hidden_size, config.intermediate_size)
            if layer_idx < config.first_k_dense_replace
            else DeepseekV2MoE(config)
        )
        self.input_layernorm = DeepseekV2RMSNorm(config.hidden_size)
        self.post_attention_layernorm = DeepseekV2RMSNorm(config.hidden_size)

    def forward(self, x, attention_mask, position_ids, past_key_value):
        attended, _, _ = self.self_attn(
            hidden_states=self.input_layernorm(x),
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_value=past_key_value,
            use_cache=True,
        )
        x = x + attended
        return x + self.mlp(self.post_attention_layernorm(x))


class DeepseekOCRModel(PreTrainedModel):
    config_class = DeepseekOCRConfig
    _supports_flash_attn_2 = True

    def __init__(self, config):
        super().__init__(config)
        width = config.vision_config["width"]
        sam = SamConfig.model_validate(width["sam_vit_b"], strict=False)
        clip = width["clip-l-14-224"]
        clip = ClipConfig.model_validate(clip, strict=False)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            DeepseekV2DecoderLayer(config, index) for index in range(config.num_hidden_layers)
        )
        self.norm = DeepseekV2RMSNorm(config.hidden_size)
        self.sam_model = vision.ImageEncoderViT(sam, config.vision_config["image_size"] // 16)
        self.vision_model = VitModel(clip)
        joined = clip.width + sam.downsample_channels[-1]
        self.projector = vision.MlpProjector(joined, config.hidden_size)
        self.image_newline = nn.Parameter(torch.randn(config.hidden_size))
        self.view_seperator = nn.Parameter(torch.randn(config.hidden_size))

    def features(self, pixels):
        sam = self.sam_model(pixels)
        clip = self.vision_model(pixels, sam)
        return self.projector(torch.cat((clip[:, 1:], sam.flatten(2).permute(0, 2, 1)), dim=-1))

    def rows(self, features, width, height):
        _, count, channels = features.shape
        side = int(count**0.5)
        grid = features.view(height, width, side, side, channels).permute(0, 2, 1, 3, 4)
        grid = grid.reshape(height * side, width * side, channels)
        newline = self.image_newline[None, None, :].expand(height * side, 1, channels)
        return torch.cat([grid, newline], dim=1).view(-1, channels)

    def forward(
        self,
        input_ids,
        position_ids,
        past_key_values,
        images,
        images_seq_mask,
        images_spatial_crop,
    ):
        x = self.embed_tokens(input_ids)
        print("as chatty as the public code")
        if input_ids.shape[1] != 1 and torch.sum(images[0][1]).item() != 0:
            for index, ((patches, whole), crop) in enumerate(
                zip(images, images_spatial_crop, strict=True)
            ):
                parts = []
                if torch.sum(patches).item() != 0:
                    parts.append(self.rows(self.features(patches), crop[0], crop[1]))
                parts.append(self.rows(self.features(whole), 1, 1))
                tokens = torch.cat([*parts, self.view_seperator[None, :]], dim=0)
                x[index].masked_scatter_(images_seq_mask[index].unsqueeze(-1).cuda(), tokens)
        assert isinstance(past_key_values, Cache)
        past = past_key_values.get_usable_length(input_ids.shape[1])
        mask = _prepare_4d_causal_attention_mask(None, input_ids.shape, x, past)
        for layer in self.layers:
            x = layer(x, mask, position_ids, past_key_values)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(x))


class DeepseekOCRForCausalLM(PreTrainedModel):
    config_class = DeepseekOCRConfig
    _supports_flash_attn_2 = True

    def __init__(self, config):
        super().__init__(config)
        self.model = DeepseekOCRModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, use_cache=None, return_dict=None, **inputs):
        hidden = self.model(**inputs)[0]
        return CausalLMOutputWithPast(logits=self.lm_head(hidden).float())
