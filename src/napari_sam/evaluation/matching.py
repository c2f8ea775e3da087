"""Which found objects are which true ones, and the figures that follow. Knows arrays only.

All figures are of counts at a threshold of IoU; those of a data set are of the sums over its
images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from napari_sam.evaluation.metrics import check_alike

THRESHOLDS = tuple(float(t) for t in np.linspace(0.5, 0.95, 10).round(2))
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Counts:
    """Matches of found and true objects at one threshold.

    Attributes
    ----------
    hits
        Pairs with at least that IoU, each object in one pair at most.
    extra
        Found objects that match none.
    missed
        True objects that none matches.
    iou
        Sum over the hits.
    """

    hits: int = 0
    extra: int = 0
    missed: int = 0
    iou: float = 0.0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.hits + other.hits,
            self.extra + other.extra,
            self.missed + other.missed,
            self.iou + other.iou,
        )

    @property
    def f1(self) -> float:
        """2 hits / (found + true objects), 0 to 1; 1 where nothing is there and nothing found."""
        return _ratio(2 * self.hits, 2 * self.hits + self.extra + self.missed)

    @property
    def accuracy(self) -> float:
        """Hits / (hits + extra + missed), 0 to 1.

        "Average precision" of the Data Science Bowl 2018 (Caicedo et al. 2019), "segmentation
        accuracy" of micro-sam (Archit et al. 2025).
        """
        return _ratio(self.hits, self.hits + self.extra + self.missed)

    @property
    def panoptic(self) -> float:
        """Panoptic quality of one class, 0 to 1 (Kirillov et al. 2019); usual at 0.5."""
        return _ratio(self.iou, self.hits + (self.extra + self.missed) / 2)


def iou_table(truth: NDArray[np.integer], found: NDArray[np.integer]) -> NDArray[np.float64]:
    """IoU of every true with every found object.

    Parameters
    ----------
    truth, found
        Label images of one shape, 0 background; labels need not be compact.

    Returns
    -------
    numpy.ndarray
        (true objects, found objects), both in ascending order of their labels.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    check_alike(truth, found)
    _, true = np.unique(np.append(truth.ravel(), 0), return_inverse=True)
    _, seen = np.unique(np.append(found.ravel(), 0), return_inverse=True)
    rows, columns = int(true.max()) + 1, int(seen.max()) + 1
    shared = np.bincount(true[:-1] * columns + seen[:-1], minlength=rows * columns)
    shared = shared.reshape(rows, columns)
    union = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared
    return np.asarray((shared / np.maximum(union, 1))[1:, 1:], np.float64)


def count_matches(ious: NDArray[np.float64], threshold: float) -> Counts:
    """Pair objects so that most have at least the threshold's IoU; of those the largest sum.

    Parameters
    ----------
    ious
        (true, found) objects, as of :func:`iou_table`.
    threshold
        Above 0.
    """
    worth = np.where(ious >= threshold, min(ious.shape) + ious, 0.0)
    pairs = linear_sum_assignment(worth, maximize=True)
    matched = ious[pairs]
    matched = matched[matched >= threshold]
    hits = len(matched)
    return Counts(hits, ious.shape[1] - hits, ious.shape[0] - hits, float(matched.sum()))


@dataclass(frozen=True)
class Ranking:
    """Scored objects of one image, for average precision.

    Attributes
    ----------
    scores
        (found,) descending.
    hits
        (thresholds, found) whether each matches a true object that no surer one took.
    n_true
        Number of true objects.
    """

    scores: tuple[float, ...]
    hits: tuple[tuple[bool, ...], ...]
    n_true: int


def rank(ious: NDArray[np.float64], scores: Sequence[float]) -> Ranking:
    """Let found objects take true ones, the surest first, at every threshold (as COCO does).

    Parameters
    ----------
    ious
        (true, found).
    scores
        Of the found.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    hits = np.zeros((len(THRESHOLDS), len(order)), bool)
    for row, threshold in enumerate(THRESHOLDS):
        free = np.ones(len(ious), bool)
        for place, column in enumerate(order):
            fitting = np.where(free, ious[:, column], 0.0)
            if len(fitting) and fitting.max() >= threshold:
                free[fitting.argmax()] = False
                hits[row, place] = True
    return make_ranking([scores[place] for place in order], hits, len(ious))


def make_ranking(scores: Sequence[float], hits: NDArray[np.bool_], n_true: int) -> Ranking:
    """A ranking of found objects (thresholds, found) that are in order."""
    return Ranking(
        tuple(float(score) for score in scores), tuple(tuple(row) for row in hits.tolist()), n_true
    )


def average_precision(rankings: Sequence[Ranking]) -> tuple[float, ...]:
    """Area under precision over recall for each threshold, of all images together.

    Precision is made falling and read at 101 recalls, as COCO's evaluation does (Lin et al. 2014).
    0 where there are true objects and nothing is found, not a number where there are none.
    """
    n_true = sum(ranking.n_true for ranking in rankings)
    if not n_true:
        return (float("nan"),) * len(THRESHOLDS)
    scores = np.concatenate([ranking.scores for ranking in rankings])
    order = np.argsort(-scores, kind="stable")
    shapes = [np.reshape(np.array(r.hits, bool), (len(THRESHOLDS), -1)) for r in rankings]
    hits = np.concatenate(shapes, axis=1)[:, order]
    found = []
    for row in hits:
        right = np.cumsum(row)
        precision = right / np.arange(1, len(row) + 1)
        falling = np.maximum.accumulate(precision[::-1])[::-1]
        place = np.searchsorted(right / n_true, RECALLS, side="left")
        reached = place < len(row)
        found.append(float(np.where(reached, np.append(falling, 0.0)[place], 0.0).mean()))
    return tuple(found)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 1.0
