"""What can be done to labels: put, remove, merge, split, reshape. Each says what should change.

Knows arrays and records; writes nothing, remembers nothing. Shapes are changed plane by plane, in
the two axes of the plane in which the object was made; islands are those of the whole object.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam._annotated import ObjectRecord
from napari_sam._covered import Covered
from napari_sam._label_edit import (
    Change,
    LabelEdit,
    LabelImage,
    Region,
    difference,
    distinct,
    enclosing,
    inside,
)
from napari_sam.errors import EditError

Mode = Literal["new", "add", "subtract", "replace"]
Reshape = Literal["fill holes", "largest island", "smooth", "grow", "shrink"]
Position = tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Drawing:
    """Masks to be written: ``canvas`` has numbers 1 to n, its first pixel lies at ``offset``.

    All axes of the labels; 0 is not drawn on. ``among``: of a number its pixels on which others of
    the drawing lie.
    """

    offset: tuple[int, ...]
    canvas: NDArray[Any]
    among: Mapping[int, Covered] = field(default_factory=dict)

    @property
    def region(self) -> Region:
        """Where it lies."""
        pairs = zip(self.offset, self.canvas.shape, strict=True)
        return tuple(slice(start, start + length) for start, length in pairs)

    def on(self, region: Region) -> NDArray[Any]:
        """The canvas on a region that holds it."""
        whole = np.zeros([part.stop - part.start for part in region], self.canvas.dtype)
        whole[inside(self.region, region)] = self.canvas
        return whole


def put_new(
    labels: LabelImage,
    drawing: Drawing,
    first: int,
    *,
    overwrite: bool,
    beneath: Collection[int] = (),
) -> tuple[LabelEdit, dict[int, int]]:
    """Write masks as new labels from ``first`` on, without gaps.

    Returns
    -------
    edit, numbers
        ``numbers``: number in the drawing -> label. A mask with no free pixel gets none, unless
        it is one of ``beneath``: these may lie wholly under others.

    Raises
    ------
    EditError
        The dtype of the labels has no room.
    """
    before = labels.read(drawing.region)
    free = drawing.canvas if overwrite else np.where(before == 0, drawing.canvas, 0)
    found = sorted({int(n) for n in distinct(free.ravel())[0] if n}.union(beneath))
    require_room(labels.largest, first + len(found) - 1)
    new = np.zeros(max([int(drawing.canvas.max(initial=0)), *found]) + 1, before.dtype)
    new[found] = np.arange(first, first + len(found))
    after = np.where(free != 0, new[free], before)
    return difference(before, after, drawing.offset), {
        one: first + index for index, one in enumerate(found)
    }


def put_on(
    labels: LabelImage,
    drawing: Drawing,
    target: ObjectRecord,
    mode: Mode,
    *,
    overwrite: bool,
    beneath: bool = False,
) -> LabelEdit:
    """Add to an object, subtract from it, or replace it; ``beneath``: it may be wholly hidden."""
    if mode not in get_args(Mode) or mode == "new":
        raise ValueError(f"mode is {mode!r}; it must be 'add', 'subtract' or 'replace'.")
    region = enclosing((drawing.region, target.slices))
    before = labels.read(region)
    drawn, own = drawing.on(region) != 0, before == target.number
    after = before.copy()
    if mode == "subtract":
        after[drawn & own] = 0
    else:
        if mode == "replace":
            after[own] = 0
        after[drawn if overwrite else drawn & (after == 0)] = target.number
    if not beneath and not (after == target.number).any():
        raise _nothing_left(target.number)
    return difference(before, after, _start(region))


def replace_labels(labels: LabelImage, records: Sequence[ObjectRecord], number: int) -> LabelEdit:
    """Give all pixels of some objects this label; 0 deletes them."""
    region = enclosing(record.slices for record in records)
    before = labels.read(region)
    chosen = np.isin(before, [record.number for record in records])
    return difference(before, np.where(chosen, before.dtype.type(number), before), _start(region))


def split(
    labels: LabelImage, record: ObjectRecord, points: Sequence[Position], first: int
) -> LabelEdit:
    """Split an object: a part for each point, cut where it is narrow between them.

    The part of the first point keeps the label; the others are ``first`` and on.

    Raises
    ------
    EditError
        Fewer than two points lie on different pixels of the object, or the dtype of the labels has
        no room.
    """
    from skimage.segmentation import watershed

    region = record.slices
    before = labels.read(region)
    mask = before == record.number
    markers = np.zeros(mask.shape, np.int32)
    count = 0
    for point in points:
        at = tuple(round(p) - s for p, s in zip(point, _start(region), strict=True))
        inside = all(0 <= i < n for i, n in zip(at, mask.shape, strict=True))
        if inside and mask[at] and not markers[at]:
            count += 1
            markers[at] = count
    if count < 2:
        raise EditError(
            f"To split object {record.number}, put two or more points on it, one on each part."
        )
    require_room(labels.largest, first + count - 2)
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[(slice(1, -1),) * mask.ndim]
    parts = watershed(-depth, markers, mask=mask)
    numbers = np.array([0, record.number, *range(first, first + count - 1)], before.dtype)
    after = np.where(parts > 0, numbers[parts], before)
    return difference(before, after, _start(region))


def reshape(
    labels: LabelImage,
    records: Sequence[ObjectRecord],
    how: Reshape,
    amount: int = 1,
    *,
    overwrite: bool = False,
) -> LabelEdit:
    """Change the shape of objects one after the other.

    Parameters
    ----------
    how
        ``"fill holes"``; ``"largest island"`` drops all others; ``"smooth"``, ``"grow"`` and
        ``"shrink"`` by ``amount`` pixels.
    overwrite
        Whether what grows may take pixels of other objects.

    Raises
    ------
    EditError
        Nothing would be left of an object.
    """
    if how not in get_args(Reshape):
        raise ValueError(f"how is {how!r}; it must be of {get_args(Reshape)}.")
    pads = [_padded(record, amount + 1, labels.shape) for record in records]
    region = enclosing(pads)
    before = labels.read(region)
    after = before.copy()
    for record, pad in zip(records, pads, strict=True):
        part = after[inside(pad, region)]
        own = part == record.number
        wanted = _SHAPES[how](own, record.axes, amount)
        if not wanted.any():
            raise _nothing_left(record.number)
        part[own & ~wanted] = 0
        part[wanted & ((part == 0) | overwrite)] = record.number
    return difference(before, after, _start(region))


def measure(
    labels: LabelImage,
    edit: LabelEdit,
    known: Mapping[int, ObjectRecord],
    axes: tuple[int, int],
    *,
    named: Iterable[int] = (),
) -> dict[int, ObjectRecord | None]:
    """Records of all objects that an edit has touched, after it was written; None: it is gone.

    Parameters
    ----------
    known
        Records before the edit; others may have drawn since, without a word.
    axes
        Of records that were not known.
    named
        Objects that are looked at whether the edit has touched them or not.
    """
    gains: dict[int, list[Change]] = {}
    losses: dict[int, list[Change]] = {number: [] for number in named if number in known}
    for one in edit.changes:
        if one.before:
            losses.setdefault(one.before, []).append(one)
        if one.after:
            gains.setdefault(one.after, []).append(one)
    found: dict[int, ObjectRecord | None] = {}
    for number in dict.fromkeys((*losses, *gains)):
        record, gained = known.get(number), gains.get(number, [])
        if record is None and len(gained) == 1 and number not in losses:
            found[number] = _born(number, gained[0], axes)  # as all of a thousand new ones
            continue
        seen = [] if record is None or not record.area else [record.slices]
        regions = [one.region for one in gained] + seen
        area = sum(one.count for one in gained) + (0 if record is None else record.area)
        region = enclosing(regions) if regions else None
        if number in losses and region is not None:
            area, region = _look(labels, number, region, (*gained, *losses[number]))
        if region is None:
            found[number] = None
            continue
        place = tuple((part.start, part.stop) for part in region)
        if record is None:
            found[number] = ObjectRecord(number, area, place, axes)
        else:
            found[number] = replace(record, area=area, region=place)
    return found


def _born(number: int, gained: Change, axes: tuple[int, int]) -> ObjectRecord:
    """The record of a new object in one piece."""
    place = tuple([(o, o + n) for o, n in zip(gained.offset, gained.shape, strict=True)])
    return ObjectRecord(number, gained.count, place, axes)


def _look(
    labels: LabelImage, number: int, region: Region, changes: Iterable[Change]
) -> tuple[int, Region | None]:
    """Pixels and bounding box of an object within a region; somebody else may have erased it.

    ``changes`` count as written: of some strokes napari tells before it writes them.
    """
    mask = labels.read(region) == number
    for one in changes:
        both = _common(one.region, region)
        changed = one.mask[inside(both, one.region)]
        mask[inside(both, region)][changed] = one.after == number
    area = int(mask.sum())
    return area, _tight(mask, region) if area else None


def _fill(mask: NDArray[np.bool_], axes: tuple[int, int], amount: int) -> NDArray[np.bool_]:
    filled = ndimage.binary_fill_holes(mask, structure=_cross(mask.ndim, axes))
    return np.asarray(filled, bool)


def _largest(mask: NDArray[np.bool_], axes: tuple[int, int], amount: int) -> NDArray[np.bool_]:
    islands, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    sizes = np.bincount(islands.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.asarray((islands == sizes.argmax()) & mask, bool)


def _smooth(mask: NDArray[np.bool_], axes: tuple[int, int], amount: int) -> NDArray[np.bool_]:
    sigma = [float(amount) if axis in axes else 0.0 for axis in range(mask.ndim)]
    blurred = ndimage.gaussian_filter(mask.astype(np.float32), sigma, mode="nearest")
    return np.asarray(blurred > 0.5, bool)


def _grow(mask: NDArray[np.bool_], axes: tuple[int, int], amount: int) -> NDArray[np.bool_]:
    grown = ndimage.binary_dilation(mask, _cross(mask.ndim, axes), iterations=amount)
    return np.asarray(grown, bool)


def _shrink(mask: NDArray[np.bool_], axes: tuple[int, int], amount: int) -> NDArray[np.bool_]:
    cross = _cross(mask.ndim, axes)  # the border of the image is no border of the object
    shrunk = ndimage.binary_erosion(mask, cross, iterations=amount, border_value=1)
    return np.asarray(shrunk, bool)


_SHAPES = {
    "fill holes": _fill,
    "largest island": _largest,
    "smooth": _smooth,
    "grow": _grow,
    "shrink": _shrink,
}


def _cross(ndim: int, axes: tuple[int, int]) -> NDArray[np.bool_]:
    """Neighbours along the two axes of a plane."""
    cross = np.zeros((3,) * ndim, bool)
    middle = [1] * ndim
    for axis in axes:
        for step in (0, 1, 2):
            cross[(*middle[:axis], step, *middle[axis + 1 :])] = True
    return cross


def _padded(record: ObjectRecord, by: int, shape: tuple[int, ...]) -> Region:
    """The bounding box with room around it, in the plane of the object."""
    return tuple(
        slice(max(0, start - by), min(shape[axis], stop + by))
        if axis in record.axes
        else slice(start, stop)
        for axis, (start, stop) in enumerate(record.region)
    )


def _tight(mask: NDArray[np.bool_], region: Region) -> Region:
    """The bounding box of a mask that lies on a region."""
    (place,) = ndimage.find_objects(mask.astype(np.int8))
    return tuple(
        slice(whole.start + part.start, whole.start + part.stop)
        for part, whole in zip(place, region, strict=True)
    )


def _common(one: Region, other: Region) -> Region:
    """Where two regions overlap; of length 0 along axes on which they do not."""
    pairs = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)]
    return tuple(slice(start, max(start, stop)) for start, stop in pairs)


def _start(region: Region) -> tuple[int, ...]:
    return tuple(int(part.start) for part in region)


def require_room(largest: int, last: int) -> None:
    """Refuse labels above the largest that an output can hold.

    Raises
    ------
    EditError
        ``last`` is above it.
    """
    if last > largest:
        raise EditError(
            f"There is no room for label {last}: these labels end at {largest}. Choose another"
            " output."
        )


def _nothing_left(number: int) -> EditError:
    return EditError(f"Nothing would be left of object {number}: delete it instead.")
