"""How well edges fit those that several people have drawn: ODS, OIS, AP, R50. Knows edge maps only.

The evaluation of BSDS (Martin et al. 2004; Arbelaez et al. 2011). At each threshold the thinned
edges are matched with each person's, pixel by pixel, one to one, within 0.0075 of the image's
diagonal. A found pixel is right if any person's matches it; recall counts all people's pixels. The
original takes the cheapest of the largest matchings; here any largest one, which counts the same.
AP counts recalls that no threshold gives as 0, as there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

from napari_sam.evaluation.metrics import Estimate, Floats, Mask, estimate, estimate_over

THRESHOLDS = tuple(float(t) for t in np.linspace(0, 1, 35)[1:-1].round(4))  # 33; the original: 99
TOLERANCE = 0.0075  # of the diagonal
ROUNDS = 200

Tally = tuple[int, int, int, int]
"""At one threshold: people's pixels, found and all; found pixels, right and all."""


@dataclass(frozen=True)
class EdgeScores:
    """Figures of several images.

    Attributes
    ----------
    ods
        Best F1 with one threshold for all images.
    ois
        F1 with the best threshold of each image.
    ap
        Area under precision over recall.
    r50
        Highest recall at a precision of at least 0.5.
    """

    ods: Estimate
    ois: Estimate
    ap: Estimate
    r50: Estimate


def partition_edges(labels: NDArray[np.integer]) -> Mask:
    """One pixel wide edges (H, W) between the segments of a label image."""
    edges = np.zeros(labels.shape, bool)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return np.asarray(skeletonize(edges), bool)


def suppress_non_maxima(edges: Floats) -> Floats:
    """Thin an edge map (H, W) to the ridges of itself (Canny 1986).

    The direction across an edge is that in which the map changes most around a pixel (structure
    tensor: on a ridge itself the gradient vanishes, on both its flanks it does not).
    """
    down, right = np.gradient(ndimage.gaussian_filter(edges, 1.0))
    yy, xy, xx = (ndimage.gaussian_filter(a * b, 2.0) for a, b in
                  ((down, down), (down, right), (right, right)))  # fmt: skip
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    rows, columns = np.indices(edges.shape, float)
    kept = np.ones(edges.shape, bool)
    for side in (-1.0, 1.0):
        place = (rows + side * np.sin(angle), columns + side * np.cos(angle))
        kept &= edges >= ndimage.map_coordinates(edges, place, order=1, mode="nearest") - 1e-9
    return np.where(kept, edges, 0.0)


def tally(edges: Floats, people: Sequence[Mask]) -> tuple[Tally, ...]:
    """Compare an edge map with several people's edges, at every threshold.

    Parameters
    ----------
    edges
        (H, W), 0 to 1, thinned.
    people
        Masks (H, W) of one pixel wide edges.
    """
    radius = TOLERANCE * float(np.hypot(*edges.shape))
    drawn = [np.argwhere(person) for person in people]
    total = sum(len(pixels) for pixels in drawn)
    found = []
    for threshold in THRESHOLDS:
        pixels = np.argwhere(skeletonize(edges >= threshold))
        right = np.zeros(len(pixels), bool)
        recalled = 0
        for theirs in drawn:
            matched = match_pixels(pixels, theirs, radius)
            right |= matched
            recalled += int(np.count_nonzero(matched))
        found.append((recalled, total, int(np.count_nonzero(right)), len(pixels)))
    return tuple(found)


def match_pixels(
    first: NDArray[np.int64], second: NDArray[np.int64], radius: float
) -> NDArray[np.bool_]:
    """(N,) which of the first pixels (N, 2) have a partner among the second (M, 2), one to one."""
    if not len(first) or not len(second):
        return np.zeros(len(first), bool)
    pairs = cKDTree(first).sparse_distance_matrix(cKDTree(second), radius, output_type="ndarray")
    ones = np.ones(len(pairs), np.int8)
    graph = coo_array((ones, (pairs["i"], pairs["j"])), shape=(len(first), len(second))).tocsr()
    return np.asarray(maximum_bipartite_matching(graph, perm_type="column") >= 0)


def score_edges(images: Sequence[Sequence[Tally]], *, seed: int = 0) -> EdgeScores:
    """Figures of all images together; intervals by bootstrap over images."""
    tables = [np.array(image, np.float64) for image in images]
    n = len(tables)

    def best(sums: Floats) -> Floats:
        return np.asarray(_f1(sums.reshape(*sums.shape[:-1], len(THRESHOLDS), 4)).max(-1))

    return EdgeScores(
        ods=estimate(np.stack(tables).reshape(n, -1), best, n, seed=seed),
        ois=estimate_over(tables, _ois, n, seed=seed, rounds=ROUNDS),
        ap=estimate_over(tables, _area, n, seed=seed, rounds=ROUNDS),
        r50=estimate_over(tables, _recall_at_half, n, seed=seed, rounds=ROUNDS),
    )


def _rates(sums: Floats) -> tuple[Floats, Floats]:
    """Recall and precision of sums (..., 4)."""
    recall = sums[..., 0] / np.maximum(sums[..., 1], 1)
    precision = sums[..., 2] / np.maximum(sums[..., 3], 1)
    return recall, precision


def _f1(sums: Floats) -> Floats:
    recall, precision = _rates(sums)
    return np.asarray(2 * recall * precision / np.maximum(recall + precision, 1e-12))


def _ois(tables: Sequence[Floats]) -> float:
    return float(_f1(np.sum([table[_f1(table).argmax()] for table in tables], 0)))


def _area(tables: Sequence[Floats]) -> float:
    recall, precision = _rates(np.sum(tables, 0))
    order = np.argsort(recall)
    marks = np.linspace(0, 1, 101)
    heights = np.interp(marks, recall[order], precision[order], right=0.0)
    return float(np.where(marks < recall.min(), 0.0, heights).mean())


def _recall_at_half(tables: Sequence[Floats]) -> float:
    recall, precision = _rates(np.sum(tables, 0))
    return float(recall[precision >= 0.5].max(initial=0.0))
