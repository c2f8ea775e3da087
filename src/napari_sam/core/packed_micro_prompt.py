"""The dense prompt of the bundled model, left as a product of low rank: for ``packed_micro.py``.

Equals the dense half of :class:`MicroPromptEncoder`. Knows torch and the plain modules. Suffixes as
in ``core/packed_micro_blocks.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.modeling.micro_prompt_encoder import (
    BACKGROUND,
    BOTTOM_RIGHT,
    OBJECT,
    TOP_LEFT,
    MicroPromptEncoder,
)

SCALES = (6.0, 20.0, 64.0)  # of the hints, see micro_prompt_encoder
Fill = Callable[[slice], None]


@dataclass(frozen=True, eq=False)
class ImageSide:
    """What all prompts on one image share.

    Attributes
    ----------
    grid
        (h, w) of the stride-8 grid; P = h * w.
    cells, positions
        (P, D) image embedding and positions of its cells.
    keys, values, queries
        (H, d, P), (H, P, d), (H, d, P): of the cells in the first block, without biases and
        without the dense prompt.
    skip
        (P, 4 * C) finer features of the four quarters of each cell, bias of the upscaling added,
        centred.
    centres
        (1, P, 2) centres of the cells in model pixels, x and y.
    """

    grid: tuple[int, int]
    cells: Tensor
    positions: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor
    skip: Tensor
    centres: Tensor


@dataclass(frozen=True, eq=False)
class DensePrompt:
    """The dense prompt as ``codes.T @ weights``: what differs between cells has a low rank.

    Attributes
    ----------
    codes
        (R, P), the last row all ones; those of a slice of cells hold after ``fill``.
    weights
        (R, D), the last row what all cells get.
    fill
        Computes the codes of a slice of cells.
    """

    codes: Tensor
    weights: Tensor
    fill: Fill


class DenseEncoder:
    """The dense half of :class:`MicroPromptEncoder`, left as a product."""

    def __init__(self, plain: MicroPromptEncoder) -> None:
        first, _, second = plain.hint
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        self.first, self.second = first, second
        self.rank = first.out_features + 1  # without a mask
        self.scales = torch.tensor(SCALES)[:, None]
        self.no_mask = plain.no_mask_embed
        *self.mask_layers, last = plain.mask_downscaling
        assert isinstance(last, nn.Conv2d)
        self.mask_weight, self.mask_bias = last.weight.flatten(1), last.bias

    def __call__(
        self,
        side: ImageSide,
        points_N2: Tensor,
        labels_N: Tensor,
        mask_1hw: Tensor | None,
        *,
        out: Tensor,
    ) -> DensePrompt:
        """Codes and weights of one prompt; arguments as of ``MicroPromptEncoder.dense``.

        ``out`` (``rank``, P) gets the codes where there is no mask; with one there are more.
        """
        weights = [self.second.weight.t()]
        constant: Tensor = self.second.bias
        codes = out
        if mask_1hw is None:
            constant = constant + self.no_mask
        else:
            soft = (mask_1hw[None] / 4).clamp(-5, 5)
            for layer in self.mask_layers:
                soft = layer(soft)
            codes = torch.cat([out[:-1], soft[0].flatten(1), out[-1:]])
            weights.append(self.mask_weight.t())
            assert self.mask_bias is not None
            constant = constant + self.mask_bias
        codes[-1] = 1
        fill = self._fill(codes[: self.rank - 1], side, points_N2, labels_N)
        return DensePrompt(codes, torch.cat([*weights, constant[None]]), fill)

    def _fill(self, codes_RP: Tensor, side: ImageSide, points_N2: Tensor, labels_N: Tensor) -> Fill:
        """What computes the hidden layer of the hints, (32, P), for a slice of cells.

        Only the features that can differ from zero are computed: without a click of a sign its
        three are ``exp(-inf)`` (slow on CPUs as it underflows), without a box the last three are 0.
        """
        # cdist as in the plain module, of all cells at once: its rounding (through a matrix
        # product, from some number of cells on) was trained with.
        distance = torch.cdist(points_N2[None], side.centres)[0]
        nearest: list[Tensor] = []
        columns: list[int] = []
        for offset, sign in ((0, OBJECT), (3, BACKGROUND)):
            chosen = labels_N == sign
            if chosen.any():
                nearest.append(distance[chosen].amin(0))
                columns += range(offset, offset + 3)
        corners = [points_N2[labels_N == kind].sum(0) for kind in (TOP_LEFT, BOTTOM_RIGHT)]
        boxed = bool((labels_N == TOP_LEFT).any())
        if boxed:
            columns += range(6, 9)
        weight, bias = self.first.weight[:, columns], self.first.bias[:, None]

        def fill(part: slice) -> None:
            features = [torch.exp(-each[part] / self.scales) for each in nearest]
            if boxed:
                centres = side.centres[0, part]
                inside = torch.minimum(
                    (centres - corners[0]).amin(-1), (corners[1] - centres).amin(-1)
                )
                ones = torch.ones_like(inside)
                features.append(torch.stack([(inside / 8).tanh(), (inside / 32).tanh(), ones]))
            hidden = torch.addmm(bias, weight, torch.cat(features)) if features else bias
            codes_RP[:, part] = F.gelu(hidden)

        return fill
