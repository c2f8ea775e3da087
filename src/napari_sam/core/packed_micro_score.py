"""What the bundled model's score head sees of a prompt's masks, in slices: for ``packed_micro.py``.

Equals ``gather_evidence``: all that is seen of a mask are sums over four kinds of places which
have none in common, so that the slices' sums add up. Knows torch and the plain modules. Suffixes:
M masks, C channels, K kinds of places, X = K * M.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_sam.core.modeling.micro_score_head import (
    CERTAIN,
    overlaps,
    sharpness,
    widen,
)
from napari_sam.core.native.evidence import can_look, look


@dataclass(frozen=True, eq=False)
class Seen:
    """Sums over a slice of the masks.

    Attributes
    ----------
    count, probability
        (K, M) places, and the probabilities there. Kinds: deep inside, the border's inner side,
        its outer side, the rest of the ring around it.
    features
        (K, M, C) of the finer features there.
    wide, sure
        (M,) places that may belong to the mask, that surely do.
    both
        (M, M) places in both of two masks.
    """

    count: Tensor
    probability: Tensor
    features: Tensor
    wide: Tensor
    sure: Tensor
    both: Tensor


def kinds_of(logits_MHW: Tensor) -> Tensor:
    """Which places are of which kind, (K, M, H, W), 0 or 1 in bytes."""
    # A bit a mask: all masks are widened at once. Bytes, since bools take seven times longer to
    # become floats.
    bits = (1 << torch.arange(len(logits_MHW), dtype=torch.uint8))[:, None, None]
    inside = ((logits_MHW > 0).view(torch.uint8) * bits).sum(0, dtype=torch.uint8)
    wider, outside = widen(inside), ~inside
    narrower, widest = ~widen(outside), widen(wider)
    kinds = torch.stack([narrower, inside & ~narrower, wider & outside, widest & ~wider])
    return kinds[:, None].bitwise_and(bits).clamp_(max=1)


def looker(logits_MHW: Tensor, fine_HWC: Tensor) -> Callable[[slice], Seen]:
    """What looks at some rows of the masks and of the features there."""
    if can_look(logits_MHW, fine_HWC):
        return lambda rows: Seen(*look(logits_MHW, fine_HWC, rows, certain=CERTAIN))
    kinds = kinds_of(logits_MHW)
    return lambda rows: look_at(logits_MHW[:, rows], kinds[:, :, rows], fine_HWC[rows])


def look_at(logits_MHW: Tensor, kinds_KMHW: Tensor, fine_HWC: Tensor) -> Seen:
    """Sums over some rows of the masks, with their kinds and the features there."""
    masks = len(logits_MHW)
    places_XN = kinds_KMHW.flatten(2).flatten(0, 1).float()
    inside = places_XN[:masks] + places_XN[masks : 2 * masks]
    probability = logits_MHW.sigmoid().flatten(1)
    features = places_XN @ fine_HWC.flatten(0, 1)
    return Seen(
        count=places_XN.sum(-1).view(-1, masks),
        probability=(places_XN @ probability.t()).view(-1, masks, masks).diagonal(0, 1, 2),
        features=features.view(-1, masks, features.shape[1]),
        wide=(probability > CERTAIN).sum(-1),
        sure=(probability > 1 - CERTAIN).sum(-1),
        both=inside @ inside.t(),
    )


def evidence_of(iou_token_D: Tensor, mask_tokens_MD: Tensor, seen: list[Seen]) -> Tensor:
    """All that the head sees of each mask, (M, E): see ``gather_evidence``."""
    count, probability, features, wide, sure, both = (
        torch.stack([getattr(each, name) for each in seen]).sum(0)
        for name in ("count", "probability", "features", "wide", "sure", "both")
    )
    area, border = count[0] + count[1], count[1] + count[2]

    def mean(*kinds: int) -> Tensor:
        return probability[list(kinds)].sum(0) / count[list(kinds)].sum(0).clamp(min=1)

    inside, ring, inner, outer, deep = mean(0, 1), mean(2, 3), mean(1), mean(2), mean(0)
    regions = torch.stack([features[[0, 1]], features[[2, 3]], features[[1, 2]]]).sum(1)
    areas = torch.stack([area, count[2] + count[3], border])
    pooled = regions / areas.clamp(min=1)[..., None]
    return torch.cat(
        [
            iou_token_D.expand(len(mask_tokens_MD), -1),
            mask_tokens_MD,
            sharpness(area, border, wide, sure, (inside, ring, inner, outer, deep)),
            overlaps(both[None], area[None])[0],
            pooled.transpose(0, 1).flatten(1),
        ],
        -1,
    )
