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


def parents(records: Sequence[MaskRecord]) -> list[int | None]:
    """The smallest record that each one is a part of, by index; None for a whole.

    Whether a mask lies in another is judged by 256 of its pixels, evenly spread. One mask at a time
    exists as an array of its region.
    """
    areas = np.array([record.area for record in records])
    boxes = boxes_of(records)
    samples = np.array([_sample(record) for record in records]).reshape(-1, LOOKED_AT, 2)
    found: list[int | None] = [None] * len(records)
    for outer in np.argsort(-areas, kind="stable").tolist():  # so that the smallest is the last
        inner = np.flatnonzero(_may_be_parts(outer, areas, boxes))
        if not len(inner):
            continue
        patch = np.pad(records[outer].patch, 1)  # so that what lies beside it reads False
        places = samples[inner] - (boxes[outer, :2] - 1)
        y, x = np.moveaxis(np.clip(places, 0, np.array(patch.shape) - 1), -1, 0)
        shares = patch[y, x].mean(1)
        for part in inner[shares >= LEAST_INSIDE].tolist():
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


def _may_be_parts(
    outer: int, areas: NDArray[np.int64], boxes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which masks are smaller than one, and have enough room in its box."""
    sides = np.minimum(boxes[:, 2:], boxes[outer, 2:]) - np.maximum(boxes[:, :2], boxes[outer, :2])
    room = np.maximum(sides + 1, 0).prod(1)
    parts: NDArray[np.bool_] = (
        (areas > 0) & (areas <= MOST_OF_WHOLE * areas[outer]) & (room >= LEAST_INSIDE * areas)
    )
    return parts


def _sample(record: MaskRecord) -> NDArray[np.int64]:
    """256 pixels (256, 2) of a record's object, y, x in the image; some twice if it has fewer."""
    places = np.flatnonzero(record.patch)
    if not len(places):
        return np.zeros((LOOKED_AT, 2), np.int64)
    places = places[np.linspace(0, len(places) - 1, LOOKED_AT).astype(np.intp)]
    y, x = np.divmod(places, record.packed.size[1])
    return np.stack([y + record.region[0].start, x + record.region[1].start], 1)
