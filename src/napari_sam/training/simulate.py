"""Simulated annotators for training: first prompts, and clicks where the last mask is wrong.

Kirillov et al. 2023, appendix A: a random point of the object or a noisy box first, then points
drawn from the error region; and more ways of asking, as a mix. Works on whole batches, in (x, y)
pixels of the crop. Random numbers come from a generator on the tensors' device.
"""

from dataclasses import fields
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
from napari_sam.training.params import PromptMix

BOX_NOISE, BOX_NOISE_MOST = 0.08, 20.0  # of a side; pixels
LOOSE_MOST = 0.5  # of a side, added on each side
GRID_STEPS = (8, 16, 32)  # pixels between the points of a grid
SCRIBBLE_CLICKS = 6
SURE = 6.0  # logit of a coarse mask
KINDS = tuple(f.name for f in fields(PromptMix))
BOXES = tuple(KINDS.index(name) for name in ("tight_box", "noisy_box", "loose_box"))


class PromptBatch(NamedTuple):
    """Prompts of P objects.

    Attributes
    ----------
    points, labels
        (P, N, 2) x, y and (P, N).
    is_box
        (P,) bool.
    mask
        (P, 1, h, w) logits where coarse masks are what is given, else None.
    """

    points: Tensor
    labels: Tensor
    is_box: Tensor
    mask: Tensor | None = None


def tight_boxes(masks_PHW: Tensor) -> Tensor:
    """x0, y0, x1, y1 of each mask's outermost pixel edges, (P, 4)."""
    rows, columns = masks_PHW.any(2), masks_PHW.any(1)
    return torch.stack([_first(columns), _first(rows), _last(columns), _last(rows)], 1).float()


def _first(flags_PN: Tensor) -> Tensor:
    return flags_PN.int().argmax(1)


def _last(flags_PN: Tensor) -> Tensor:
    return flags_PN.shape[1] - flags_PN.flip(1).int().argmax(1)


def first_prompts(
    masks_PHW: Tensor,
    soft_PHW: Tensor,
    stride: int,
    generator: torch.Generator,
    mix: PromptMix | None = None,
) -> PromptBatch:
    """A first prompt for each object, of a kind drawn from the mix.

    ``soft`` (P, h, w) is the mask averaged over cells of ``stride`` pixels.
    """
    weights = torch.tensor([getattr(mix or PromptMix(), name) for name in KINDS])
    weights = (weights / weights.sum()).to(generator.device)
    draw = torch.rand(1, generator=generator, device=generator.device)
    if bool(draw < weights[KINDS.index("coarse_mask")]):
        return _mask_prompts(soft_PHW, generator)
    others = weights.clone()
    others[KINDS.index("coarse_mask")] = 0
    kind = torch.multinomial(others, len(masks_PHW), replacement=True, generator=generator)
    clicks = _first_clicks(soft_PHW, stride, kind, generator)
    boxes = _first_boxes(masks_PHW, kind, generator)
    is_box = torch.isin(kind, torch.tensor(BOXES, device=kind.device))
    points = torch.stack(
        [
            torch.where(is_box[:, None], boxes[:, :2], clicks),
            torch.where(is_box[:, None], boxes[:, 2:], 0.0),
        ],
        1,
    )
    labels = torch.stack(
        [torch.where(is_box, TOP_LEFT, OBJECT), torch.where(is_box, BOTTOM_RIGHT, PADDING)], 1
    )
    scribbled = kind == KINDS.index("scribble")
    if scribbled.any():
        more = _scribbles(soft_PHW, clicks, stride, generator)
        points = torch.cat([points, more], 1)
        signs = torch.where(scribbled, OBJECT, PADDING)[:, None].expand(-1, more.shape[1])
        labels = torch.cat([labels, signs], 1)
    return PromptBatch(points, labels, is_box)


