"""Objects of one frame and the next, linked by the pixels that they share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import TrackingError
from napari_sam.tracking.endings import with_events
from napari_sam.tracking.events import Division
from napari_sam.tracking.proposal import Proposal
from napari_sam.tracking.scan import Scan
from napari_sam.volume.overlaps import Overlaps

__all__ = ["OverlapParams", "divisions_by_overlap", "link_by_ids", "link_by_overlap"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class OverlapParams:
    """When objects that share pixels are one.

    Attributes
    ----------
    iou
        Least IoU of an object with itself in the next frame, above 0 to 1.
    covered
        Least share of a child that lies where its parent was, above 0 to 1.

    Raises
    ------
    TrackingError
        A value is out of its range.
    """

    iou: float = 0.1
    covered: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in ("iou", "covered"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise TrackingError(f"{name} is {value!r}; it must be above 0 and at most 1.")


def link_by_overlap(scan: Scan, params: OverlapParams | None = None) -> Proposal:
    """Link objects so that the sum of their IoU is largest; propose the rest as events.

    Objects that have no partner in the next frame are looked for in those after it, as far as the
    scan's gap. An object without a past that lies where another one was, which goes on elsewhere,
    is proposed as a division.

    Parameters
    ----------
    scan
        The objects and what they share.
    params
        When to link; None takes the defaults.
    """
    params = params or OverlapParams()
    objects = scan.objects
    free, new = np.ones(len(objects), bool), np.ones(len(objects), bool)
    links = [np.zeros((0, 2), np.int64)]
    for step in range(1, scan.gap + 2):
        for time in range(objects.frames - step):
            pairs = scan.overlaps[time, time + step]
            fit = pairs.iou(objects.size, objects.size)
            usable = (fit >= params.iou) & free[pairs.first] & new[pairs.second]
            chosen = _best(pairs.where(usable), fit[usable])
            free[chosen[:, 0]] = False
            new[chosen[:, 1]] = False
            links.append(chosen)
    linked = np.concatenate(links)
    return with_events(scan, linked, divisions_by_overlap(scan, linked, params.covered))


def link_by_ids(scan: Scan, params: OverlapParams | None = None) -> Proposal:
    """Take labels as tracks that are right already: equal labels are one object.

    Also across frames in which it is missing, however many. Divisions are proposed as in
    :func:`link_by_overlap`.
    """
    params = params or OverlapParams()
    order = np.lexsort((scan.objects.frame, scan.objects.label))
    same = np.diff(scan.objects.label[order]) == 0
    linked = np.stack([order[:-1][same], order[1:][same]], 1)
    return with_events(scan, linked, divisions_by_overlap(scan, linked, params.covered))


def divisions_by_overlap(scan: Scan, links: Numbers, covered: float) -> tuple[Division, ...]:
    """Objects without a past that lie where another one was, which goes on elsewhere.

    Parameters
    ----------
    scan
        The objects and what they share.
    links
        (M, 2) rows that are linked.
    covered
        Least share of such an object that lies on the parent.
    """
    objects = scan.objects
    after, before = np.full(len(objects), -1), np.full(len(objects), -1)
    after[links[:, 0]] = links[:, 1]
    before[links[:, 1]] = links[:, 0]
    found: list[Division] = []
    for time in range(1, objects.frames):
        pairs = scan.overlaps[time - 1, time]
        share = pairs.pixels / objects.size[pairs.second]
        heirs: dict[int, list[int]] = {}
        for index in np.argsort(-share, kind="stable"):
            parent, child = int(pairs.first[index]), int(pairs.second[index])
            goes_on = after[parent] >= 0 and objects.frame[after[parent]] == time
            if before[child] < 0 and goes_on and share[index] >= covered:
                heirs.setdefault(parent, [int(after[parent])]).append(child)
                before[child] = parent  # it has one parent
        found += [_division(scan, pairs, parent, heirs[parent]) for parent in sorted(heirs)]
    return tuple(found)


def _division(scan: Scan, pairs: Overlaps, parent: int, children: list[int]) -> Division:
    objects = scan.objects
    sizes = objects.size[children]
    shared = pairs.pixels[(pairs.first == parent) & np.isin(pairs.second, children)].sum()
    alike = len(children) * sizes.min() / sizes.sum()
    return Division(
        int(objects.label[parent]),
        tuple(int(label) for label in objects.label[children]),
        int(objects.frame[children[0]]),
        float(shared / sizes.sum() * alike),
    )


def _best(pairs: Overlaps, fit: NDArray[np.float64]) -> Numbers:
    """(N, 2) of the pairs, each object once, so that their IoU is largest in sum."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    rows, row = np.unique(pairs.first, return_inverse=True)
    columns, column = np.unique(pairs.second, return_inverse=True)
    if not len(rows):
        return np.zeros((0, 2), np.int64)
    alone = np.arange(len(rows))  # a column for each row to be left alone in, at the price of 2
    costs = coo_array(
        (
            np.concatenate([2 - fit, np.full(len(rows), 2.0)]),
            (np.concatenate([row, alone]), np.concatenate([column, len(columns) + alone])),
        ),
        shape=(len(rows), len(columns) + len(rows)),
    )
    first, second = min_weight_full_bipartite_matching(costs.tocsr())
    linked = second < len(columns)
    return np.stack([rows[first[linked]], columns[second[linked]]], 1)
