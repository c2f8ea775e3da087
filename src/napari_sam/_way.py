"""Planes of labels along an axis, as propagation sees them: read, compared, written.

Knows arrays of labels and results of propagation; no session, no layers, no model.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam._label_edit import (
    NO_EDIT,
    Change,
    LabelEdit,
    LabelImage,
    Region,
    difference,
    enclosing,
    inside,
    pack_bits,
)
from napari_sam.progress import Progress

if TYPE_CHECKING:
    from napari_sam.volume.propagation.result import PlaneObject, PlaneResult

Made = Mapping[int, "PlaneResult"]  # plane -> what was written on it


@dataclass(frozen=True)
class Way:
    """An axis of the labels that objects are carried along, and where on the others.

    Attributes
    ----------
    letters
        Of ``tczyx``, one for each axis of the labels.
    shape
        Of the labels.
    axis
        The axis that is gone along.
    rows, columns
        The axes of its planes; along x rows are y and columns z.
    index
        The place on all axes; ignored on these three.
    spacing
        Voxel size along axis, rows and columns.
    """

    letters: str
    shape: tuple[int, ...]
    axis: int
    rows: int
    columns: int
    index: tuple[int, ...]
    spacing: tuple[float, float, float]

    @property
    def along(self) -> str:
        """The letter of the axis."""
        return self.letters[self.axis]

    @property
    def count(self) -> int:
        """Planes along the axis."""
        return self.shape[self.axis]

    @property
    def here(self) -> int:
        """The plane that was in view."""
        return self.index[self.axis]

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of a plane."""
        return (self.shape[self.rows], self.shape[self.columns])

    @property
    def at(self) -> int:
        """The place on the other one of t and z."""
        other = "z" if self.along == "t" else "t"
        return self.index[self.letters.index(other)] if other in self.letters else 0

    @property
    def axes(self) -> tuple[int, int]:
        """Those of its planes, in the order of the labels."""
        low, high = sorted((self.rows, self.columns))
        return (low, high)

    def same_as(self, other: "Way") -> bool:
        """Whether planes of both are the same planes."""
        alike = (self.letters, self.shape, self.axis) == (other.letters, other.shape, other.axis)
        fixed = [i for i in range(len(self.shape)) if i not in (self.axis, *self.axes)]
        return alike and all(self.index[i] == other.index[i] for i in fixed)

    def region(self, plane: int, part: Sequence[slice]) -> Region:
        """Where in the labels a part (rows, columns) of a plane is."""
        where = [slice(i, i + 1) for i in self.index]
        where[self.axis] = slice(plane, plane + 1)
        where[self.rows], where[self.columns] = part[0], part[1]
        return tuple(where)

    def stack(self, first: int | None, last: int | None) -> Region:
        """Pixels of all planes from one to another, both included; None: to the end."""
        whole = list(self.region(self.here, [slice(0, n) for n in self.size]))
        count = self.count if last is None else min(last + 1, self.count)
        whole[self.axis] = slice(first or 0, count)
        return tuple(whole)

    def flat(self, block: NDArray[Any]) -> NDArray[Any]:
        """(rows, columns) view of a block of labels that was read from such a region."""
        moved = np.moveaxis(block, (self.rows, self.columns), (-2, -1))
        return moved.reshape(moved.shape[-2:])

    def part_of(self, region: Region) -> tuple[slice, slice]:
        """Rows and columns of a region of the labels."""
        return (region[self.rows], region[self.columns])


def drawn_planes(
    labels: LabelImage, way: Way, region: Region, made: Made, ids: Iterable[int]
) -> Iterator[tuple[int, NDArray[Any] | None, frozenset[int]]]:
    """Planes on which objects are not as propagation has left them: somebody has drawn there.

    Parameters
    ----------
    labels, way
        What is read, and how.
    region
        Of the labels, in which the objects are or were.
    made
        What propagation has written.
    ids
        The objects.

    Yields
    ------
    plane, labels, absent
        Labels (rows, columns) of a whole plane with the objects that are as somebody wants them;
        None where there is none; and objects that somebody has erased there.
    """
    part, numbers = way.part_of(region), np.array(sorted(ids))
    for plane in range(region[way.axis].start, region[way.axis].stop):
        block = way.flat(labels.read(way.region(plane, part)))
        now = np.where(np.isin(block, numbers), block, 0)
        before = np.zeros(way.size, now.dtype)
        if plane in made:
            made[plane].paint(before)
        then = before[part]
        changed = set(np.unique(now[now != then])) | set(np.unique(then[now != then]))
        changed -= {0}
        there = {int(n) for n in np.unique(now)} & changed
        gone = frozenset(int(n) for n in changed - there if n in set(numbers.tolist()))
        if there or gone:
            whole = np.zeros(way.size, np.min_scalar_type(int(numbers.max())))
            whole[part] = np.where(np.isin(now, list(there)), now, 0)
            yield plane, whole if there else None, gone


def write_plane(
    labels: LabelImage,
    way: Way,
    result: "PlaneResult",
    old: "Sequence[PlaneObject]",
    *,
    ids: Iterable[int],
    overwrite: bool,
) -> LabelEdit:
    """Write the objects of a plane in place of what was there of them.

    Parameters
    ----------
    labels, way
        Where.
    result
        What is found.
    old
        What propagation had written there before.
    ids
        All objects that are propagated.
    overwrite
        Whether other objects may lose pixels.
    """
    objects = [*result.objects, *old]
    if not objects:
        return NO_EDIT
    part = enclosing(one.region for one in objects)
    region = way.region(result.plane, part)
    before = labels.read(region)
    after = before.copy()
    view = way.flat(after)
    view[np.isin(view, sorted(ids))] = 0
    for one in result.objects:
        place = view[inside(one.region, part)]
        place[one.mask if overwrite else one.mask & (place == 0)] = one.id
    edit = difference(before, after, [s.start for s in region])
    if edit:
        labels.write(region, after)
    return edit


def as_one(edits: Iterable[LabelEdit]) -> LabelEdit:
    """Edits of different pixels as one, as they are."""
    return LabelEdit(tuple(one for edit in edits for one in edit.changes))


def combined(edits: Iterable[LabelEdit]) -> Generator[Progress, None, LabelEdit]:
    """Edits of different pixels as one, a change for each pair of labels. A job."""
    found: dict[tuple[int, int], list[Change]] = {}
    for one in as_one(edits).changes:
        found.setdefault((one.before, one.after), []).append(one)
    changes: list[Change] = []
    for (before, after), parts in found.items():
        yield Progress(len(changes), len(found), "keeping it as one step")
        region = enclosing(one.region for one in parts)
        mask = np.zeros([s.stop - s.start for s in region], bool)
        for one in parts:
            mask[inside(one.region, region)] |= one.mask
        offset = tuple(s.start for s in region)
        count = sum(one.count for one in parts)
        changes.append(Change(before, after, offset, mask.shape, count, pack_bits(mask)))
    return LabelEdit(tuple(changes))
