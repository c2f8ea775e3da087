"""How much the objects of two label images overlap. Plain functions on arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Overlaps", "count_overlaps"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Pairs of objects that share pixels.

    Attributes
    ----------
    first, second
        (N,) numbers of the objects in the two images; never the background, 0.
    pixels
        (N,) how many they share.
    """

    first: Numbers
    second: Numbers
    pixels: Numbers

    @classmethod
    def none(cls) -> "Overlaps":
        """No pairs."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty)

    @classmethod
    def total(cls, parts: "list[Overlaps]") -> "Overlaps":
        """Those of several pairs of images together, each pair of objects once."""
        if not parts:
            return cls.none()
        first, second, pixels = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("first", "second", "pixels")
        )
        return cls._once(first, second, pixels)

    @classmethod
    def _once(cls, first: Numbers, second: Numbers, pixels: Numbers) -> "Overlaps":
        order = np.lexsort((second, first))
        first, second, pixels = first[order], second[order], pixels[order]
        if not len(first):
            return cls.none()
        new = np.r_[True, (np.diff(first) != 0) | (np.diff(second) != 0)]
        starts = np.flatnonzero(new)
        return cls(first[starts], second[starts], np.add.reduceat(pixels, starts))

    def iou(self, areas_first: Numbers, areas_second: Numbers) -> NDArray[np.float64]:
        """IoU of each pair; areas by number of the object."""
        union = areas_first[self.first] + areas_second[self.second] - self.pixels
        return self.pixels / union

    def where(self, chosen: NDArray[np.bool_]) -> "Overlaps":
        """Some of the pairs."""
        return Overlaps(self.first[chosen], self.second[chosen], self.pixels[chosen])


def count_overlaps(first: NDArray[Any], second: NDArray[Any]) -> Overlaps:
    """The overlaps of two label images of one shape."""
    both = (first > 0) & (second > 0)
    a, b = first[both].astype(np.int64), second[both].astype(np.int64)
    if not len(a):
        return Overlaps.none()
    width = int(b.max()) + 1
    pairs, pixels = np.unique(a * width + b, return_counts=True)
    return Overlaps(pairs // width, pairs % width, pixels.astype(np.int64))
