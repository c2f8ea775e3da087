"""A closer look at objects that are small for the model: a crop around each, enlarged.

The bundled model is best on objects of 20 to 150 canvas pixels. For smaller ones, a crop in which
they are about 50 pixels long is better by 0.1 IoU; for larger ones it is not (measured on training
images: dev/LOG.md). Says where to look and what to ask there; of both answers the predictor keeps
the one with the higher predicted IoU. Only models whose registry entry asks for it: SAM's answers
stay as they are.
"""

from dataclasses import dataclass
from math import ceil, floor, log2

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.frame import Frame
from napari_sam.core.prompts import Prompts
from napari_sam.core.regions import Region, tight_region
from napari_sam.core.upscale import restore_region

SMALL = 20.0  # canvas pixels of an object's longer side: from here on the whole is as good
AROUND = 2.5  # least side of a crop, in longer sides of the object
CANVAS = 160  # side of a crop as the model sees it: the object is 45 to 64 pixels long
STEPS = 2  # sizes of crops for each doubling, and
SHIFTS = 8  # positions for each side of a crop: a corrected mask mostly keeps its crop
MOST_PIXELS = 2**24  # of a picture that is kept for closer looks: 50 MB
LOOKS_KEPT = 32  # crops whose embeddings are kept: 0.6 MB each
PADDING = -1  # the label of a point that is none

Bounds = NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """A crop of the image, and its size for the model.

    Attributes
    ----------
    y, x
        First row and column of the crop, in pixels of the image.
    height, width
        Of the crop, in pixels of the image.
    long_side
        Canvas pixels of its longer side.
    """

    y: int
    x: int
    height: int
    width: int
    long_side: int

    @property
    def region(self) -> Region:
        """Half-open slices along y and x, in pixels of the image."""
        return (slice(self.y, self.y + self.height), slice(self.x, self.x + self.width))


def closer_look(
    prompts: Prompts, index: int, low_res_hw: NDArray[np.float32], frame: Frame
) -> Look | None:
    """Where to look closer at one object; None where the whole image shows it well enough.

    Parameters
    ----------
    prompts, index
        Which of the objects; in pixels of the image.
    low_res_hw
        (h, w) its answer in the whole image: how large it is when no box says so.
    frame
        Of the whole image.
    """
    bounds = _bounds(prompts, index, low_res_hw, frame)
    if bounds is None:
        return None
    long = float((bounds[1] - bounds[0]).max())
    if not 0 < long * max(frame.scale) < SMALL:
        return None
    side = 2.0 ** (ceil(log2(long * AROUND) * STEPS) / STEPS)
    raster = side / SHIFTS
    middle = np.round(bounds.mean(0) / raster) * raster
    first = [max(0, floor(m - side / 2)) for m in middle]
    last = [min(n, ceil(m + side / 2)) for m, n in zip(middle, frame.original, strict=True)]
    height, width = (b - a for a, b in zip(first, last, strict=True))
    if min(height, width) < 1:
        return None
    return Look(first[0], first[1], height, width, round(CANVAS * max(height, width) / side))


def prompts_in(prompts: Prompts, index: int, look: Look, frame: Frame) -> Prompts:
    """What was said about one object, in pixels of a crop; clicks beyond the crop are left out."""
    points = labels = boxes = mask = None
    corner = np.array([look.y, look.x])
    if prompts.points is not None and prompts.point_labels is not None:
        points = prompts.points[index] - corner
        inside = ((points >= -0.5) & (points <= np.array([look.height, look.width]) - 0.5)).all(1)
        labels = np.where(inside, prompts.point_labels[index], PADDING)[None]
        points = np.where(inside[:, None], points, 0)[None]
    if prompts.boxes is not None:
        boxes = (prompts.boxes[index] - np.tile(corner, 2))[None]
    if prompts.mask_logits is not None:
        given = prompts.mask_logits[index]
        whole = given.shape == frame.original
        mask = (given[look.region] if whole else restore_region(frame, given, look.region))[None]
    return Prompts(points=points, point_labels=labels, boxes=boxes, mask_logits=mask)


def _bounds(
    prompts: Prompts, index: int, low_res_hw: NDArray[np.float32], frame: Frame
) -> Bounds | None:
    """(2, 2) first and last y, x of the object in pixels of the image: its box, or its answer."""
    if prompts.boxes is not None:
        return np.asarray(prompts.boxes[index], np.float64).reshape(2, 2)
    rows, columns = tight_region(low_res_hw > 0)
    if rows.start == rows.stop:
        return None
    cells = np.array([[rows.start, columns.start], [rows.stop, columns.stop]], np.float64)
    found: Bounds = cells * frame.mask_stride / np.array(frame.scale)
    if prompts.points is None or prompts.point_labels is None:
        return found
    clicks = prompts.points[index][prompts.point_labels[index] == 1]
    together = np.concatenate([found, clicks])
    return np.asarray(np.stack([together.min(0), together.max(0)]))
