"""SAM's ViT encoder for GPUs: same numbers as ``modeling/image_encoder.py``, no N x N bias.

The position bias of a query is a sum of one number for the key's row and one for its column. So it
is an inner product, and folds into query and key: ``[q * scale, by_row, by_column]`` times
``[k, one-hot row, one-hot column]``. The device's fused attention then needs no mask at all, and
the bias of all pairs, 800 MB in a global block of ViT-B, is never in memory. For CPUs
``packed_vit.py`` is faster. Knows torch and the plain modules; no float64, which MPS lacks.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.modeling.image_encoder import (
    Attention,
    Block,
    ImageEncoderViT,
    join_windows,
    relative_table,
    resize_positions,
    split_windows,
)

__all__ = ["FusedViT", "fuse_image_encoder"]

WIDTH_STEP = 8  # fused kernels want widths that are multiples of it
# Where attention may not be fused, its logits exist: so many at once (256 MB in float32).
MOST_LOGITS = 2**26


class FusedAttention(nn.Module):
    """:class:`Attention` for one fixed side, with the position bias folded into query and key."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.qkv = attention.qkv
        self.proj = attention.proj
        self.rel_pos_h = attention.rel_pos_h
        self.rel_pos_w = attention.rel_pos_w

    def forward(self, x_BhwD: Tensor) -> Tensor:
        """Map (B, h, w, D) to (B, h, w, D); each of the B attends within itself."""
        B, h, w, D = x_BhwD.shape
        qkv = self.qkv(x_BhwD).view(B, h * w, 3, self.num_heads, D // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, N, d)
        wide_q, wide_k = self._fold(q, k, (h, w))
        attended = attend(wide_q, wide_k, v)
        out: Tensor = self.proj(attended.transpose(1, 2).reshape(B, h, w, D))
        return out

    def _fold(self, q_BHNd: Tensor, k_BHNd: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Queries and keys, both (B, H, N, d + h + w + filling), whose products are the logits."""
        (h, w), (B, H, N, d) = grid, q_BHNd.shape
        q_BHhwd = q_BHNd.reshape(B, H, h, w, d)
        table_hhd = relative_table(self.rel_pos_h, h).to(q_BHNd.dtype)
        table_wwd = relative_table(self.rel_pos_w, w).to(q_BHNd.dtype)
        # The bias takes the query unscaled, as in the official code.
        by_row = torch.einsum("bnhwd,hkd->bnhwk", q_BHhwd, table_hhd).reshape(B, H, N, h)
        by_column = torch.einsum("bnhwd,wkd->bnhwk", q_BHhwd, table_wwd).reshape(B, H, N, w)
        places = one_hot_places(grid, like=k_BHNd).expand(B, H, N, h + w)
        filling = q_BHNd.new_zeros(1).expand(B, H, N, -(d + h + w) % WIDTH_STEP)
        wide_q = torch.cat([q_BHNd * d**-0.5, by_row, by_column, filling], -1)
        wide_k = torch.cat([k_BHNd, places, filling], -1)
        return wide_q, wide_k


def one_hot_places(grid: tuple[int, int], *, like: Tensor) -> Tensor:
    """Row and column of each token of a grid (h, w) as ones: (h * w, h + w)."""
    h, w = grid
    rows = torch.eye(h, dtype=like.dtype, device=like.device).repeat_interleave(w, 0)
    columns = torch.eye(w, dtype=like.dtype, device=like.device).repeat(h, 1)
    return torch.cat([rows, columns], 1)


def attend(q_BHNe: Tensor, k_BHNe: Tensor, v_BHNd: Tensor) -> Tensor:
    """Attention whose scale lies in the queries already.

    CUDA has a fused kernel for values narrower than keys. Elsewhere the logits are built, so the
    queries go through in parts.
    """
    tokens = q_BHNe.shape[2]
    together = tokens
    if q_BHNe.device.type != "cuda":
        together = max(1, MOST_LOGITS // (q_BHNe.shape[0] * q_BHNe.shape[1] * tokens))
    parts = [
        F.scaled_dot_product_attention(part, k_BHNe, v_BHNd, scale=1.0)
        for part in q_BHNe.split(together, 2)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


class FusedBlock(nn.Module):
    """:class:`Block` with :class:`FusedAttention`."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.attn = FusedAttention(block.attn)
        self.window_size = block.window_size

    def forward(self, x_BhwD: Tensor) -> Tensor:
        """Map (B, h, w, D) to (B, h, w, D)."""
        normal = self.norm1(x_BhwD)
        if self.window_size:
            grid = (x_BhwD.shape[1], x_BhwD.shape[2])
            windows = split_windows(normal, self.window_size)
            attended = join_windows(self.attn(windows), grid)
        else:
            attended = self.attn(normal)
        x_BhwD = x_BhwD + attended
        out: Tensor = x_BhwD + self.mlp(self.norm2(x_BhwD))
        return out


class FusedViT(nn.Module):
    """Drop-in for :class:`ImageEncoderViT` on GPUs, made from a trained one.

    Parameters
    ----------
    encoder
        The plain encoder; its weights are shared, not copied.
    """

    def __init__(self, encoder: ImageEncoderViT) -> None:
        super().__init__()
        self.patch_embed = encoder.patch_embed
        self.pos_embed = encoder.pos_embed
        self.blocks = nn.ModuleList(FusedBlock(cast(Block, block)) for block in encoder.blocks)
        self.neck = encoder.neck

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """Encode normalised, padded pictures (B, 3, H, W) to (B, C, h, w)."""
        tokens = self.patch_embed(x_B3HW)
        tokens = tokens + resize_positions(self.pos_embed, (tokens.shape[1], tokens.shape[2]))
        for block in self.blocks:
            tokens = block(tokens)
        features: Tensor = self.neck(tokens.permute(0, 3, 1, 2))
        return features


def fuse_image_encoder(model: nn.Module) -> None:
    """Replace a model's plain ViT encoder by a fused one; other encoders stay as they are."""
    encoder = getattr(model, "image_encoder", None)
    if isinstance(encoder, ImageEncoderViT):
        model.image_encoder = FusedViT(encoder)
