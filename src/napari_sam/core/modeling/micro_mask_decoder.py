"""Mask decoder of the bundled model: SAM's two-way decoder, narrow, with masks at stride 4.

Follows Kirillov et al. 2023, appendix A ("Lightweight mask decoder"). Differences: a finer skip
joins before the masks are formed, and the predicted IoU of each mask also sees how sharp that mask
is. Knows torch only.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.modeling.micro_score_head import (
    ScoreHead,
    gather_evidence,
    mask_regions,
    pool_features,
)

NUM_MASKS = 4  # one for unambiguous prompts, three for ambiguous ones


class CrossAttention(nn.Module):
    """Multi-head attention from one set of tokens to another, with an inner width."""

    def __init__(self, dim: int, num_heads: int, inner_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, inner_dim)
        self.k_proj = nn.Linear(dim, inner_dim)
        self.v_proj = nn.Linear(dim, inner_dim)
        self.out_proj = nn.Linear(inner_dim, dim)

    def _heads(self, x_BND: Tensor) -> Tensor:
        b, n, _ = x_BND.shape
        return x_BND.view(b, n, self.num_heads, -1).transpose(1, 2)

    def forward(self, q_BND: Tensor, k_BMD: Tensor, v_BMD: Tensor) -> Tensor:
        """Attend; returns (B, N, D)."""
        q, k = self._heads(self.q_proj(q_BND)), self._heads(self.k_proj(k_BMD))
        # Plain products: one side has a handful of tokens, where fused attention is slower on
        # CPUs (its backward took a quarter of a training step).
        weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1)
        mixed = weights.to(q.dtype) @ self._heads(self.v_proj(v_BMD))
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class TwoWayBlock(nn.Module):
    """Token self-attention, tokens to image, MLP, image to tokens."""

    def __init__(self, dim: int, num_heads: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = CrossAttention(dim, num_heads, dim)
        self.token_to_image = CrossAttention(dim, num_heads, dim // 2)
        self.image_to_token = CrossAttention(dim, num_heads, dim // 2)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.ReLU(), nn.Linear(4 * dim, dim))

    def forward(
        self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update (B, T, D) tokens and (B, hw, D) image."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            query = tokens + token_pe
            tokens = tokens + self.self_attn(query, query, tokens)
        tokens = self.norms[0](tokens)
        keys = image + image_pe
        tokens = self.norms[1](tokens + self.token_to_image(tokens + token_pe, keys, image))
        tokens = self.norms[2](tokens + self.mlp(tokens))
        image = self.norms[3](image + self.image_to_token(keys, tokens + token_pe, tokens))
        return tokens, image


def _mlp(dim: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, out)
    )


class MicroMaskDecoder(nn.Module):
    """Prompts and an image embedding to four masks with their predicted IoU.

    Parameters
    ----------
    dim, depth, num_heads
        Of the two-way transformer.
    skip_chans
        Channels of the encoder's stride-4 features.
    """

    def __init__(self, dim: int, depth: int, num_heads: int, skip_chans: int) -> None:
        super().__init__()
        self.output_tokens = nn.Parameter(torch.randn(1 + NUM_MASKS, dim) * 0.5)
        self.blocks = nn.ModuleList(TwoWayBlock(dim, num_heads, first=i == 0) for i in range(depth))
        self.final_attn = CrossAttention(dim, num_heads, dim // 2)
        self.final_norm = nn.LayerNorm(dim)
        self.upscale = nn.Linear(dim, 4 * skip_chans)
        self.upscale_norm = nn.LayerNorm(skip_chans)
        self.hypernetworks = nn.ModuleList(_mlp(dim, skip_chans) for _ in range(NUM_MASKS))
        self.iou_head = ScoreHead(dim, skip_chans, NUM_MASKS)

    def forward(
        self,
        image_BND: Tensor,
        image_pe_ND: Tensor,
        skip_BND: Tensor,
        sparse_BTD: Tensor,
        dense_BND: Tensor,
        grid: tuple[int, int],
    ) -> tuple[Tensor, Tensor]:
        """Decode B prompts.

        Parameters
        ----------
        image_BND
            (B or 1, h * w, D) image embedding, stride 8.
        image_pe_ND
            (h * w, D) positions of its cells.
        skip_BND
            (B or 1, 4 * h * w, C4) finer features, stride 4.
        sparse_BTD, dense_BND
            From the prompt encoder.
        grid
            (h, w) of the stride-8 grid.

        Returns
        -------
        logits, scores
            (B, 4, 2h, 2w) float32 mask logits at stride 4; (B, 4) predicted IoU in 0 to 1.
        """
        h, w = grid
        b = sparse_BTD.shape[0]
        token_pe = torch.cat([self.output_tokens.expand(b, -1, -1), sparse_BTD], 1)
        tokens, image = token_pe, image_BND + dense_BND
        for block in self.blocks:
            tokens, image = block(tokens, image, token_pe, image_pe_ND)
        keys = image + image_pe_ND
        tokens = self.final_norm(tokens + self.final_attn(tokens + token_pe, keys, image))
        fine = self.upscale(image).view(b, h, w, 2, 2, -1).transpose(2, 3)
        fine = F.gelu(self.upscale_norm(fine.reshape(b, 4 * h * w, -1) + skip_BND))
        mask_tokens = tokens[:, 1 : 1 + NUM_MASKS]
        kernels = torch.stack(
            [net(mask_tokens[:, i]) for i, net in enumerate(self.hypernetworks)], 1
        )
        logits = (kernels @ fine.transpose(1, 2)).view(b, NUM_MASKS, 2 * h, 2 * w).float()
        regions = mask_regions(logits)
        pooled = pool_features(regions.flatten(3).flatten(1, 2), fine).unflatten(1, (-1, NUM_MASKS))
        evidence = gather_evidence(tokens[:, 0], mask_tokens, logits, regions, pooled)
        return logits, self.iou_head(evidence)
