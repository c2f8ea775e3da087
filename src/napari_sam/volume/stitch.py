"""Objects of tiles -> objects of a plane, without seams. Knows labels of tiles; no model, no files.

Each tile has its own labels on its read region, and neighbours see the halo twice.

1. Two labels of neighbouring tiles are one object when they overlap by more than half (IoU) where
   both tiles look. So a label has at most one partner in each neighbour.
2. An object that some tile sees whole (not cut by the edge of its read region) is taken whole from
   one tile: from the one in whose write region most of it lies. An object that no tile sees whole
   is put together from the write regions of all that see it.
3. A label without a partner stays only if its tile is the one that answers for most of it.
4. Where objects overlap, the smaller one is on top, as within a tile.

As no object is ever cut along a write region that somebody sees whole, seams leave no trace.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.volume.image import Plane
from napari_sam.volume.overlaps import count_overlaps
from napari_sam.volume.tiles import Tile, TileGrid, intersection, within
from napari_sam.volume.unions import components

__all__ = ["PlaneObjects", "ReadLabels", "find_objects", "paint"]

SAME = 0.5  # IoU where both tiles look; more than half, so that partners are unique
ReadLabels = Callable[[Tile], NDArray[Any]]
Numbers = NDArray[np.int64]
NOT, WHOLE, OWN_PART = 0, 1, 2  # where a label of a tile is painted


@dataclass(frozen=True, eq=False)
class PlaneObjects:
    """The objects of one plane, and which label of which tile shows them.

    Attributes
    ----------
    count
        How many objects; their numbers are 1 to ``count``.
    first
        For each tile of the plane, row by row, where its labels start in the arrays below; label
        ``k`` of tile ``i`` is at ``first[i] + k``, and 0 is the background.
    object
        Number of the object that a label belongs to.
    painted
        Nowhere, wholly, or in the tile's own write region.
    area
        Pixels of the object, by which the order on top is decided.
    """

    count: int
    first: Numbers
    object: NDArray[np.uint32]
    painted: NDArray[np.uint8]
    area: NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the labels of one tile look like: arrays by label, 0 is the background."""

    area: Numbers
    own: Numbers  # pixels in its own write region
    most: Numbers  # pixels in the write region that has most of it
    cut: NDArray[np.bool_]  # by the edge of the read region, where the plane goes on


def find_objects(
    grid: TileGrid, plane: Plane, read: ReadLabels, *, named: bool = False
) -> PlaneObjects:
    """Find out which labels of a plane's tiles are one object, and who shows it.

    Parameters
    ----------
    grid, plane
        The tiles.
    read
        Gives the labels of a tile's read region.
    named
        The objects were asked for by prompts, each in one tile: rule 3 does not hold for them.
    """
    tiles = list(grid.on(plane))
    seen = [_look(grid, tile, read(tile)) for tile in tiles]
    first = np.cumsum([0, *(len(one.area) for one in seen)])
    pairs = [np.zeros((0, 2), np.int64)]
    for tile, other in _neighbours(grid, plane):
        offsets = first[[grid.place(tile), grid.place(other)]]
        pairs.append(_partners(tile, other, read) + offsets)
    partners = np.concatenate(pairs)
    group = components(int(first[-1]), partners[:, 0], partners[:, 1])
    return _decide(seen, first, group, named)


def paint(
    grid: TileGrid, tile: Tile, objects: PlaneObjects, read: ReadLabels
) -> NDArray[np.uint32]:
    """The objects in a tile's write region: numbers within the plane, 0 is background."""
    size = tuple(part.stop - part.start for part in tile.write)
    painted = np.zeros(size, np.uint32)
    areas = np.full(size, np.iinfo(np.uint32).max, np.uint32)
    for other in grid.seeing(tile):
        shared = intersection(other.read, tile.write)
        assert shared is not None
        labels = read(other)[within(shared, other.read)].astype(np.int64)
        index = np.where(labels > 0, objects.first[grid.place(other)] + labels, 0)
        shown = objects.painted[index] == WHOLE
        if other.index == tile.index:
            shown |= objects.painted[index] == OWN_PART
        target = within(shared, tile.write)
        number, area = objects.object[index], objects.area[index]
        before, best = painted[target], areas[target]
        tie = (area == best) & (number < before)
        wins = shown & (labels > 0) & ((area < best) | tie)
        painted[target] = np.where(wins, number, before)
        areas[target] = np.where(wins, area, best)
    return painted


