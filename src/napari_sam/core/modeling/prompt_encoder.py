"""Points, boxes and masks to tokens and to a dense embedding. Knows torch only.

Attribute names are those of the published checkpoints. Coordinates here are (x, y), in pixels of
the padded model input, as the checkpoints were trained: :mod:`napari_sam.core.predictor` swaps.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_sam.core.modeling.common import LayerNorm2d

PADDING_LABEL = -1
_N_POINT_KINDS = 4  # background, object, first and second corner of a box


class PositionEmbeddingRandom(nn.Module):
    """Positions as sines and cosines of random projections (Tancik et al., 2020).

    Always computed in float32: in a half precision a pixel would move by several.
    """

    def __init__(self, num_pos_feats: int) -> None:
        super().__init__()
        self.positional_encoding_gaussian_matrix: Tensor
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, num_pos_feats))

    def forward(self, xy: Tensor) -> Tensor:
        """Embed positions.

        Parameters
        ----------
        xy
            (..., 2) x and y as parts of the canvas, 0 to 1.

        Returns
        -------
        Tensor
            (..., 2 * num_pos_feats) float32.
        """
        matrix = self.positional_encoding_gaussian_matrix.float()
        phase = (2 * xy.float() - 1) @ matrix * (2 * math.pi)
        return torch.cat([phase.sin(), phase.cos()], dim=-1)

    def grid(self, size: tuple[int, int]) -> Tensor:
        """Embed the centres of a grid of (h, w) cells over the canvas: (C, h, w) float32."""
        device = self.positional_encoding_gaussian_matrix.device
        y, x = ((torch.arange(n, device=device, dtype=torch.float32) + 0.5) / n for n in size)
        xy = torch.stack([x[None, :].expand(size), y[:, None].expand(size)], dim=-1)
        place_hwC: Tensor = self(xy)
        return place_hwC.permute(2, 0, 1)


class PromptEncoder(nn.Module):
    """Prompts of B objects to sparse tokens and a dense embedding (SAM, appendix A).

    Parameters
    ----------
    embed_dim
        Width of a token and channels of the image embedding.
    mask_in_chans
        Hidden channels of the mask prompt's convolutions.
    stride
        Pixels of the model input per cell of the image embedding.
    """

    def __init__(self, embed_dim: int, *, mask_in_chans: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.pe_layer = PositionEmbeddingRandom(embed_dim // 2)
        self.point_embeddings = nn.ModuleList(
            nn.Embedding(1, embed_dim) for _ in range(_N_POINT_KINDS)
        )
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_in_chans // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_in_chans // 4),
            nn.GELU(),
            nn.Conv2d(mask_in_chans // 4, mask_in_chans, kernel_size=2, stride=2),
            LayerNorm2d(mask_in_chans),
            nn.GELU(),
            nn.Conv2d(mask_in_chans, embed_dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)

    def forward(
        self,
        *,
        grid: tuple[int, int],
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Embed the prompts; what is None was not given.

        Parameters
        ----------
        grid
            (h, w) cells of the image embedding.
        points
            (B, N, 2) x and y in pixels of the model input; whole numbers name pixels, whose
            centres are half a pixel further: that half is added here.
        labels
            (B, N) 1 object, 0 background, -1 no point (padding), 2 and 3 the corners of a box.
        boxes
            (B, 4) x0, y0, x1, y1 in pixels of the model input, like points.
        mask
            (B, 1, 4 * h, 4 * w) low-res logits of an earlier answer.

        Returns
        -------
        tuple of Tensor
            Sparse tokens (B, T, embed_dim), T may be 0, and the dense embedding
            (B, embed_dim, h, w), or (1, embed_dim, 1, 1) without a mask, which broadcasts.
        """
        dense = self._embed_mask(mask)
        tokens: list[Tensor] = []
        if points is not None and labels is not None:
            if boxes is None:
                # A box comes with two tokens; without one the checkpoints expect a padding point.
                points = F.pad(points, (0, 0, 0, 1))
                labels = F.pad(labels, (0, 1), value=PADDING_LABEL)
            tokens.append(self._embed_points(points, labels, grid))
        if boxes is not None:
            corners = boxes.reshape(-1, 2, 2)
            kinds = torch.tensor([2, 3], device=boxes.device).expand(corners.shape[:2])
            tokens.append(self._embed_points(corners, kinds, grid))
        if tokens:
            return torch.cat(tokens, dim=1).to(dense.dtype), dense
        return dense.new_empty(dense.shape[0], 0, dense.shape[1]), dense

    def image_positions(self, grid: tuple[int, int]) -> Tensor:
        """Positions of the cells of the image embedding: (1, embed_dim, h, w)."""
        return self.pe_layer.grid(grid)[None].to(self.no_mask_embed.weight.dtype)

    def _embed_points(self, xy_BN2: Tensor, labels_BN: Tensor, grid: tuple[int, int]) -> Tensor:
        h, w = grid
        canvas_xy = torch.tensor(
            [w * self.stride, h * self.stride], device=xy_BN2.device, dtype=torch.float32
        )
        place_BND: Tensor = self.pe_layer((xy_BN2.float() + 0.5) / canvas_xy)
        labels_BN = labels_BN.long()
        place_BND = place_BND.masked_fill((labels_BN == PADDING_LABEL)[..., None], 0.0)
        kinds = [self.not_a_point_embed, *self.point_embeddings]
        table = torch.cat([parameter for kind in kinds for parameter in kind.parameters()])
        return place_BND + F.embedding(labels_BN - PADDING_LABEL, table)

    def _embed_mask(self, mask: Tensor | None) -> Tensor:
        if mask is None:
            return self.no_mask_embed.weight[:, :, None, None]
        dense: Tensor = self.mask_downscaling(mask.to(self.no_mask_embed.weight.dtype))
        return dense
