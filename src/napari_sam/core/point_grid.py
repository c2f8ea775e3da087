"""Which points of a crop's grid to ask next: all in turn, or only where something may still be.

Knows points, pictures and records; asks no model.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from napari_sam.core.masks import MaskRecord

FINE = 8  # picture pixels per grid step that the contrast is measured on
FIRST_SHARE = 1 / 16  # of the grid: every 4th point along each side, asked whatever is there
LEAST_CONTRAST = 0.1  # of the strongest: flatter places have no object
LARGE = 0.1  # of the crop: so large a mask may be a group or the background


class PointGrid(Protocol):
    """Points of one crop that are asked batch by batch."""

    def next(self, most: int) -> NDArray[np.intp]:
        """Numbers of the points to ask now, at most so many; none when all is done."""
        ...

    def found(self, records: Sequence[MaskRecord]) -> None:
        """Take note of good masks that were found."""
        ...

    @property
    def left(self) -> int:
        """How many points may still be asked."""
        ...


class FullGrid:
    """All points, in their order."""

    def __init__(self, count: int) -> None:
        self._asked, self._count = 0, count

    def next(self, most: int) -> NDArray[np.intp]:
        """The next points."""
        batch = np.arange(self._asked, min(self._asked + most, self._count))
        self._asked += len(batch)
        return batch

    def found(self, records: Sequence[MaskRecord]) -> None:
        """Changes nothing."""

    @property
    def left(self) -> int:
        """How many points were not asked yet."""
        return self._count - self._asked


class AdaptiveGrid:
    """From coarse to fine, leaving out points that lie on a mask found or on a flat place.

    Parameters
    ----------
    picture
        (H, W, 3) uint8 that the model sees.
    points
        (side * side, 2) y, x in pixels of the picture, row by row.
    side
        Points along each side.
    origin
        (y, x) of the picture in the image that records speak of.
    """

    def __init__(
        self,
        picture: NDArray[np.uint8],
        points: NDArray[np.float64],
        side: int,
        *,
        origin: tuple[int, int],
    ) -> None:
        self._queue = dither_order(side)
        self._pixels = np.floor(points + 0.5).astype(np.int64) + np.array(origin)
        self._most_area = LARGE * picture.shape[0] * picture.shape[1]
        self._open = np.ones(len(points), bool)
        contrast = local_contrast(picture, points, side)
        flat = contrast < LEAST_CONTRAST * contrast.max(initial=0.0)
        flat[self._queue[: round(len(points) * FIRST_SHARE)]] = False
        self._open &= ~flat

    def next(self, most: int) -> NDArray[np.intp]:
        """The coarsest points that are still open."""
        self._queue = self._queue[self._open[self._queue]]
        batch, self._queue = self._queue[:most], self._queue[most:]
        return batch

    def found(self, records: Sequence[MaskRecord]) -> None:
        """Close the points that lie on these masks, unless a mask is so large that it may hide some."""
        for record in records:
            if record.area > self._most_area:
                continue
            start = np.array([side.start for side in record.region])
            stop = np.array([side.stop for side in record.region])
            inside = ((self._pixels >= start) & (self._pixels < stop)).all(1) & self._open
            if inside.any():
                places = np.flatnonzero(inside)
                y, x = (self._pixels[places] - start).T
                self._open[places] = ~record.patch[y, x]

    @property
    def left(self) -> int:
        """How many points are still open."""
        return int(self._open[self._queue].sum())


def dither_order(side: int) -> NDArray[np.intp]:
    """Numbers of the points of a square grid such that any first part of them is spread evenly.

    The order of Bayer's dither matrix: every 4th point along each side comes first, then those in
    the middle of four, and so on.
    """
    y, x = (index.ravel() + 2 for index in np.indices((side, side)))
    rank = np.zeros(side * side, np.int64)
    for _ in range(int(side + 1).bit_length()):
        rank = 4 * rank + 2 * ((x ^ y) & 1) + (y & 1)
        y, x = y >> 1, x >> 1
    return np.argsort(rank, kind="stable")


def local_contrast(
    picture: NDArray[np.uint8], points: NDArray[np.float64], side: int
) -> NDArray[np.float32]:
    """(N,) how much the picture varies within a grid step around each point, noise averaged out.

    The difference between the lightest and the darkest place, of the colour where it is largest.
    """
    step = max(1.0, min(picture.shape[:2]) / side)
    factor = max(1, int(step / FINE))
    small = np.asarray(Image.fromarray(picture).reduce(factor), np.float32)
    smooth = ndimage.gaussian_filter(small, (1, 1, 0))
    size = (2 * max(1, round(step / factor)) + 1,) * 2 + (1,)
    spread = ndimage.maximum_filter(smooth, size) - ndimage.minimum_filter(smooth, size)
    last = np.array(spread.shape[:2]) - 1
    y, x = np.clip((points / factor).astype(np.intp), 0, last).T
    return np.asarray(spread.max(2)[y, x], np.float32)
