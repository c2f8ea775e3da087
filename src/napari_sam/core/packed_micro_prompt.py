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
from napari_sam.core.native.first import HintLayer

SCALES = (6.0, 20.0, 64.0)  # of the hints, see micro_prompt_encoder
Step = Callable[[slice], None]


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
    hints, look
        What the first codes are made of; ``look`` computes its features for a slice of cells.
    """

    codes: Tensor
    weights: Tensor
    hints: HintLayer
    look: Step

    def fill(self, part: slice) -> None:
        """Compute the codes of a slice of cells."""
        self.look(part)
        hints = self.hints
        bias, features = hints.bias[:, None], hints.features[:, part]
        hidden = torch.addmm(bias, hints.weight, features) if len(features) else bias
        self.codes[: len(bias), part] = F.gelu(hidden)


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
        hints, look = self._hints(side, points_N2, labels_N)
        return DensePrompt(codes, torch.cat([*weights, constant[None]]), hints, look)

    def _hints(
        self, side: ImageSide, points_N2: Tensor, labels_N: Tensor
    ) -> tuple[HintLayer, Step]:
        """The hints' first layer, and what computes its features for a slice of cells.

        Only the features that can differ from zero are computed: without a click of a sign its
        three are ``exp(-inf)`` (slow on CPUs as it underflows), without a box the last three are 0.
        """
        clicks: list[Tensor] = []
        columns: list[int] = []
        for offset, sign in ((0, OBJECT), (3, BACKGROUND)):
            chosen = labels_N == sign
            if chosen.any():
                clicks.append(points_N2[chosen][None])
                columns += range(offset, offset + 3)
        corners = [points_N2[labels_N == kind].sum(0) for kind in (TOP_LEFT, BOTTOM_RIGHT)]
        boxed = bool((labels_N == TOP_LEFT).any())
        if boxed:
            columns += range(6, 9)
        features = torch.empty(len(columns), len(side.cells))

        def look(part: slice) -> None:
            centres = side.centres[:, part]
            for i, points in enumerate(clicks):
                # cdist as in the plain module, whose rounding (through a matrix product) was
                # trained with.
                nearest = torch.cdist(points, centres)[0].amin(0)
                torch.exp(-nearest / self.scales, out=features[3 * i : 3 * i + 3, part])
            if boxed:
                inside = torch.minimum(
                    (centres[0] - corners[0]).amin(-1), (corners[1] - centres[0]).amin(-1)
                )
                ones = torch.ones_like(inside)
                features[-3:, part] = torch.stack([(inside / 8).tanh(), (inside / 32).tanh(), ones])

        return HintLayer(features, self.first.weight[:, columns], self.first.bias), look
