"""Shapes of one object on a plane, and between planes: distances, blends, extrapolation.

All distances are in units of space, by the spacing of rows and columns. Knows masks only.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam.core.regions import Mask, Region, Size, shift, tight_region

__all__ = ["Shape", "blend", "extrapolate", "overlap_of", "shrunk", "union"]

Spacing = tuple[float, float]
FAR = 1e6
ROOM = 2  # pixels that an extrapolated shape may reach beyond both


@dataclass(frozen=True, eq=False)
class Shape:
    """Pixels of an object: a mask and where it lies in the plane.

    Attributes
    ----------
    mask, region
        Bool of the region's size, and half-open slices along rows and columns.
    """

    mask: Mask
    region: Region

    @classmethod
    def of(cls, mask: Mask) -> "Shape":
        """Of a mask of the whole plane."""
        region = tight_region(mask)
        return cls(mask[region], region)

    @property
    def area(self) -> int:
        """Pixels."""
        return int(np.count_nonzero(self.mask))

    def within(self, region: Region) -> Mask:
        """The part in a region of the plane, (h, w) of the region."""
        height, width = (max(0, part.stop - part.start) for part in region)
        out = np.zeros((height, width), bool)
        both = [
            slice(max(a.start, b.start), min(a.stop, b.stop))
            for a, b in zip(self.region, region, strict=True)
        ]
        if all(part.start < part.stop for part in both):
            to, source = (
                tuple(
                    slice(part.start - frame.start, part.stop - frame.start)
                    for part, frame in zip(both, where, strict=True)
                )
                for where in (region, self.region)
            )
            out[to] = self.mask[source]
        return out

    def deepest(self, count: int, spacing: Spacing) -> NDArray[np.float64]:
        """Up to so many (row, column) far from all that is outside and from each other.

        The first is the maximum of the distance transform; each further one is deepest where depth
        counts no more than the distance to those before.
        """
        depth = ndimage.distance_transform_edt(np.pad(self.mask, 1), sampling=spacing)[1:-1, 1:-1]
        corner = np.array([part.start for part in self.region], float)
        rows, columns = np.ogrid[: self.mask.shape[0], : self.mask.shape[1]]
        found: list[tuple[int, int]] = []
        left = depth
        while len(found) < count and left.max(initial=0) > 0:
            row, column = (int(n) for n in np.unravel_index(int(left.argmax()), left.shape))
            found.append((row, column))
            apart = np.hypot((rows - row) * spacing[0], (columns - column) * spacing[1])
            left = np.where(self.mask, np.minimum(left, apart / 2), 0)
        return np.asarray(np.array(found, float).reshape(-1, 2) + corner)

    def deepest_but(self, others: NDArray[Any]) -> NDArray[np.float64]:
        """(row, column) that lies deep inside and far from some positions (N, 2) of the plane."""
        depth = ndimage.distance_transform_edt(np.pad(self.mask, 1))[1:-1, 1:-1]
        corner = np.array([part.start for part in self.region], float)
        rows, columns = np.ogrid[: self.mask.shape[0], : self.mask.shape[1]]
        for row, column in np.asarray(others, float) - corner:
            depth = np.minimum(depth, np.hypot(rows - row, columns - column) / 2)
        at = np.unravel_index(int(np.where(self.mask, depth, -1).argmax()), depth.shape)
        return np.asarray(np.array(at, float) + corner)

    def signed(self, region: Region, spacing: Spacing) -> NDArray[np.float32]:
        """Signed distance to the outline in a region of the plane, positive inside."""
        mask = self.within(region)
        if not mask.any():
            return np.full(mask.shape, -FAR, np.float32)
        inside = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1]
        outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
        return np.asarray(inside - outside, np.float32)

    def centre(self) -> NDArray[np.float64]:
        """(row, column) of the middle of its pixels."""
        rows, columns = np.nonzero(self.mask)
        corner = np.array([part.start for part in self.region], float)
        return np.asarray(np.array([rows.mean(), columns.mean()]) + corner)

    def moved(self, by: tuple[int, int]) -> "Shape":
        """Shifted by whole pixels; it may leave the plane."""
        return Shape(self.mask, shift(self.region, by))

    def clipped(self, size: Size) -> "Shape":
        """Without what lies outside a plane of ``size``."""
        starts = [min(max(p.start, 0), n) for p, n in zip(self.region, size, strict=True)]
        stops = [min(max(p.stop, 0), n) for p, n in zip(self.region, size, strict=True)]
        region = (slice(starts[0], max(stops[0], starts[0])),
                  slice(starts[1], max(stops[1], starts[1])))  # fmt: skip
        return Shape(self.within(region), region).tight()

    def tight(self) -> "Shape":
        """The same in its tight region."""
        inner = tight_region(self.mask)
        return Shape(self.mask[inner], shift(inner, (self.region[0].start, self.region[1].start)))


def union(first: Region, second: Region) -> Region:
    """The smallest region that holds both."""
    rows, columns = (
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(first, second, strict=True)
    )
    return (rows, columns)


def overlap_of(first: Shape, second: Shape) -> float:
    """IoU of two shapes; 0 where both are empty."""
    both = int(np.count_nonzero(first.mask & second.within(first.region)))
    total = first.area + second.area - both
    return both / total if total else 0.0


def blend(low: Shape, high: Shape, share: float, spacing: Spacing) -> Shape:
    """A shape between two: ``share`` of the way from ``low`` to ``high``, by signed distance.

    The shapes are moved onto one middle first, so that an object that moves farther than it is
    wide stays an object.
    """
    a, b = low.centre(), high.centre()
    middle = a + share * (b - a)
    first, second = (shape.moved(_whole(middle - at)) for shape, at in ((low, a), (high, b)))
    region = union(first.region, second.region)
    mixed = (1 - share) * first.signed(region, spacing) + share * second.signed(region, spacing)
    both = union(low.region, high.region)  # whole pixels may lead beyond, and off the plane
    return Shape(Shape(mixed > 0, region).within(both), both).tight()


def shrunk(shape: Shape, by: float, spacing: Spacing) -> Shape:
    """A shape whose outline has moved inwards by this share of its greatest depth, 0 to 1."""
    depth = shape.signed(shape.region, spacing) - min(spacing) / 2  # of the middle of a pixel
    return Shape(depth > by * float(depth.max(initial=0)), shape.region).tight()


def extrapolate(before: Shape, last: Shape, spacing: Spacing, size: Size) -> Shape:
    """What comes after two shapes if motion and growth go on; ``last`` where nothing would be left.

    The middle moves on as it moved; the signed distance changes on as it changed.
    """
    by = _whole(last.centre() - before.centre())
    aligned = before.moved(by)
    around = union(aligned.region, last.region)
    region = (
        slice(around[0].start - ROOM, around[0].stop + ROOM),
        slice(around[1].start - ROOM, around[1].stop + ROOM),
    )
    grown = 2 * last.signed(region, spacing) - aligned.signed(region, spacing)
    found = Shape(grown > 0, region).tight().moved(by).clipped(size)
    return found if found.area else last


def _whole(by: NDArray[np.float64]) -> tuple[int, int]:
    return (round(float(by[0])), round(float(by[1])))
