"""A click on an object that is there already: it changes the object around the click, and no more.

The model answers a correction with a new mask of the whole object, which is often worse far from
the click. Only the piece of the change that the click lies on is taken. Knows shapes and prompts.
"""

import numpy as np
from scipy import ndimage

from napari_sam.core.prompts import Prompts
from napari_sam.core.regions import Mask
from napari_sam.volume.propagation.shapes import Shape, union

__all__ = ["anchored", "corrected"]


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
        With the pieces that positive clicks lie on, without those that negative ones lie on; as it
        was where nothing would be left.
    """
    points, labels = prompts.points, prompts.point_labels
    if prompts.boxes is not None or points is None or labels is None:
        return answer if answer.area else before
    region = union(before.region, answer.region) if answer.area else before.region
    mask, wanted = before.within(region), answer.within(region)
    corner = np.array([part.start for part in region])
    for (row, column), label in zip(points[0], labels[0], strict=True):
        at = np.floor(np.array([row, column]) + 0.5).astype(int) - corner
        if label < 0 or (at < 0).any() or (at >= mask.shape).any():
            continue
        change = wanted & ~mask if label == 1 else mask & ~wanted
        piece = _piece(change, (int(at[0]), int(at[1])))
        mask = mask | piece if label == 1 else mask & ~piece
    return Shape(mask, region).tight() if mask.any() else before


def _piece(change: Mask, at: tuple[int, int]) -> Mask:
    """The piece of a change that a click lies on; none where it lies on none."""
    pieces = ndimage.label(change)[0]
    piece: Mask = (pieces == pieces[at]) & change
    return piece