def _look(grid: TileGrid, tile: Tile, labels: NDArray[Any]) -> _Seen:
    count = int(labels.max(initial=0)) + 1
    shares = {
        other.index: np.bincount(labels[within(part, tile.read)].reshape(-1), minlength=count)
        for other in grid.around(tile)
        if (part := intersection(other.write, tile.read)) is not None
    }
    area = np.bincount(labels.reshape(-1), minlength=count)
    cut = np.zeros(count, bool)
    height, width = grid.shape[2:]
    rows, columns = tile.read
    for inner, edge in (
        (rows.start > 0, labels[0]), (rows.stop < height, labels[-1]),
        (columns.start > 0, labels[:, 0]), (columns.stop < width, labels[:, -1]),
    ):  # fmt: skip
        if inner:
            cut[np.unique(edge)] = True
    most = np.maximum.reduce(list(shares.values()))
    return _Seen(area, shares[tile.index], most, cut)


def _neighbours(grid: TileGrid, plane: Plane) -> Iterator[tuple[Tile, Tile]]:
    by_cell = {tile.cell: tile for tile in grid.on(plane)}
    for (row, column), tile in by_cell.items():
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            other = by_cell.get((row + down, column + right))
            if other is not None:
                yield tile, other


def _partners(tile: Tile, other: Tile, read: ReadLabels) -> Numbers:
    """(N, 2) labels of two tiles that are one object."""
    shared = intersection(tile.read, other.read)
    if shared is None:
        return np.zeros((0, 2), np.int64)
    a, b = read(tile)[within(shared, tile.read)], read(other)[within(shared, other.read)]
    overlaps = count_overlaps(a, b)
    areas = [np.bincount(labels.reshape(-1)) for labels in (a, b)]
    same = overlaps.where(overlaps.iou(*areas) > SAME)
    return np.stack([same.first, same.second], 1)


def _decide(seen: list[_Seen], first: Numbers, group: Numbers, named: bool) -> PlaneObjects:
    """Rules 2 and 3 of the module's docstring."""
    area, own, most = (
        np.concatenate([getattr(one, name) for one in seen]) for name in ("area", "own", "most")
    )
    cut = np.concatenate([one.cut for one in seen])
    real = area > 0
    real[first[:-1]] = False  # the background of each tile
    count = int(group.max(initial=-1)) + 1
    members = np.bincount(group[real], minlength=count)
    whole = real & ~cut
    seen_whole = np.bincount(group[whole], minlength=count) > 0
    share = own / np.maximum(area, 1)
    # The best of the whole views: the last one in the order of group and share.
    order = np.lexsort((-np.arange(len(area)), share, whole, group))
    best = np.zeros(len(area), bool)
    best[order[np.r_[np.diff(group[order]) != 0, True]]] = True
    alone = members[group] == 1
    answers = ~alone | (own >= most) | named
    painted = np.zeros(len(area), np.uint8)
    painted[real & (seen_whole[group] | alone) & best & answers] = WHOLE
    painted[real & ~seen_whole[group] & ~alone] = OWN_PART
    contributes = np.where(painted == WHOLE, area, np.where(painted == OWN_PART, own, 0))
    sizes = np.bincount(group, contributes, minlength=count).astype(np.int64)
    numbers = np.cumsum(sizes > 0)
    numbers[sizes == 0] = 0
    painted[sizes[group] == 0] = NOT
    return PlaneObjects(
        int((sizes > 0).sum()), first, numbers[group].astype(np.uint32), painted,
        sizes[group].astype(np.uint32),
    )  # fmt: skip
