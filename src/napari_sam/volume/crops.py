"""Which part of a plane to look at for a prompt: the tile that has it in its middle, or a crop.

Geometry only. All positions are (y, x) pixels of the plane.
"""

from typing import NamedTuple

import numpy as np

from napari_sam.core.prompts import Prompts
from napari_sam.core.regions import Region, Size
from napari_sam.core.strokes import Sketch
from napari_sam.errors import PromptError
from napari_sam.volume.image import Plane
from napari_sam.volume.tiles import Tile, TileGrid

__all__ = ["Extent", "central_tile", "crop_around", "extent_of", "is_cut"]

LATTICE = 4  # crops begin at multiples of a quarter of a tile: the next click finds the same one
MARGIN = 8  # a prompt keeps an eighth of a crop's side free on each side
LARGEST_CROP = 8192  # pixels a side: what a crop and its mask cost in memory
TOUCHED = 2  # pixels from an edge that count as touching it: a mask ends softly


class Extent(NamedTuple):
    """Outermost positions that an object is known to reach."""

    y0: float
    x0: float
    y1: float
    x1: float

    @property
    def middle(self) -> tuple[float, float]:
        """(y, x)."""
        return ((self.y0 + self.y1) / 2, (self.x0 + self.x1) / 2)


def extent_of(prompts: Prompts, index: int, sketch: Sketch | None = None) -> Extent:
    """What object ``index`` of the prompts is known to reach: positive points, box, mask prompt.

    Raises
    ------
    PromptError
        It has neither.
    """
    corners = []
    if prompts.boxes is not None:
        corners += np.asarray(prompts.boxes[index], np.float64).reshape(2, 2).tolist()
    if prompts.points is not None and prompts.point_labels is not None:
        on_it = prompts.points[index][prompts.point_labels[index] == 1]
        corners += np.asarray(on_it, np.float64).tolist()
    if sketch is not None:
        corners += sketch.corners().tolist()
    if not corners:
        raise PromptError("in tiles an object needs a point on it or a box; got neither.")
    low, high = np.min(corners, 0), np.max(corners, 0)
    return Extent(float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def central_tile(grid: TileGrid, plane: Plane, extent: Extent) -> Tile | None:
    """The tile in whose read region a prompt lies farthest from where the picture is cut.

    The border of the plane cuts nothing. None where each tile cuts the prompt or comes nearer to it
    than half the halo.
    """
    rows, columns = grid.cells
    sizes = grid.write_size
    row, column = (
        min(max(int(middle) // size, 0), count - 1)
        for middle, size, count in zip(extent.middle, sizes, (rows, columns), strict=True)
    )
    best, most = None, grid.halo / 2
    for tile in grid.around(grid.at(plane, (row, column))):
        room = _room(tile.read, extent, (grid.shape[2], grid.shape[3]))
        if room >= most and (best is None or room > most):
            best, most = tile, room
    return best


def _room(read: Region, extent: Extent, plane: Size) -> float:
    """Least distance from a prompt to an edge that is not the plane's; negative outside."""
    room = float("inf")
    lows, highs = (extent.y0, extent.x0), (extent.y1, extent.x1)
    for part, low, high, length in zip(read, lows, highs, plane, strict=True):
        if part.start > 0:
            room = min(room, low - part.start)
        if part.stop < length:
            room = min(room, part.stop - 1 - high)
    return room


def crop_around(extent: Extent, tile: Size, plane: Size, *, times: int = 1) -> Region:
    """A part of the plane with a prompt in its middle.

    As large as a tile, or ``times`` as large a side; more where the prompt needs it, always by a
    power of two. It begins on a lattice of quarters of its side, so that the next click on the same
    object gets the same crop.

    Raises
    ------
    PromptError
        The prompt is too large to be looked at in pixels of this size.
    """
    sizes = [side * times for side in tile]
    needs = (extent.y1 - extent.y0 + 1, extent.x1 - extent.x0 + 1)
    while any(
        size < length and need > size - 2 * (size // MARGIN)
        for size, need, length in zip(sizes, needs, plane, strict=True)
    ):
        sizes = [2 * size for size in sizes]
    if max(min(size, length) for size, length in zip(sizes, plane, strict=True)) > LARGEST_CROP:
        raise PromptError(
            f"the prompt is {needs[0]:.0f} x {needs[1]:.0f} pixels large; up to"
            f" {LARGEST_CROP - 2 * (LARGEST_CROP // MARGIN)} can be looked at. Choose a coarser"
            " level, or draw a smaller box."
        )
    y, x = (
        _side(middle, size, length)
        for middle, size, length in zip(extent.middle, sizes, plane, strict=True)
    )
    return (y, x)


def _side(middle: float, size: int, length: int) -> slice:
    if size >= length:
        return slice(0, length)
    step = max(1, size // LATTICE)
    start = round((middle - size / 2) / step) * step
    start = min(max(start, 0), length - size)
    return slice(start, start + size)


def is_cut(mask: Region, looked_at: Region, plane: Size) -> bool:
    """Whether a mask reaches an edge of what was looked at, where the plane goes on."""
    return any(
        (seen.start > 0 and part.start < seen.start + TOUCHED)
        or (seen.stop < length and part.stop > seen.stop - TOUCHED)
        for part, seen, length in zip(mask, looked_at, plane, strict=True)
        if part.stop > part.start
    )
