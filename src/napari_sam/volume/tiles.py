"""TileGrid and Tile: how a plane is cut. Geometry only: no pixels, no files, no model."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

from napari_sam.core.regions import Region, Size
from napari_sam.errors import StoreError
from napari_sam.volume.image import Plane

__all__ = ["Tile", "TileGrid", "usual_tiles"]


@dataclass(frozen=True)
class Tile:
    """A cell of the grid on one plane.

    Attributes
    ----------
    index
        Its number in the volume, row by row, plane by plane.
    plane
        (t, z).
    cell
        (row, column) in the grid.
    read
        What the model sees: half-open slices along y and x of the plane. All tiles of a grid have
        the same size.
    write
        What this tile alone answers for, inside ``read``; these partition the plane.
    """

    index: int
    plane: Plane
    cell: tuple[int, int]
    read: Region
    write: Region

    @property
    def key(self) -> str:
        """A short name: ``t0 z12 y3 x4``."""
        (t, z), (row, column) = self.plane, self.cell
        return f"t{t} z{z} y{row} x{column}"


@dataclass(frozen=True)
class TileGrid:
    """Cuts planes of one size into tiles with a margin.

    Parameters
    ----------
    shape
        (t, z, y, x) of the volume.
    side
        Of the write regions, in pixels: these start at multiples of it. The last one takes the rest
        of the plane with it where its read region holds that.
    halo
        Margin in pixels that a tile sees beyond its write region, on every side where the plane
        goes on. At the plane's border the whole read region is moved inwards instead.

    Raises
    ------
    StoreError
        ``side`` is less than 1 or ``halo`` less than 0.
    """

    shape: tuple[int, int, int, int]
    side: int
    halo: int

    def __post_init__(self) -> None:
        """Refuse what makes no tiles."""
        if self.side < 1 or self.halo < 0:
            raise StoreError(
                f"tiles of {self.side} pixels with a halo of {self.halo} cannot be made: the side"
                " must be at least 1 and the halo at least 0."
            )

    @property
    def read_size(self) -> Size:
        """(height, width) of all read regions."""
        height, width = self.shape[2:]
        whole = self.side + 2 * self.halo
        return (min(height, whole), min(width, whole))

    @property
    def write_size(self) -> Size:
        """(height, width) of the write regions, except of the last one before the plane ends."""
        height, width = self.shape[2:]
        seen = self.read_size
        return (
            height if seen[0] == height else self.side,
            width if seen[1] == width else self.side,
        )

    @property
    def cells(self) -> tuple[int, int]:
        """(rows, columns) of tiles on a plane."""
        sizes = zip(self.shape[2:], self.read_size, strict=True)
        # The last tile also answers for what its margin shows, if the plane ends there.
        rows, columns = (
            1 if length == seen else 1 + ceil((length - self.side - self.halo) / self.side)
            for length, seen in sizes
        )
        return (rows, columns)

    @property
    def planes(self) -> tuple[Plane, ...]:
        """All (t, z), z first."""
        return tuple((t, z) for t in range(self.shape[0]) for z in range(self.shape[1]))

    def __len__(self) -> int:
        rows, columns = self.cells
        return self.shape[0] * self.shape[1] * rows * columns

    def __iter__(self) -> Iterator[Tile]:
        return map(self.tile, range(len(self)))

    def tile(self, index: int) -> Tile:
        """The tile with a number."""
        rows, columns = self.cells
        number, cell = divmod(index, rows * columns)
        row, column = divmod(cell, columns)
        t, z = divmod(number, self.shape[1])
        reads, writes = zip(self._side(0, row), self._side(1, column), strict=True)
        return Tile(index, (t, z), (row, column), reads, writes)

    def at(self, plane: Plane, cell: tuple[int, int]) -> Tile:
        """The tile in a row and column of a plane."""
        rows, columns = self.cells
        number = plane[0] * self.shape[1] + plane[1]
        return self.tile((number * rows + cell[0]) * columns + cell[1])

    def holding(self, plane: Plane, point: tuple[float, float]) -> Tile:
        """The tile in whose write region a point (y, x) of a plane lies; the nearest of others."""
        pairs = zip(point, self.write_size, self.cells, strict=True)
        row, column = (min(max(int(at // size), 0), count - 1) for at, size, count in pairs)
        return self.at(plane, (row, column))

    def on(self, plane: Plane) -> Iterator[Tile]:
        """The tiles of a plane, row by row."""
        rows, columns = self.cells
        first = (plane[0] * self.shape[1] + plane[1]) * rows * columns
        return map(self.tile, range(first, first + rows * columns))

    def place(self, tile: Tile) -> int:
        """The tile's number among those of its plane."""
        rows, columns = self.cells
        return tile.index % (rows * columns)

    def around(self, tile: Tile) -> Iterator[Tile]:
        """The tiles of its plane that may share pixels with it, itself included, row by row."""
        sizes = zip(self.read_size, self.write_size, self.cells, tile.cell, strict=True)
        rows, columns = (
            range(max(0, at - ceil(seen / size)), min(count, at + ceil(seen / size) + 1))
            for seen, size, count, at in sizes
        )
        return (self.at(tile.plane, (row, column)) for row in rows for column in columns)

    def seeing(self, tile: Tile) -> Iterator[Tile]:
        """The tiles of its plane whose read regions touch its write region, itself included."""
        return (other for other in self.around(tile) if intersection(other.read, tile.write))

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {"shape": list(self.shape), "side": self.side, "halo": self.halo}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "TileGrid":
        """From a manifest."""
        t, z, y, x = stored["shape"]
        return cls((t, z, y, x), stored["side"], stored["halo"])

    def _side(self, axis: int, number: int) -> tuple[slice, slice]:
        """Read and write slice along y (0) or x (1)."""
        length, seen, size = self.shape[2 + axis], self.read_size[axis], self.write_size[axis]
        start = number * size
        first = min(max(start - self.halo, 0), length - seen)
        last = number == self.cells[axis] - 1
        return slice(first, first + seen), slice(start, length if last else start + size)


def usual_tiles(seen: int) -> tuple[int, int]:
    """(side, halo) of tiles whose read regions are as large as what a model sees at once."""
    halo = seen // 8
    return max(1, seen - 2 * halo), halo


def intersection(first: Region, second: Region) -> Region | None:
    """What two regions share; None if nothing."""
    (a, b), (c, d) = first, second
    rows = slice(max(a.start, c.start), min(a.stop, c.stop))
    columns = slice(max(b.start, d.start), min(b.stop, d.stop))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    return rows, columns


def within(region: Region, outer: Region) -> Region:
    """A region in coordinates that start at the corner of another one."""
    return (
        slice(region[0].start - outer[0].start, region[0].stop - outer[0].start),
        slice(region[1].start - outer[1].start, region[1].stop - outer[1].start),
    )
