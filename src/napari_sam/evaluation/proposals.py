"""Object proposals: which share of the objects is among the best thousand masks, by size.

Kirillov et al. 2023, section 7.3: the automatic generator with a looser non-maximum suppression
(box IoU 0.9), masks ranked by the mean of predicted IoU and stability, the first 1000 kept. AR@1000
is the recall averaged over IoU 0.5, 0.55, ... 0.95 (Hosang et al. 2016); sizes are COCO's. The
thresholds of the model's automatic defaults stay, so that one grid of points serves both protocols:
a model whose scores are too low loses recall here as it does there. Only recall is measured, so
images that are annotated in part may take part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.evaluation.given_boxes import size_of
from napari_sam.evaluation.matching import THRESHOLDS
from napari_sam.evaluation.metrics import Estimate, Floats, estimate

if TYPE_CHECKING:
    from napari_sam.core.masks import MaskRecord

MOST = 1000
NMS_THRESH = 0.9


@dataclass(frozen=True)
class Recalled:
    """How well the proposals of one image fit its objects.

    Attributes
    ----------
    areas
        Of each true object, in pixels.
    ious
        The best IoU of each with any proposal.
    n_proposals
        How many masks there were.
    """

    areas: tuple[int, ...]
    ious: tuple[float, ...]
    n_proposals: int


@dataclass(frozen=True)
class Recall:
    """AR@1000 of a group: of all objects, and of small, medium and large ones (how many)."""

    everything: Estimate
    by_size: tuple[float, float, float]
    counts: tuple[int, int, int]
    per_image: float


def best_proposals(records: "Sequence[MaskRecord]") -> "list[MaskRecord]":
    """The thousand masks with the best mean of score and stability."""
    return sorted(records, key=lambda r: -(r.score + r.stability))[:MOST]


def average_recall(images: Sequence[Recalled], *, seed: int = 0) -> Recall:
    """AR@1000 of all images together; the interval by bootstrap over images."""
    parts = np.array([[_recall(i.ious) * len(i.ious), len(i.ious)] for i in images], np.float64)
    pairs = [pair for i in images for pair in zip(i.areas, i.ious, strict=True)]
    sizes = [[iou for area, iou in pairs if size_of(area) == k] for k in range(3)]
    small, medium, large = ((_recall(s) if s else float("nan"), len(s)) for s in sizes)
    return Recall(
        everything=estimate(parts, _share, len(pairs), seed=seed),
        by_size=(small[0], medium[0], large[0]),
        counts=(small[1], medium[1], large[1]),
        per_image=float(np.mean([i.n_proposals for i in images])),
    )


def _recall(ious: Sequence[float]) -> float:
    """Share of objects found, mean over thresholds."""
    if not len(ious):
        return 0.0
    return float((np.asarray(ious)[:, None] >= np.array(THRESHOLDS)).mean())


def _share(sums: Floats) -> Floats:
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))
