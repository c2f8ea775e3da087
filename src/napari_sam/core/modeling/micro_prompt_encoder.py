"""Prompt encoder of the bundled model: positions in pixels, so any image size works.

Differs from SAM's (Kirillov et al. 2023, section 3) in two ways: Fourier features have wavelengths
in pixels instead of fractions of the image, and the dense embedding also carries the distance to
the clicks and to the box edge. Knows torch only.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.modeling.micro_encoder import ChannelNorm

BACKGROUND, OBJECT, TOP_LEFT, BOTTOM_RIGHT, PADDING = 0, 1, 2, 3, -1
FAR = 1e4  # pixels; stands for "there is no such click"


class PixelPositions(nn.Module):
    """Sine and cosine of positions at many wavelengths and directions.

    Parameters
    ----------
    dim
        Length of the feature, half sines and half cosines.
    wavelengths
        Shortest and longest wavelength in pixels.
    """

    def __init__(self, dim: int, wavelengths: tuple[float, float] = (12.0, 1500.0)) -> None:
        super().__init__()
        count = dim // 2
        generator = torch.Generator().manual_seed(0)
        angles = torch.rand(count, generator=generator) * 2 * math.pi
        shortest, longest = (math.log(w) for w in wavelengths)
        lengths = torch.exp(torch.linspace(shortest, longest, count))
        directions = torch.stack([angles.cos(), angles.sin()])
        self.register_buffer("frequencies", 2 * math.pi * directions / lengths)

    def forward(self, points_N2: Tensor) -> Tensor:
        """Map (..., 2) x, y pixels to (..., dim)."""
        phase = points_N2.float() @ self.get_buffer("frequencies").float()
        return torch.cat([phase.sin(), phase.cos()], -1)


def cell_centres(grid: tuple[int, int], stride: int, device: torch.device) -> Tensor:
    """Centres (x, y) in model pixels of a (h, w) grid of cells, as (h * w, 2)."""
    y = (torch.arange(grid[0], device=device) + 0.5) * stride
    x = (torch.arange(grid[1], device=device) + 0.5) * stride
    yy, xx = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([xx, yy], -1).view(-1, 2)


class MicroPromptEncoder(nn.Module):
    """Points, box corners and mask logits to sparse and dense embeddings.

    Parameters
    ----------
    embed_dim
        Width of both embeddings.
    mask_in_chans
        Hidden width of the mask branch.
    """

    def __init__(self, embed_dim: int, mask_in_chans: int) -> None:
        super().__init__()
        self.pe_layer = PixelPositions(embed_dim)
        self.label_embed = nn.Embedding(5, embed_dim)  # rows: labels 0 to 3, then padding
        nn.init.normal_(self.label_embed.weight, std=0.5)
        self.no_mask_embed = nn.Parameter(torch.zeros(embed_dim))
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_in_chans, 2, 2),
            ChannelNorm(mask_in_chans),
            nn.GELU(),
            nn.Conv2d(mask_in_chans, embed_dim, 1),
        )
        self.hint = nn.Sequential(nn.Linear(9, 32), nn.GELU(), nn.Linear(32, embed_dim))

    def sparse(self, points_BN2: Tensor, labels_BN: Tensor, shift: Tensor | None = None) -> Tensor:
        """Token per point or corner, (B, N, D).

        ``shift`` (2,) moves all positions at once; training draws it at random so that positions
        beyond the training crops are known too.
        """
        moved = points_BN2 if shift is None else points_BN2 + shift
        positions = self.pe_layer(moved)
        rows = torch.where(labels_BN == PADDING, 4, labels_BN)
        known = (labels_BN != PADDING)[..., None]
        out: Tensor = torch.where(known, positions, 0.0) + self.label_embed(rows)
        return out

    def dense(
        self, points_BN2: Tensor, labels_BN: Tensor, mask: Tensor | None, grid: tuple[int, int]
    ) -> Tensor:
        """Embedding per cell of the (h, w) grid at stride 8, (B, h * w, D).

        ``mask`` (B, 1, 2h, 2w) are low-res logits of an earlier prediction.
        """
        b = points_BN2.shape[0]
        hints = self.hint(_hint_features(points_BN2, labels_BN, grid))
        if mask is None:
            out: Tensor = hints + self.no_mask_embed.expand(b, 1, -1)
            return out
        soft = (mask / 4).clamp(-5, 5)
        out = hints + self.mask_downscaling(soft).flatten(2).transpose(1, 2)
        return out


def _hint_features(points_BN2: Tensor, labels_BN: Tensor, grid: tuple[int, int]) -> Tensor:
    """Distances of each cell to clicks (three scales a sign) and to the box edge, (B, hw, 9)."""
    centres = cell_centres(grid, 8, points_BN2.device)
    distance = torch.cdist(points_BN2.float(), centres.expand(points_BN2.shape[0], -1, -1))
    features = []
    for sign in (OBJECT, BACKGROUND):
        nearest = torch.where((labels_BN == sign)[..., None], distance, FAR).amin(1)
        features += [torch.exp(-nearest / scale) for scale in (6.0, 20.0, 64.0)]
    first, last = labels_BN == TOP_LEFT, labels_BN == BOTTOM_RIGHT
    boxed = first.any(1)[:, None]
    corner0 = torch.where(first[..., None], points_BN2, 0.0).sum(1)[:, None]
    corner1 = torch.where(last[..., None], points_BN2, 0.0).sum(1)[:, None]
    inside = torch.minimum((centres - corner0).amin(-1), (corner1 - centres).amin(-1))
    inside = torch.where(boxed, inside, 0.0)
    features += [F.tanh(inside / 8), F.tanh(inside / 32), boxed.float().expand_as(inside)]
    return torch.stack(features, -1)
