"""Tokens and image embedding to mask logits and scores. Knows torch only.

Attribute names are those of the published checkpoints.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_sam.core.modeling.common import EMPTY_LOGIT, LayerNorm2d
from napari_sam.core.modeling.transformer import TwoWayTransformer

_HYPERNETWORK_DEPTH = 3


class MaskDecoder(nn.Module):
    """Predict masks and their scores (SAM, appendix A, "Lightweight mask decoder").

    Parameters
    ----------
    dim
        Width of a token and channels of the image embedding.
    transformer
        Two-way transformer of that width.
    num_multimask_outputs
        Candidates of a multimask answer; one more mask token answers alone.
    iou_head_depth, iou_head_hidden_dim
        Layers and hidden width of the MLP that predicts the scores.
    """

    def __init__(
        self,
        dim: int,
        transformer: TwoWayTransformer,
        *,
        num_multimask_outputs: int,
        iou_head_depth: int,
        iou_head_hidden_dim: int,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.num_mask_tokens = num_multimask_outputs + 1
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(self.num_mask_tokens, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(dim, dim, dim // 8, depth=_HYPERNETWORK_DEPTH) for _ in range(self.num_mask_tokens)
        )
        self.iou_prediction_head = MLP(
            dim, iou_head_hidden_dim, self.num_mask_tokens, depth=iou_head_depth
        )

    def forward(
        self,
        features: Tensor,
        *,
        positions: Callable[[tuple[int, int]], Tensor],
        sparse: Tensor,
        dense: Tensor,
        multimask: bool | None,
        least_score: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decode the prompts of B objects on one image.

        Parameters
        ----------
        features
            (1, D, h, w) image embedding.
        positions
            Gives the positions (1, D, h, w) of the cells of a grid (h, w).
        sparse
            (B, T, D) prompt tokens.
        dense
            (B, D, h, w) mask prompts, or (1, D, 1, 1) where there are none.
        multimask
            All candidates but the lone mask, or only the lone mask; None: the lone mask, then
            the others.
        least_score
            Candidates whose score is not above it are not formed: their logits are
            ``EMPTY_LOGIT``.

        Returns
        -------
        tuple of Tensor
            Low-res logits (B, M, 4 * h, 4 * w), above 0 is object, and predicted IoU (B, M).
        """
        B, (h, w) = sparse.shape[0], features.shape[-2:]
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(B, -1, -1), sparse], dim=1)
        cells = (features + dense).expand(B, -1, -1, -1).flatten(2).transpose(1, 2)
        tokens, cells = self.transformer(
            tokens, cells, image_pe_1PD=positions((h, w)).flatten(2).transpose(1, 2)
        )
        wanted = range(bool(multimask), 1 if multimask is False else self.num_mask_tokens)
        scores = self.iou_prediction_head(tokens[:, 0])[:, wanted.start : wanted.stop]
        cells_BDhw = cells.transpose(1, 2).unflatten(2, (h, w))
        if least_score is None:
            return self._form_masks(tokens, cells_BDhw, wanted), scores
        kept = scores > least_score
        some = kept.any(1)
        formed = self._form_masks(tokens[some], cells_BDhw[some], wanted)
        logits = formed.new_full((B, *formed.shape[1:]), EMPTY_LOGIT)
        logits[some] = formed.masked_fill(~kept[some][:, :, None, None], EMPTY_LOGIT)
        return logits, scores

    def _form_masks(self, tokens_BTD: Tensor, cells_BDhw: Tensor, wanted: range) -> Tensor:
        """Low-res logits (B, M, 4 * h, 4 * w) of the wanted mask tokens."""
        fine = self.output_upscaling(cells_BDhw)
        kernels = torch.stack(
            [self.output_hypernetworks_mlps[i](tokens_BTD[:, 1 + i]) for i in wanted], dim=1
        )
        logits: Tensor = (kernels @ fine.flatten(2)).unflatten(2, fine.shape[-2:])
        return logits


class MLP(nn.Module):
    """``depth`` linear layers with a ReLU between each two."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, *, depth: int) -> None:
        super().__init__()
        widths = [in_dim, *[hidden_dim] * (depth - 1), out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_dim) to (..., out_dim)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = F.relu(layer(x))
        out: Tensor = last(x)
        return out
