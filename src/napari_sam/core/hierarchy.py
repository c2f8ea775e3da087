"""Wholes, parts and sub-parts: which mask lies in which.

Knows records only. A mask is part of another if nearly all of it lies in the other, larger one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.masks import MaskRecord, boxes_of
from napari_sam.core.params import Level

LEAST_INSIDE = 0.9  # share of a part's pixels that lie in its whole
MOST_OF_WHOLE = 0.8  # a larger share of the whole is the same object once more, not a part
LOOKED_AT = 256  # pixels of a mask, evenly spread, that stand for all of it
BLOCK = 256  # masks whose boxes are compared with all others at once


def parents(records: Sequence[MaskRecord]) -> list[int | None]:
    """The smallest record that each one is a part of, by index; None for a whole.

    Whether a mask lies in another is judged by 256 of its pixels, evenly spread. One mask at a time
    exists as an array of its region.
    """
    areas = np.array([record.area for record in records], np.int64)
    boxes = boxes_of(records)
    samples = _Samples(records)
    found: list[int | None] = [None] * len(records)
    is_open = areas > 0
    ascending = np.argsort(-areas, kind="stable")[::-1]  # the first that holds a mask is its whole
    for start in range(0, len(records), BLOCK):
        block = ascending[start : start + BLOCK]
        for outer, may in zip(block.tolist(), _may_be_parts(block, areas, boxes), strict=True):
            inner = np.flatnonzero(may & is_open)
            if len(inner):
                shares = _shares_inside(records[outer], *samples.of(inner))
                parts = inner[shares >= LEAST_INSIDE]
                is_open[parts] = False
                for part in parts.tolist():
                    found[part] = outer
    return found


def choose_level(records: Sequence[MaskRecord], level: Level) -> list[MaskRecord]:
    """The records of one level, in their order.

    Parameters
    ----------
    records
        Of one image.
    level
        ``"all"``; ``"whole"``: those that are part of no other; ``"subpart"``: those that have no
        parts; ``"part"``: the parts of wholes, and the wholes that have none. So each level but
        "all" has every object, once.
    """
    if level == "all":
        return list(records)
    of = parents(records)
    with_parts = {parent for parent in of if parent is not None}
    if level == "whole":
        chosen = [parent is None for parent in of]
    elif level == "subpart":
        chosen = [index not in with_parts for index in range(len(of))]
    else:
        chosen = [
            index not in with_parts if parent is None else of[parent] is None
            for index, parent in enumerate(of)
        ]
    return [record for record, wanted in zip(records, chosen, strict=True) if wanted]


class _Samples:
    """256 pixels of each mask's object, taken when they are asked for."""

    def __init__(self, records: Sequence[MaskRecord]) -> None:
        self._records = records
        self._taken = np.zeros(len(records), bool)
        self._y, self._x = (np.empty((len(records), LOOKED_AT), np.int32) for _ in range(2))

    def of(self, indices: NDArray[np.intp]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(N, 256) y and x in the image; some twice where the object has fewer pixels."""
        for index in indices[~self._taken[indices]].tolist():
            self._y[index], self._x[index] = _sample(self._records[index])
            self._taken[index] = True
        return self._y[indices], self._x[indices]


def _sample(record: MaskRecord) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    places = np.flatnonzero(record.patch)
    evenly = np.arange(LOOKED_AT) * ((len(places) - 1) / (LOOKED_AT - 1))  # linspace takes longer
    evenly[-1] = len(places) - 1
    places = places[evenly.astype(np.intp)]
    y, x = np.divmod(places, record.packed.size[1])
    return y + record.region[0].start, x + record.region[1].start


def _may_be_parts(
    outer: NDArray[np.intp], areas: NDArray[np.int64], boxes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(M, N) which of N masks are smaller than one of M, and have enough room in its box."""
    may: NDArray[np.bool_] = areas <= MOST_OF_WHOLE * areas[outer, None]
    room = np.ones(may.shape)
    for low, high in ((0, 2), (1, 3)):
        side = np.minimum(boxes[:, high], boxes[outer, high, None])
        side -= np.maximum(boxes[:, low], boxes[outer, low, None])
        room *= np.maximum(side + 1, 0)
    return may & (room >= LEAST_INSIDE * areas)


def _shares_inside(
    outer: MaskRecord, y: NDArray[np.int32], x: NDArray[np.int32]
) -> NDArray[np.float64]:
    """(N,) share of pixels (N, 256) that lie on the object of a record."""
    height, width = (side + 2 for side in outer.packed.size)
    around = np.zeros((height, width), bool)  # what lies beside the patch reads False
    around[1:-1, 1:-1] = outer.patch
    rows = np.clip(y - (outer.region[0].start - 1), 0, height - 1)
    columns = np.clip(x - (outer.region[1].start - 1), 0, width - 1)
    on: NDArray[np.bool_] = around[rows, columns]
    shares: NDArray[np.float64] = np.count_nonzero(on, axis=1) / LOOKED_AT
    return shares
