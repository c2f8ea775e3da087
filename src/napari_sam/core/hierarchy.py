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
LOOKED_AT = 512  # pixels of a mask, evenly spread, that stand for all of it


def parents(records: Sequence[MaskRecord]) -> list[int | None]:
    """The smallest record that each one is a part of, by index; None for a whole.

    Whether a mask lies in another is judged by 512 of its pixels, evenly spread (all, if it has
    fewer). One mask at a time exists as an array of its region.
    """
    areas = np.array([record.area for record in records])
    boxes, samples = boxes_of(records), [_sample(record) for record in records]
    found: list[int | None] = [None] * len(records)
    for outer in np.argsort(-areas, kind="stable").tolist():  # so that the smallest is the last
        inside = _may_hold(boxes[outer], boxes) & (areas <= MOST_OF_WHOLE * areas[outer])
        inner = np.flatnonzero(inside & (areas > 0))
        if not len(inner):
            continue
        patch = np.pad(records[outer].patch, 1)  # so that what lies beside it reads False
        corner = boxes[outer, :2] - 1
        last = np.array(patch.shape) - 1
        for part in inner.tolist():
            y, x = np.clip(samples[part] - corner, 0, last).T
            if patch[y, x].mean() >= LEAST_INSIDE:
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


def _may_hold(outer: NDArray[np.int64], boxes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which boxes overlap one."""
    before = (boxes[:, :2] <= outer[2:]).all(1)
    overlapping: NDArray[np.bool_] = before & (boxes[:, 2:] >= outer[:2]).all(1)
    return overlapping


def _sample(record: MaskRecord) -> NDArray[np.int64]:
    """Up to 512 pixels (n, 2) of a record's object, y, x in the image."""
    patch = record.patch
    places = np.flatnonzero(patch)
    if len(places) > LOOKED_AT:
        places = places[np.linspace(0, len(places) - 1, LOOKED_AT).astype(np.intp)]
    y, x = np.unravel_index(places, patch.shape)
    corner = (record.region[0].start, record.region[1].start)
    return np.stack([y, x], 1).astype(np.int64) + np.array(corner)
