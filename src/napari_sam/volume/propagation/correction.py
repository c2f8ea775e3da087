"""A click on an object that is there already: it changes the object around the click, and no more.

The model answers a correction with a new mask of the whole object, which is often worse far from
the click. Only the piece of the change that the click lies on is taken, and no click is in vain.
Knows shapes and prompts.
"""

import math

import numpy as np
from scipy import ndimage

from napari_sam.core.prompts import Prompts
from napari_sam.core.regions import Mask
from napari_sam.volume.propagation.shapes import Shape, union

__all__ = ["anchored", "corrected"]

MOST_CHANGE = 2.5  # factor of area: a correction that changes an object more is none


def anchored(prompts: Prompts, shape: Shape | None) -> Prompts:
    """Clicks that only take away from a labelled object get one on what stays.

    It lies deep in the object and far from those clicks. Without, the model takes all of it away.
    """
    points, labels = prompts.points, prompts.point_labels
    if shape is None or points is None or labels is None or (labels[0] == 1).any():
        return prompts
    place = shape.deepest_but(points[0][labels[0] == 0])
    return Prompts(
        points=np.concatenate([points, place[None, None].astype(np.float32)], 1),
        point_labels=np.concatenate([labels, [[1]]], 1),
        boxes=prompts.boxes,
        mask_logits=prompts.mask_logits,
    )


def corrected(before: Shape, answer: Shape, prompts: Prompts) -> Shape:
    """The object after some clicks.

    Parameters
    ----------
    before
        As it was.
    answer
        What the model makes of it with the clicks.
    prompts
        The clicks. Where there is a box, the answer is taken as it is.

    Returns
    -------
    Shape
        With the pieces that positive clicks lie on, without those that negative ones lie on; where
        the answer has none, or one that would make another object of it, with or without a disc
        around the click that reaches to the outline. As it was where nothing would be left.
    """
    points, labels = prompts.points, prompts.point_labels
    if prompts.boxes is not None or points is None or labels is None:
        return answer if answer.area else before
    region = union(before.region, answer.region) if answer.area else before.region
    for row, column in np.floor(points[0][labels[0] == 1] + 0.5).astype(int):
        region = union(region, (slice(row, row + 1), slice(column, column + 1)))
    mask, wanted = before.within(region), answer.within(region)
    corner = np.array([part.start for part in region])
    for (row, column), label in zip(points[0], labels[0], strict=True):
        at = np.floor(np.array([row, column]) + 0.5).astype(int) - corner
        if label < 0 or (at < 0).any() or (at >= mask.shape).any():
            continue
        place = (int(at[0]), int(at[1]))
        piece = _piece(wanted, mask, place, adds=bool(label == 1))
        mask = mask | piece if label == 1 else mask & ~piece
    return Shape(mask, region).tight() if mask.any() else before


def _piece(wanted: Mask, mask: Mask, at: tuple[int, int], *, adds: bool) -> Mask:
    """What a click changes: the piece of the answer that it lies on, or what is around it.

    The latter where the answer says nothing there, so that no click is in vain, and where it would
    make another object of it: many times larger, or nearly nothing.
    """
    there = mask if adds else ~mask
    if there[at]:
        return np.zeros_like(mask)  # it is so already
    pieces = ndimage.label(wanted & ~mask if adds else mask & ~wanted)[0]
    piece: Mask = (pieces == pieces[at]) & (pieces > 0)
    old, change = int(np.count_nonzero(mask)), int(np.count_nonzero(piece))
    new = old + change if adds else old - change
    if change and old < MOST_CHANGE * max(new, 1) and new < MOST_CHANGE * max(old, 1):
        return piece
    room = np.pad(~mask, 1, constant_values=True) if adds else np.pad(mask, 1)
    far = float(ndimage.distance_transform_edt(room)[1:-1, 1:-1][at])
    most = math.sqrt((MOST_CHANGE - 1) * old / math.pi)
    rows, columns = np.indices(mask.shape)
    disc: Mask = np.hypot(rows - at[0], columns - at[1]) <= min(far, most)
    return disc & ~there
