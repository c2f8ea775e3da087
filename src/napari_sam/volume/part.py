"""Some tiles of one plane, segmented and stitched as if there were no others.

Knows grids and stores. The tiles are kept as those of a whole run, which goes on from there.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.regions import Region
from napari_sam.progress import Progress
from napari_sam.volume.image import Plane
from napari_sam.volume.run import run
from napari_sam.volume.stitch import find_objects, paint
from napari_sam.volume.stitching import TILES_AT_ONCE
from napari_sam.volume.store import TileStore
from napari_sam.volume.tiles import Tile, TileGrid, intersection, within
from napari_sam.volume.work import Work

__all__ = ["GridPart", "segment_part"]


@dataclass(frozen=True)
class GridPart(TileGrid):
    """A block of the tiles of each plane; all others are not there.

    Attributes
    ----------
    rows, columns
        First and last but one of the block's tiles.
    """

    rows: tuple[int, int] = (0, 0)
    columns: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, grid: TileGrid, region: Region) -> "GridPart":
        """The tiles whose write regions touch a region of a plane."""
        spans = []
        for part, size, count in zip(region, grid.write_size, grid.cells, strict=True):
            first = min(part.start // size, count - 1)
            last = min((part.stop - 1) // size, count - 1)
            spans.append((first, last + 1))
        return cls(grid.shape, grid.side, grid.halo, spans[0], spans[1])

    def on(self, plane: Plane) -> Iterator[Tile]:
        """The block's tiles on a plane, row by row."""
        return (self.at(plane, (r, c)) for r in range(*self.rows) for c in range(*self.columns))

    def around(self, tile: Tile) -> Iterator[Tile]:
        """As of the whole grid, without tiles that are not there."""
        return (
            other for other in super().around(tile)
            if self.rows[0] <= other.cell[0] < self.rows[1]
            and self.columns[0] <= other.cell[1] < self.columns[1]
        )  # fmt: skip

    def place(self, tile: Tile) -> int:
        """The tile's number among those of the block on its plane."""
        wide = self.columns[1] - self.columns[0]
        return (tile.cell[0] - self.rows[0]) * wide + tile.cell[1] - self.columns[0]


def segment_part(
    work: Work, store: TileStore, plane: Plane, region: Region
) -> Generator[Progress, None, tuple[Region, NDArray[np.uint32]]]:
    """Make the missing tiles of a part of a plane and stitch them. A job.

    Parameters
    ----------
    work, store
        As for :func:`~napari_sam.volume.run.run`; what the store has is not made again.
    plane, region
        Which part, in pixels of the tiles.

    Returns
    -------
    region, labels
        As given, and (y, x) numbers 1 to n of the objects in it. Objects that reach beyond the
        tiles of the part are cut there.

    Raises
    ------
    StoreIncompleteError
        Tiles could not be read.
    """
    grid = GridPart.of(store.manifest.grid, region)
    tiles = list(grid.on(plane))
    yield from run(work, store, only=[tile.index for tile in tiles])
    total = 2 * len(tiles)
    yield Progress(len(tiles), total, "finding objects across seams")

    @lru_cache(maxsize=TILES_AT_ONCE)
    def labels_of(index: int) -> NDArray[Any]:
        return store.read(index)["labels"]

    def read(tile: Tile) -> NDArray[Any]:
        return labels_of(tile.index)

    objects = find_objects(grid, plane, read)
    labels = np.zeros([part.stop - part.start for part in region], np.uint32)
    for number, tile in enumerate(tiles):
        shared = intersection(tile.write, region)
        if shared is not None:
            painted = paint(grid, tile, objects, read)
            labels[within(shared, region)] = painted[within(shared, tile.write)]
        yield Progress(len(tiles) + number + 1, total, "drawing objects")
    return region, labels
