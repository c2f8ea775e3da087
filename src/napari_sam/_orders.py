"""Many objects at once: a worker finds what changes, the window only writes it.

Knows arrays of labels and their edits; knows no window and no files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_sam._covered import Covered, both
from napari_sam._label_edit import LabelEdit, Region, difference, distinct
from napari_sam._operations import Drawing, require_room
from napari_sam._overlaps import beneath


@dataclass(frozen=True, eq=False)
class Order:
    """What should be written.

    Attributes
    ----------
    drawing
        Masks; the numbers on its canvas are any but 0.
    before
        The labels there, when this was ordered.
    numbers
        Number on the canvas -> label. None: from ``first`` on, without gaps.
    first
        The first label that is free.
    overwrite
        Whether other objects may lose pixels.
    overlaps
        Whether who does not get a pixel remembers it.
    among
        Number on the canvas -> its pixels on which others of the drawing lie.
    """

    drawing: Drawing
    before: NDArray[np.unsignedinteger]
    numbers: Mapping[int, int] | None
    first: int
    overwrite: bool
    overlaps: bool = False
    among: Mapping[int, Covered] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Prepared:
    """What an order comes to.

    Attributes
    ----------
    region, before, after
        Where labels change, from what, to what.
    edit
        The same, as a step keeps it.
    numbers
        Number on the canvas -> label; a mask of which nothing is kept has none.
    covered
        Number on the canvas -> its pixels on which others lie, where overlaps are kept.
    """

    region: Region
    before: NDArray[np.unsignedinteger]
    after: NDArray[np.unsignedinteger]
    edit: LabelEdit
    numbers: Mapping[int, int]
    covered: Mapping[int, Covered]


def prepare(order: Order) -> Prepared:
    """Find what changes; writes nothing. May be slow: for a worker.

    Raises
    ------
    EditError
        The dtype of the labels has no room.
    """
    before, canvas = order.before, order.drawing.canvas
    free = canvas if order.overwrite else np.where(before == 0, canvas, 0)
    names, ranks = distinct(free.ravel())
    found = [int(name) for name in names if name]
    hidden = order.overlaps and not order.overwrite
    below = beneath(before, order.drawing) if hidden else {}
    covered = {
        one: cover
        for one in {*below, *order.among}
        if (cover := both(below.get(one), order.among.get(one))) is not None
    }
    found = sorted({*found, *covered})
    if order.numbers is None:
        numbers = {name: order.first + index for index, name in enumerate(found)}
    else:
        numbers = {name: order.numbers[name] for name in found}
    require_room(int(np.iinfo(before.dtype).max), max(numbers.values(), default=0))
    table = np.array([numbers.get(int(name), 0) for name in names], before.dtype)
    after = np.where(free != 0, table[ranks].reshape(free.shape), before)
    edit = difference(before, after, order.drawing.offset)
    return Prepared(order.drawing.region, before, after, edit, numbers, covered)
