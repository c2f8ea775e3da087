"""Overlaps that are not lost: what an object has beneath others, and what comes to light again.

Knows arrays, edits and records; writes nothing. The Labels layer stays the flattened view.
"""

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam._annotated import ObjectRecord
from napari_sam._covered import Covered, both
from napari_sam._label_edit import LabelEdit, LabelImage, difference, inside
from napari_sam._operations import Drawing, Mode


def beneath(before: NDArray[Any], drawing: Drawing, own: int | None = None) -> dict[int, Covered]:
    """Of each mask of a drawing the pixels on which objects but ``own`` lie, by its number.

    ``before``: the labels there.
    """
    others = (before != 0) & (before != (own or 0))
    hidden = np.where(others, drawing.canvas, 0).astype(np.int32)
    found: dict[int, Covered] = {}
    for index, place in enumerate(ndimage.find_objects(hidden), start=1):
        if place is not None:
            start = [o + part.start for o, part in zip(drawing.offset, place, strict=True)]
            covered = Covered.of(hidden[place] == index, start)
            if covered is not None:
                found[index] = covered
    return found


def changed_cover(
    record: ObjectRecord, drawing: Drawing, hidden: Mapping[int, Covered], mode: Mode
) -> Covered | None:
    """What an object has beneath others once it is added to, subtracted from or replaced."""
    more = reduce(both, hidden.values(), None)
    if mode == "replace":
        return more
    if mode == "subtract":
        kept = record.covered
        return None if kept is None else kept.without(drawing.canvas != 0, drawing.offset)
    return both(record.covered, more)


def losses(edit: LabelEdit, objects: Mapping[int, ObjectRecord]) -> dict[int, Covered]:
    """What objects have beneath others, once an edit has taken pixels of theirs for others."""
    found: dict[int, Covered] = {}
    for one in edit.changes:
        if one.before in objects and one.after:
            already = found.get(one.before) or objects[one.before].covered
            more = both(already, Covered.of(one.mask, one.offset))
            if more is not None:
                found[one.before] = more
    return found


def reveal(
    labels: LabelImage, edit: LabelEdit, objects: Iterable[ObjectRecord]
) -> tuple[LabelEdit, dict[int, Covered | None]]:
    """An edit that takes objects away, so that what lay beneath comes to light.

    Parameters
    ----------
    labels
        Before the edit.
    objects
        Those that stay; where several lie beneath, the lowest number comes to light.

    Returns
    -------
    edit, covered
        ``covered``: what objects that came to light still have beneath others.
    """
    staying = sorted(objects, key=lambda one: one.number)
    hidden = [one for one in staying if one.covered is not None]
    if not hidden or not edit:
        return edit, {}
    region = edit.region
    before = labels.read(region)
    after = before.copy()
    for one in edit.changes:
        after[inside(one.region, region)][one.mask] = one.after
    freed, left = (before != 0) & (after == 0), {}
    for record in hidden:
        assert record.covered is not None
        seen = record.covered.on(region) & freed & (after == 0)
        if seen.any():
            after[seen] = record.number
            start = [part.start for part in region]
            left[record.number] = record.covered.without(seen, start)
    return difference(before, after, [part.start for part in region]), left
