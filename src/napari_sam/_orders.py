"""Many objects at once: a worker finds what changes, the window only writes it.

Knows arrays of labels and their edits; knows no window and no files.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam._label_edit import LabelEdit, Region, difference, distinct
from napari_sam._operations import Drawing


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
    """

    drawing: Drawing
    before: NDArray[np.unsignedinteger]
    numbers: Mapping[int, int] | None
    first: int
    overwrite: bool


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
        Number on the canvas -> label; a mask with no free pixel has none.
    """

    region: Region
    before: NDArray[np.unsignedinteger]
    after: NDArray[np.unsignedinteger]
    edit: LabelEdit
    numbers: Mapping[int, int]


def prepare(order: Order) -> Prepared:
    """Find what changes; writes nothing. May be slow: for a worker."""
    before, canvas = order.before, order.drawing.canvas
    free = canvas if order.overwrite else np.where(before == 0, canvas, 0)
    names, ranks = distinct(free.ravel())
    found = [int(name) for name in names if name]
    if order.numbers is None:
        numbers = {name: order.first + index for index, name in enumerate(found)}
    else:
        numbers = {name: order.numbers[name] for name in found}
    table = np.array([numbers.get(int(name), 0) for name in names], before.dtype)
    after = np.where(free != 0, table[ranks].reshape(free.shape), before)
    edit = difference(before, after, order.drawing.offset)
    return Prepared(order.drawing.region, before, after, edit, numbers)
