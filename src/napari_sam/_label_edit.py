"""What changed in an array of labels: where, from which label, to which. To be undone and stored.

Knows arrays and bits; knows no layers and no objects. An edit costs what it touches: a bounding box
and a packed bit a pixel for each pair of labels, never a whole array.
"""

import base64
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from napari_sam.errors import EditError

Region = tuple[slice, ...]
MOST_COUNTED = 1 << 22  # numbers up to it are counted, not sorted


class LabelImage(Protocol):
    """An array of labels that is read and written by region: a napari layer or plain numpy."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        ...

    @property
    def largest(self) -> int:
        """The highest label that its dtype can hold."""
        ...

    @property
    def locked(self) -> bool:
        """Whether labels that are there must stay, whatever the session says."""
        ...

    def highest(self) -> int:
        """The highest label that is in it, as far as is known."""
        ...

    def read(self, region: Region) -> NDArray[Any]:
        """A copy of a region."""
        ...

    def write(self, region: Region, values: NDArray[Any]) -> None:
        """Replace a region."""
        ...


@dataclass(frozen=True, eq=False)
class Change:
    """Pixels that went from one label to another.

    Attributes
    ----------
    before, after
        The labels; 0 is background.
    offset, shape
        The bounding box, in pixels of the array.
    count
        How many pixels.
    bits
        Which pixels of the box: a bit each in C order, packed, deflated.
    """

    before: int
    after: int
    offset: tuple[int, ...]
    shape: tuple[int, ...]
    count: int
    bits: bytes

    @property
    def region(self) -> Region:
        """The bounding box as slices."""
        pairs = zip(self.offset, self.shape, strict=True)
        return tuple(slice(start, start + length) for start, length in pairs)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which pixels of the box."""
        return unpack_bits(self.bits, self.shape)


@dataclass(frozen=True, eq=False)
class LabelEdit:
    """All changes of one step; no pixel is in two of them."""

    changes: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)

    @property
    def nbytes(self) -> int:
        """Bytes of the masks."""
        return sum(len(change.bits) for change in self.changes)

    @property
    def region(self) -> Region:
        """The bounding box of all changes; there must be one."""
        starts = np.array([change.offset for change in self.changes])
        stops = starts + [change.shape for change in self.changes]
        return tuple(map(slice, starts.min(0).tolist(), stops.max(0).tolist()))

    def inverse(self) -> "LabelEdit":
        """The edit that takes this one back."""
        return LabelEdit(
            tuple(
                Change(one.after, one.before, one.offset, one.shape, one.count, one.bits)
                for one in self.changes
            )
        )

    def apply(self, labels: LabelImage) -> None:
        """Write it, but only where a pixel still has the label that it is expected to have.

        Raises
        ------
        EditError
            It is of labels of another shape.
        """
        if not self.changes:
            return
        region, shape = self.region, labels.shape
        if len(region) != len(shape) or any(
            part.start < 0 or part.stop > n for part, n in zip(region, shape, strict=True)
        ):
            raise EditError(f"The change lies outside the labels, which have {shape} pixels.")
        values = labels.read(region)
        for one in self.changes:
            part, mask = values[inside(one.region, region)], one.mask
            mask &= part == one.before
            part[mask] = one.after
        labels.write(region, values)


NO_EDIT = LabelEdit()


def difference(
    before: NDArray[Any], after: NDArray[Any], offset: Sequence[int] | None = None
) -> LabelEdit:
    """The edit that leads from one array to another of the same shape.

    Parameters
    ----------
    before, after
        Labels.
    offset
        Where the arrays begin in the array of all labels; None: they are all of it.
    """
    origin = tuple(offset) if offset is not None else (0,) * before.ndim
    changed = before != after
    if not changed.any():
        return LabelEdit()
    olds, old = distinct(before[changed])
    news, new = distinct(after[changed])
    pairs, index = distinct(old * len(news) + new)
    canvas = np.zeros(before.shape, np.int32)
    canvas[changed] = index + 1
    changes = []
    for number, region in enumerate(find_objects(canvas)):
        mask = canvas[region] == number + 1
        i, j = divmod(int(pairs[number]), len(news))
        place = tuple(int(o) + part.start for o, part in zip(origin, region, strict=True))
        changes.append(
            Change(int(olds[i]), int(news[j]), place, mask.shape, int(mask.sum()), pack_bits(mask))
        )
    return LabelEdit(tuple(changes))


def distinct(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The values (n,) that occur, ascending, and for each element of a flat array which it is.

    As numpy's ``unique``, but without sorting the pixels where the numbers are small.
    """
    if values.size == 0 or int(values.min()) < 0 or int(values.max()) > MOST_COUNTED:
        names, ranks = np.unique(values, return_inverse=True)
        return names, ranks
    present = np.bincount(values) > 0
    return np.flatnonzero(present), (np.cumsum(present) - 1)[values]


def pack_bits(mask: NDArray[np.bool_]) -> bytes:
    """A bit a pixel in C order, deflated."""
    return zlib.compress(np.packbits(mask).tobytes(), 1)


def unpack_bits(bits: bytes, shape: Sequence[int]) -> NDArray[np.bool_]:
    """What :func:`pack_bits` was given."""
    packed = np.frombuffer(zlib.decompress(bits), np.uint8)
    return np.unpackbits(packed, count=math.prod(shape)).view(bool).reshape(shape)


def enclosing(regions: Iterable[Region]) -> Region:
    """The smallest region that holds all of these; there must be one."""
    axes = zip(*regions, strict=True)
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in axes)


def inside(part: Region, whole: Region) -> Region:
    """A region in pixels of a larger one that holds it."""
    pairs = zip(part, whole, strict=True)
    return tuple([slice(a.start - b.start, a.stop - b.start) for a, b in pairs])


def edit_to_json(edit: LabelEdit) -> list[list[Any]]:
    """An edit as JSON values."""
    return [
        [
            one.before,
            one.after,
            list(one.offset),
            list(one.shape),
            one.count,
            base64.b64encode(one.bits).decode("ascii"),
        ]
        for one in edit.changes
    ]


def edit_from_json(value: Sequence[Sequence[Any]]) -> LabelEdit:
    """What :func:`edit_to_json` gave."""
    return LabelEdit(
        tuple(
            Change(before, after, tuple(offset), tuple(shape), count, base64.b64decode(bits))
            for before, after, offset, shape, count, bits in value
        )
    )


class ArrayLabels:
    """A numpy array as a :class:`LabelImage`.

    Parameters
    ----------
    data
        Unsigned integers; written in place.
    """

    locked = False

    def __init__(self, data: NDArray[Any]) -> None:
        self.data = data

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return self.data.shape

    @property
    def largest(self) -> int:
        """The highest label that its dtype can hold."""
        return int(np.iinfo(self.data.dtype).max)

    def highest(self) -> int:
        """The highest label that is in it."""
        return int(self.data.max(initial=0))

    def read(self, region: Region) -> NDArray[Any]:
        """A copy of a region."""
        return self.data[region].copy()

    def write(self, region: Region, values: NDArray[Any]) -> None:
        """Replace a region."""
        self.data[region] = values
