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
from napari_sam.core.regions import Region

FINE = 8  # picture pixels per grid step that the contrast is measured on
FIRST_SHARE = 1 / 16  # of the grid: every 4th point along each side, asked whatever is there
LEAST_CONTRAST = 0.1  # of the strongest: flatter places have no object
REACH = 0.6  # grid steps around a point that are looked at
HALO = 3  # small pixels around a found object that its blurred edge reaches
LARGE = 0.1  # of the crop: so large a mask may be a group or the background
GROUP = 2  # times the median area of the masks so far: likewise, it may be several objects


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
    """From coarse to fine, only where no mask was found and something can be seen beside those.

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
        self._first = round(len(points) * FIRST_SHARE)
        self._pixels = np.floor(points + 0.5).astype(np.int64) + np.array(origin)
        self._most_area = LARGE * picture.shape[0] * picture.shape[1]
        self._areas: list[int] = []
        self._open = np.ones(len(points), bool)
        self._scene = Scene(picture, side, origin=origin)
        self._weak = LEAST_CONTRAST * self._scene.contrast(self._pixels).max(initial=0)

    def next(self, most: int) -> NDArray[np.intp]:
        """The coarsest points that are still open."""
        coarse, rest = self._queue[: self._first], self._queue[self._first :]
        coarse = coarse[self._open[coarse]]
        if not len(coarse):
            rest = rest[self._open[rest]]
            rest = rest[self._scene.contrast(self._pixels[rest]) > self._weak]
        most = min(most, len(coarse)) or most
        self._first = max(0, len(coarse) - most)
        self._queue = np.concatenate([coarse, rest])
        batch, self._queue = self._queue[:most], self._queue[most:]
        return batch

    def found(self, records: Sequence[MaskRecord]) -> None:
        """Close the points on these masks; not on one so large that it may be a group."""
        self._areas += [record.area for record in records]
        most = min(self._most_area, GROUP * float(np.median(self._areas or [0])))
        for record in records:
            if record.area > most:
                continue
            patch, corner = record.patch, [side.start for side in record.region]
            self._open &= ~_on(patch, self._pixels - np.array(corner))
            self._scene.explain(patch, record.region)

    @property
    def left(self) -> int:
        """How many points may still be asked."""
        return int(self._open[self._queue].sum())


class Scene:
    """Where a picture varies, beside the objects that explain it.

    Held at about eight pixels per grid step, so small whatever the picture's size.

    Parameters
    ----------
    picture, side, origin
        As for :class:`AdaptiveGrid`.
    """

    def __init__(self, picture: NDArray[np.uint8], side: int, *, origin: tuple[int, int]) -> None:
        step = max(1.0, min(picture.shape[:2]) / side)
        self._factor, self._origin = max(1, int(step / FINE)), np.array(origin)
        small = np.asarray(Image.fromarray(picture).reduce(self._factor), np.float32)
        self._smooth = ndimage.gaussian_filter(small, (1, 1, 0))
        self._explained = np.zeros(small.shape[:2], bool)
        self._window = (2 * max(1, round(REACH * step / self._factor)) + 1,) * 2 + (1,)
        self._centres = [
            np.floor((np.arange(n) + 0.5) * self._factor).astype(np.int64) + start
            for n, start in zip(small.shape, origin, strict=False)
        ]

    def explain(self, patch: NDArray[np.bool_], region: Region) -> None:
        """Leave out a found object, given as for a record."""
        ranges = [
            np.arange(*np.searchsorted(centres, (side.start, side.stop)))
            for centres, side in zip(self._centres, region, strict=True)
        ]
        y, x = (
            centres[there] - side.start
            for centres, there, side in zip(self._centres, ranges, region, strict=True)
        )
        self._explained[np.ix_(*ranges)] |= patch[np.ix_(y, x)]

    def contrast(self, pixels: NDArray[np.int64]) -> NDArray[np.float32]:
        """(N,) range of the picture near each pixel (y, x of the image), objects left out.

        Between the lightest and the darkest place, of the colour where it is largest; noise is
        averaged out.
        """
        hidden = ndimage.binary_dilation(self._explained, iterations=HALO)[..., None]
        highest = ndimage.maximum_filter(np.where(hidden, -np.inf, self._smooth), self._window)
        lowest = ndimage.minimum_filter(np.where(hidden, np.inf, self._smooth), self._window)
        last = np.array(highest.shape[:2]) - 1
        y, x = np.clip((pixels - self._origin) // self._factor, 0, last).T
        spread: NDArray[np.float32] = np.maximum((highest[y, x] - lowest[y, x]).max(1), 0)
        return spread


def _on(patch: NDArray[np.bool_], pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether pixels, y and x within a patch, lie on its object."""
    inside = ((pixels >= 0) & (pixels < patch.shape)).all(1)
    on = np.zeros(len(pixels), bool)
    y, x = pixels[inside].T
    on[inside] = patch[y, x]
    return on


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