def _first_clicks(
    soft_PHW: Tensor, stride: int, kind: Tensor, generator: torch.Generator
) -> Tensor:
    """A click for each object: random, deep inside, or on a grid that has a point inside."""
    noise = _rand(soft_PHW.shape, generator)
    is_random = (kind == KINDS.index("random")) | (kind == KINDS.index("scribble"))
    wish = torch.where(is_random[:, None, None], noise, _centrality(soft_PHW) + 0.05 * noise) * (
        soft_PHW > 0.5
    )
    on_grid = _grid(soft_PHW, stride, generator) & (soft_PHW > 0.5)
    chosen = (kind == KINDS.index("grid")) & on_grid.flatten(1).any(1)
    wish = torch.where(chosen[:, None, None], noise * on_grid, wish)
    return pick_cells(wish + soft_PHW * 1e-3, stride, generator)


def _grid(soft_PHW: Tensor, stride: int, generator: torch.Generator) -> Tensor:
    """Cells (1, h, w) with a point of one of the grids that automatic masks ask on."""
    which = int(torch.randint(len(GRID_STEPS), (1,), generator=generator, device=generator.device))
    step = max(1, GRID_STEPS[which] // stride)
    grid = torch.zeros_like(soft_PHW[:1], dtype=torch.bool)
    grid[:, step // 2 :: step, step // 2 :: step] = True
    return grid


def _first_boxes(masks_PHW: Tensor, kind: Tensor, generator: torch.Generator) -> Tensor:
    """The box x0, y0, x1, y1 of each object: tight, moved, or enlarged."""
    boxes = tight_boxes(masks_PHW)
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    count, device = len(boxes), generator.device
    strength = torch.rand(count, 1, generator=generator, device=device)
    jitter = torch.randn(count, 4, generator=generator, device=device) * BOX_NOISE * sides
    jitter = (jitter * strength).clamp(-BOX_NOISE_MOST, BOX_NOISE_MOST)
    outward = torch.tensor([-1.0, -1.0, 1.0, 1.0], device=device)
    loose = _rand((count, 4), generator) * LOOSE_MOST * sides * outward
    noisy, wide = (kind == KINDS.index(name) for name in ("noisy_box", "loose_box"))
    return boxes + jitter * noisy[:, None] + loose * wide[:, None]


def _scribbles(soft_PHW: Tensor, clicks: Tensor, stride: int, generator: torch.Generator) -> Tensor:
    """Clicks (P, K, 2) along a line from each click to elsewhere inside the object."""
    noise = _rand(soft_PHW.shape, generator) * (soft_PHW > 0.5) + soft_PHW * 1e-3
    ends = pick_cells(noise, stride, generator)
    part = torch.linspace(0, 1, SCRIBBLE_CLICKS + 1, device=clicks.device)[1:, None]
    line = clicks[:, None] + (ends - clicks)[:, None] * part
    size = soft_PHW.shape[-1]
    x, y = (line / stride).long().clamp(0, size - 1).unbind(-1)
    rows = torch.arange(len(line), device=line.device)[:, None]
    inside = soft_PHW[rows, y, x] > 0.5
    return torch.where(inside[..., None], line, ends[:, None])


def _mask_prompts(soft_PHW: Tensor, generator: torch.Generator) -> PromptBatch:
    """A blurred mask, moved by up to two cells and grown or shrunk, and no click."""
    count, device = len(soft_PHW), generator.device
    blurred = F.avg_pool2d(soft_PHW[:, None], 5, 1, 2)
    by = torch.randint(-2, 3, (2,), generator=generator, device=device)
    blurred = blurred.roll((int(by[0]), int(by[1])), (2, 3))
    level = 0.25 + 0.5 * torch.rand(count, 1, 1, 1, generator=generator, device=device)
    mask = ((blurred - level) * 4 * SURE).clamp(-SURE, SURE)
    points = torch.zeros(count, 1, 2, device=device)
    labels = torch.full((count, 1), PADDING, device=device)
    return PromptBatch(points, labels, torch.zeros(count, dtype=torch.bool, device=device), mask)


def _rand(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


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
    wobble = (_rand((count, 2), generator) - 0.5) * 0.6
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
    central = _rand((wrong.shape[0],), generator)[:, None, None] < 0.6
    noise = _rand(wrong.shape, generator)
    points = pick_cells(
        wrong * (noise * 0.3 + torch.where(central, _centrality(wrong), noise)), stride, generator
    )
    size = masks_PHW.shape[-1]
    x, y = points.long().clamp(0, size - 1).unbind(-1)
    labels = masks_PHW[torch.arange(len(points), device=points.device), y, x].long()
    return points, labels
