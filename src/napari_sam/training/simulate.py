"""Simulated annotators for training: first prompts, and clicks where the last mask is wrong.

Kirillov et al. 2023, appendix A: a random point of the object or a noisy box first, then points
drawn from the error region. Works on whole batches, in (x, y) pixels of the crop.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam.core.modeling.micro_prompt_encoder import (
    BOTTOM_RIGHT,
    OBJECT,
    PADDING,
    TOP_LEFT,
)

BOX_NOISE, BOX_NOISE_MOST = 0.08, 20.0


class PromptBatch(NamedTuple):
    """Prompts of P objects: ``points`` (P, N, 2) x, y; ``labels`` (P, N); ``is_box`` (P,)."""

    points: Tensor
    labels: Tensor
    is_box: Tensor


def tight_boxes(masks_PHW: Tensor) -> Tensor:
    """x0, y0, x1, y1 of each mask's outermost pixel edges, (P, 4)."""
    rows, columns = masks_PHW.any(2), masks_PHW.any(1)
    return torch.stack([_first(columns), _first(rows), _last(columns), _last(rows)], 1).float()


def _first(flags_PN: Tensor) -> Tensor:
    return flags_PN.int().argmax(1)


def _last(flags_PN: Tensor) -> Tensor:
    return flags_PN.shape[1] - flags_PN.flip(1).int().argmax(1)


def first_prompts(
    masks_PHW: Tensor, soft_PHW: Tensor, stride: int, generator: torch.Generator
) -> PromptBatch:
    """A click (random, or well inside) or a noisy box per object, half and half.

    ``soft`` (P, h, w) is the mask averaged over cells of ``stride`` pixels.
    """
    count = masks_PHW.shape[0]
    is_box = torch.rand(count, generator=generator) < 0.5
    noise = torch.rand(soft_PHW.shape, generator=generator)
    central = _centrality(soft_PHW)
    inside = torch.rand(count, generator=generator)[:, None, None] < 0.6
    wish = torch.where(inside, central + 0.05 * noise, noise) * (soft_PHW > 0.5) + soft_PHW * 1e-3
    clicks = pick_cells(wish, stride, generator)
    boxes = tight_boxes(masks_PHW)
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    strength = torch.rand(count, 1, generator=generator)
    jitter = torch.randn(count, 4, generator=generator) * BOX_NOISE * sides * strength
    boxes = boxes + jitter.clamp(-BOX_NOISE_MOST, BOX_NOISE_MOST)
    choose = is_box[:, None]
    points = torch.stack(
        [torch.where(choose, boxes[:, :2], clicks), torch.where(choose, boxes[:, 2:], 0.0)], 1
    )
    labels = torch.stack(
        [
            torch.where(is_box, TOP_LEFT, OBJECT),
            torch.where(is_box, BOTTOM_RIGHT, PADDING),
        ],
        1,
    )
    return PromptBatch(points, labels, is_box)


def _centrality(soft_PHW: Tensor) -> Tensor:
    """How deep inside its object each cell lies: sum of averages over growing windows."""
    depth = soft_PHW[:, None]
    total = depth
    for side in (5, 17):
        if side < soft_PHW.shape[-1]:
            total = total + F.avg_pool2d(depth, side, 1, side // 2, count_include_pad=True)
    return total[:, 0]


def pick_cells(score_PHW: Tensor, stride: int, generator: torch.Generator) -> Tensor:
    """Position x, y in pixels of the best cell of each map, moved a little within the cell."""
    count, _, w = score_PHW.shape
    best = score_PHW.flatten(1).argmax(1)
    cells = torch.stack([best % w, torch.div(best, w, rounding_mode="floor")], -1).float()
    wobble = (torch.rand(count, 2, generator=generator) - 0.5) * 0.6
    return (cells + 0.5 + wobble) * stride


def corrective_clicks(
    predicted_PHW: Tensor,
    masks_PHW: Tensor,
    soft_PHW: Tensor,
    stride: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """One click per object in its error region: points (P, 2) and labels (P,) 1 or 0.

    ``predicted`` (P, h, w) bool. An object without error gets another click inside.
    """
    target = soft_PHW > 0.5
    wrong = predicted_PHW != target
    right = ~wrong.flatten(1).any(1)[:, None, None]
    wrong = torch.where(right, target, wrong).float()
    central = torch.rand(wrong.shape[0], generator=generator)[:, None, None] < 0.6
    noise = torch.rand(wrong.shape, generator=generator)
    points = pick_cells(
        wrong * (noise * 0.3 + torch.where(central, _centrality(wrong), noise)), stride, generator
    )
    size = masks_PHW.shape[-1]
    x, y = points.long().clamp(0, size - 1).unbind(-1)
    labels = masks_PHW[torch.arange(len(points)), y, x].long()
    return points, labels
