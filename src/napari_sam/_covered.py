"""The pixels of an object on which others lie: its side record, so that overlaps are not lost.

A Labels layer shows one object in each pixel. What an object has beneath others is kept here.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam._label_edit import Region, enclosing, pack_bits, unpack_bits


@dataclass(frozen=True)
class Covered:
    """A mask somewhere in an array of labels.

    Attributes
    ----------
    offset, shape
        The bounding box, in pixels of the array.
    bits
        Which pixels of the box.
    """

    offset: tuple[int, ...]
    shape: tuple[int, ...]
    bits: bytes = field(repr=False)

    @classmethod
    def of(cls, mask: NDArray[np.bool_], offset: Sequence[int]) -> "Covered | None":
        """Keep a mask whose first pixel lies at ``offset``; None where there is nothing in it."""
        if not mask.any():
            return None
        (place,) = ndimage.find_objects(mask.astype(np.int8))
        tight = mask[place]
        start = tuple(int(o) + part.start for o, part in zip(offset, place, strict=True))
        return cls(start, tight.shape, pack_bits(tight))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which pixels of the box: a new array at each call."""
        return unpack_bits(self.bits, self.shape)

    @property
    def region(self) -> Region:
        """The bounding box as slices."""
        pairs = zip(self.offset, self.shape, strict=True)
        return tuple(slice(start, start + length) for start, length in pairs)

    def on(self, region: Region) -> NDArray[np.bool_]:
        """The mask on a region; what lies beside it is cut off."""
        found = np.zeros([part.stop - part.start for part in region], bool)
        pairs = list(zip(self.region, region, strict=True))
        common = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs]
        if all(part.start < part.stop for part in common):
            found[within(common, region)] = self.mask[within(common, self.region)]
        return found

    def without(self, mask: NDArray[np.bool_], offset: Sequence[int]) -> "Covered | None":
        """Less the pixels of a mask; None where nothing is left."""
        other = Covered.of(mask, offset)
        if other is None:
            return self
        return Covered.of(self.mask & ~other.on(self.region), self.offset)

    def to_json(self) -> list[Any]:
        """As JSON values."""
        bits = base64.b64encode(self.bits).decode("ascii")
        return [list(self.offset), list(self.shape), bits]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> "Covered":
        """What :meth:`to_json` gave."""
        offset, shape, bits = value
        return cls(tuple(offset), tuple(shape), base64.b64decode(bits))


def both(one: Covered | None, other: Covered | None) -> Covered | None:
    """All pixels of two."""
    if one is None or other is None:
        return one or other
    region = enclosing((one.region, other.region))
    return Covered.of(one.on(region) | other.on(region), [part.start for part in region])


def within(part: Sequence[slice], whole: Sequence[slice]) -> Region:
    """A region, as seen from the first pixel of another."""
    pairs = zip(part, whole, strict=True)
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in pairs)
