"""Simulated annotators: where a person would click or draw a box. Knows masks, not models.

Deterministic, unlike the noisy annotators of training: the same object always gets the same
prompts. Coordinates are (y, x) pixels of the image; whole numbers are pixel centres.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam.errors import PromptError
from napari_sam.evaluation.metrics import Mask

Box = tuple[float, float, float, float]


class Click(NamedTuple):
    """A point on the pixel (y, x); ``positive``: this belongs to the object."""

    y: int
    x: int
    positive: bool


def deepest_point(mask: Mask) -> tuple[int, int]:
    """Find the pixel (y, x) of the mask that lies farthest from everything outside it.

    The maximum of the Euclidean distance transform, where the world beyond the image counts as
    outside, so that an object at the border is not clicked on its very edge (Kirillov et al.
    2023, appendix D.1, "center" points). Of equal maxima the first in reading order.

    Raises
    ------
    PromptError
        If the mask is empty.
    """
    region = bounding_region(mask)
    depth = ndimage.distance_transform_edt(np.pad(mask[region], 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return (int(y) + region[0].start, int(x) + region[1].start)


def bounding_region(mask: Mask) -> tuple[slice, slice]:
    """Find the smallest region, half-open, that holds the mask.

    Raises
    ------
    PromptError
        If the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise PromptError("an empty mask has nothing to click on and no box.")
    return (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))


def tight_box(mask: Mask) -> Box:
    """Return y0, x0, y1, x1 of the outer edges of the mask's outermost pixels.

    A pixel reaches half a pixel around its centre, so the pixel (0, 0) alone has the box
    (-0.5, -0.5, 0.5, 0.5).

    Raises
    ------
    PromptError
        If the mask is empty.
    """
    rows, columns = bounding_region(mask)
    return (rows.start - 0.5, columns.start - 0.5, rows.stop - 0.5, columns.stop - 0.5)


def first_click(truth: Mask) -> Click:
    """Click as an annotator begins: positive, deepest inside the object."""
    return Click(*deepest_point(truth), True)


def next_click(predicted: Mask, truth: Mask) -> Click | None:
    """Click where it corrects most: deepest in the largest connected error (edge neighbours).

    Positive where the object was missed, negative where there is too much; None where the
    prediction has no error (Kirillov et al. 2023, appendix A; Sofiiuk et al. 2021, section 3.2).
    """
    missed = largest_component(truth & ~predicted)
    excess = largest_component(predicted & ~truth)
    positive = np.count_nonzero(missed) >= np.count_nonzero(excess)
    error = missed if positive else excess
    return Click(*deepest_point(error), bool(positive)) if error.any() else None


def largest_component(mask: Mask) -> Mask:
    """Keep the largest piece connected by edges; nothing of an empty mask."""
    if not mask.any():
        return mask
    region = bounding_region(mask)
    pieces: NDArray[np.int32] = ndimage.label(mask[region])[0]
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    largest = np.zeros_like(mask)
    largest[region] = pieces == sizes.argmax()
    return largest
