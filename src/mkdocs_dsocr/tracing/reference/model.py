"""DeepSeek-OCR as a PyTorch module: vision, projector, decoder, LM head."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.inputs.model_config import ClipConfig
from mkdocs_dsocr.tracing.kv_cache import KVCache
from mkdocs_dsocr.tracing.reference.decoder import (
    DeepseekV2DecoderLayer,
    DeepseekV2RMSNorm,
    ask,
)
from mkdocs_dsocr.tracing.reference.vision import ImageEncoderViT, MlpProjector, VitModel


@dataclass(frozen=True)
class Page:
    """Pixels of a page: a global view ``[1, 3, s, s]`` and local views ``[w·h, 3, s, s]``.

    `grid` is the number of local views per row and per column.
    """

    global_view: Tensor
    local_views: Tensor | None = None
    grid: tuple[int, int] = (1, 1)


class DeepseekOCRModel(nn.Module):
    """Everything but the LM head.

    `asks_for_padding` is false where the host must not ask the device for values: while a CUDA
    graph is captured.
    """

    asks_for_padding = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        language, clip = config.language, config.tower(ClipConfig)
        self.embed_tokens = nn.Embedding(language.vocab_size, language.hidden_size)
        self.layers = nn.ModuleList(
            DeepseekV2DecoderLayer(language, index) for index in range(language.num_hidden_layers)
        )
        self.norm = DeepseekV2RMSNorm(language.hidden_size)
        self.sam_model = ImageEncoderViT(config.sam, config.sam_table_side)
        self.vision_model = VitModel(clip)
        joined = clip.width + config.sam.downsample_channels[-1]
        self.projector = MlpProjector(joined, language.hidden_size)
        self.image_newline = nn.Parameter(torch.zeros(language.hidden_size))
        self.view_seperator = nn.Parameter(torch.zeros(language.hidden_size))

    def encode(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Run both towers on views ``[B, 3, s, s]``: SAM's map, CLIP's tokens.

        The host first asks whether there is an image: the sum of its pixels is not 0.
        """
        ask(torch.sum(views))
        sam = self.sam_model(views)
        return sam, self.vision_model(sam)

    def project(self, sam: Tensor, clip: Tensor, grid: tuple[int, int]) -> Tensor:
        """Join, project and lay out the features of a grid of views as rows of tokens.

        The views of several pages follow each other, and so do their tokens.
        """
        x = torch.cat((clip[:, 1:], sam.flatten(2).transpose(1, 2)), dim=-1)
        x = self.projector(x)
        (tiles_w, tiles_h), side, width = grid, sam.shape[-1], x.shape[-1]
        x = x.view(-1, tiles_h, tiles_w, side, side, width).transpose(2, 3)
        x = x.reshape(-1, tiles_w * side, width)
        newline = self.image_newline.expand(x.shape[0], 1, -1)
        return torch.cat((x, newline), dim=1).view(-1, width)

    def page_features(self, page: Page) -> list[Tensor]:
        """Return the image tokens ``[T, h]`` of each view of a page, the global one last."""
        features = [self.project(*self.encode(page.global_view), (1, 1))]
        if page.local_views is not None:
            features.insert(0, self.project(*self.encode(page.local_views), page.grid))
        return features

    def forward(
        self,
        input_ids: Tensor,
        cache: KVCache,
        pages: list[Page] | None = None,
        features: Iterable[list[Tensor]] | None = None,
        *,
        mask: Tensor,
    ) -> Tensor:
        """Run the decoder on ``[B, S]`` token ids.

        Parameters
        ----------
        input_ids, cache
            New tokens, and the cache that they extend.
        mask
            ``[B, K]``: 1 for each position that is no padding.
        pages
            A page for each sample, encoded first (prefill).
        features
            The image tokens of each view of each page instead, where they are known already.
        """
        x = self.embed_tokens(input_ids)
        if pages is not None:
            features = [self.page_features(page) for page in pages]
        for sample, views in enumerate(features or []):
            self._place(x[sample], views)
        past = cache.layers[0][0].shape[2] if cache.layers else 0
        positions = torch.arange(past, past + x.shape[1], device=x.device)
        positions = positions.unsqueeze(0).expand(x.shape[0], -1)
        if self.asks_for_padding:
            ask((mask == 0).any())
        for layer in self.layers:
            x = layer(x, positions, cache)
        out: Tensor = self.norm(x)
        return out

    def _place(self, x: Tensor, views: list[Tensor]) -> None:
        """Write the image tokens of a page over the first of its embeddings ``[S, h]``."""
        tokens = torch.cat((*views, self.view_seperator[None]))
        mask = torch.zeros(x.shape[0], 1, dtype=torch.bool, device=x.device)
        mask[: tokens.shape[0]].fill_(True)
        x.masked_scatter_(mask, tokens)


class DeepseekOCRForCausalLM(nn.Module):
    """The model with its LM head; logits are float32."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        language = config.language
        self.model = DeepseekOCRModel(config)
        self.lm_head = nn.Linear(language.hidden_size, language.vocab_size, bias=False)

    def forward(
        self,
        input_ids: Tensor,
        cache: KVCache,
        pages: list[Page] | None = None,
        features: Iterable[list[Tensor]] | None = None,
        logits: int | None = None,
        *,
        mask: Tensor,
    ) -> Tensor:
        """Return logits of the last `logits` positions (of all, where it is None)."""
        x = self.model(input_ids, cache, pages, features, mask=mask)
        if logits is not None:
            x = x[:, -logits:]
        scores: Tensor = self.lm_head(x)
        return scores.float()
