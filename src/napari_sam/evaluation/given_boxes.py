"""Instance segmentation from given boxes: average precision, by size. Knows results of boxes.

Kirillov et al. 2023, section 7.4, give the boxes of a detector; here they are the true ones, so
that only the masks are judged. Each mask is held against the object of its box, and ranked by its
predicted IoU. A hit is an IoU of at least 0.5, 0.55, ... 0.95; AP is the mean over these of the
area under precision over recall, as COCO's evaluation takes it (Lin et al. 2014). Sizes are those
of COCO: areas up to 32 x 32, up to 96 x 96, and larger.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam.evaluation.interactive import ObjectResult
from napari_sam.evaluation.matching import THRESHOLDS, Ranking, average_precision, make_ranking
from napari_sam.evaluation.metrics import Estimate, estimate_over

SMALL, LARGE = 32**2, 96**2
ROUNDS = 200  # of the bootstrap: a draw costs a sort of all objects


@dataclass(frozen=True)
class BoxPrecision:
    """Average precision of the masks of given boxes.

    Attributes
    ----------
    ap
        Mean over IoU 0.5 to 0.95.
    ap_50, ap_75
        At one IoU.
    by_size
        AP of small, medium and large objects; not a number where there are none.
    counts
        How many of each size.
    """

    ap: Estimate
    ap_50: float
    ap_75: float
    by_size: tuple[float, float, float]
    counts: tuple[int, int, int]


def score_boxes(results: Sequence[ObjectResult], *, seed: int = 0) -> BoxPrecision:
    """Average precision of objects answered by a box each."""
    by_image: dict[str, list[ObjectResult]] = {}
    for result in results:
        by_image.setdefault(result.sample, []).append(result)
    rankings = [_rank(members) for members in by_image.values()]
    small, medium, large = ([r for r in results if size_of(r.area) == k] for k in range(3))
    found = average_precision(rankings)
    return BoxPrecision(
        ap=estimate_over(rankings, _mean_precision, len(results), seed=seed, rounds=ROUNDS),
        ap_50=found[0],
        ap_75=found[THRESHOLDS.index(0.75)],
        by_size=(_of(small), _of(medium), _of(large)),
        counts=(len(small), len(medium), len(large)),
    )


def size_of(area: int) -> int:
    """0 small, 1 medium, 2 large."""
    return int(area > SMALL) + int(area > LARGE)


def _rank(results: Sequence[ObjectResult]) -> Ranking:
    ordered = sorted(results, key=lambda r: -r.predicted_box)
    ious = np.array([result.box for result in ordered])
    hits = ious[None] >= np.array(THRESHOLDS)[:, None]
    return make_ranking([r.predicted_box for r in ordered], hits, len(ordered))


def _of(results: Sequence[ObjectResult]) -> float:
    return _mean_precision([_rank(results)]) if results else float("nan")


def _mean_precision(rankings: Sequence[Ranking]) -> float:
    return float(np.mean(average_precision(rankings)))
