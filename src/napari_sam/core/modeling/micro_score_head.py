"""How good each mask of the bundled model is: its predicted IoU, from what can be seen of it.

A mask that follows borders in the image has other features inside than around it; one that the
decoder was sure of is sharp; one that the other candidates agree with is seldom wrong. The head
sees all three. Measured against tokens and sharpness alone in dev/LOG.md. Knows torch only.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

NUM_REGIONS = 3  # inside, ring around, border
NUM_STATISTICS = 10
HIDDEN = (128, 64)
CERTAIN = 0.269  # the sigmoid of -1: a logit step either way of the mask's border


class ScoreHead(nn.Module):
    """Tokens, masks and fine features to the predicted IoU of each of M masks.

    Parameters
    ----------
    dim
        Width of a token.
    fine_chans
        Channels of the features at the masks' resolution.
    num_masks
        Masks of a prompt, M.
    """

    input_mean: Tensor
    input_std: Tensor

    def __init__(self, dim: int, fine_chans: int, num_masks: int) -> None:
        super().__init__()
        inputs = 2 * dim + NUM_STATISTICS + (num_masks - 1) + NUM_REGIONS * fine_chans
        self.register_buffer("input_mean", torch.zeros(inputs))
        self.register_buffer("input_std", torch.ones(inputs))
        self.layers = nn.Sequential(
            nn.Linear(inputs, HIDDEN[0]),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(*HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN[1], 1),
        )

    def forward(self, evidence_BME: Tensor) -> Tensor:
        """Predicted IoU (B, M) in 0 to 1 from :func:`gather_evidence`."""
        scaled = (evidence_BME.float() - self.input_mean) / self.input_std
        scores: Tensor = self.layers(scaled)[..., 0].float().sigmoid()
        return scores


def gather_evidence(
    iou_token_BD: Tensor,
    mask_tokens_BMD: Tensor,
    logits_BMHW: Tensor,
    regions_B3MHW: Tensor,
    pooled_B3MC: Tensor,
) -> Tensor:
    """All that the head sees of each mask, (B, M, E)."""
    b, m = mask_tokens_BMD.shape[:2]
    inside = regions_B3MHW[:, 0]
    parts = [
        iou_token_BD[:, None].expand(-1, m, -1),
        mask_tokens_BMD,
        mask_statistics(logits_BMHW, regions_B3MHW),
        agreement(inside),
        pooled_B3MC.transpose(1, 2).reshape(b, m, -1),
    ]
    return torch.cat([part.float() for part in parts], -1)


@torch.no_grad()
def mask_regions(logits_BMHW: Tensor) -> Tensor:
    """Where each mask is, a ring of two cells around it, and both sides of its border.

    (B, 3, M, H, W) float32, 0 or 1, without gradient.
    """
    inside = logits_BMHW.detach() > 0
    wider, narrower = widen(inside), ~widen(~inside)
    return torch.stack([inside, widen(wider) & ~inside, wider & ~narrower], 1).float()


def widen(mask: Tensor) -> Tensor:
    """The mask and all 8-neighbours of its cells, (..., H, W); bools, or bytes of a bit a mask."""
    # Shifts: max-pooling takes ten times longer on CPUs.
    for axis in (-2, -1):
        length = mask.shape[axis] - 1
        wider = mask.clone()
        wider.narrow(axis, 1, length).bitwise_or_(mask.narrow(axis, 0, length))
        wider.narrow(axis, 0, length).bitwise_or_(mask.narrow(axis, 1, length))
        mask = wider
    return mask


@torch.no_grad()
def pool_features(regions_BRN: Tensor, fine_BNC: Tensor) -> Tensor:
    """Mean of the features in each region, (B, R, C); zeros where a region is empty."""
    sums = regions_BRN @ fine_BNC.detach().float()
    return sums / regions_BRN.sum(-1, keepdim=True).clamp(min=1)


@torch.no_grad()
def agreement(inside_BMHW: Tensor) -> Tensor:
    """IoU of each mask with the others, best first, (B, M, M - 1)."""
    masks = inside_BMHW.flatten(2)
    both = masks @ masks.transpose(1, 2)
    areas = masks.sum(-1)
    return overlaps(both, areas)


def overlaps(both_BMM: Tensor, areas_BM: Tensor) -> Tensor:
    """:func:`agreement` from areas, and the areas that two masks share."""
    either = areas_BM[:, :, None] + areas_BM[:, None, :] - both_BMM
    iou = both_BMM / either.clamp(min=1)
    own = torch.eye(areas_BM.shape[1], dtype=torch.bool, device=areas_BM.device)
    return iou.masked_fill(own, -1).sort(-1, descending=True).values[..., :-1]


@torch.no_grad()
def mask_statistics(logits_BMHW: Tensor, regions_B3MHW: Tensor) -> Tensor:
    """How sharp each mask is, (B, M, 10), without gradient.

    Log size, stability (area over +1 against over -1 logits), mean probability inside, share of
    undecided cells, whether there is any mask; log size of the border; mean probability in the
    ring, in the border's inner and outer side, and deep inside.
    """
    probability = logits_BMHW.detach().float().sigmoid().flatten(2)
    inside, ring, border = regions_B3MHW.flatten(3).unbind(1)
    area, border_area = inside.sum(-1), border.sum(-1)
    wide = (probability > CERTAIN).float().sum(-1)
    sure = (probability > 1 - CERTAIN).float().sum(-1)
    regions = (inside, ring, border * inside, border * (1 - inside), inside * (1 - border))
    means = [(probability * each).sum(-1) / each.sum(-1).clamp(min=1) for each in regions]
    return sharpness(area, border_area, wide, sure, means)


def sharpness(
    area: Tensor, border_area: Tensor, wide: Tensor, sure: Tensor, means: Sequence[Tensor]
) -> Tensor:
    """:func:`mask_statistics` from sums, (..., 10).

    Parameters
    ----------
    area, border_area
        (...) cells of the mask and of its border.
    wide, sure
        (...) cells whose logit is above -1 and above +1.
    means
        (...) mean probability inside, in the ring, in the border's inner and outer side, and deep
        inside.
    """
    inside, *others = means
    stability = sure / wide.clamp(min=1)
    sizes = [
        (area + 1).log() / 8,
        stability,
        inside,
        wide * (1 - stability) / (area + 16).sqrt() / 8,
        (area > 0).float(),
        (border_area + 1).log() / 8,
    ]
    return torch.stack([*sizes, *others], -1)
