"""A thin frame around each tile that was looked at: as thin on the screen, however far away."""

from typing import Any

import numpy as np
from napari.layers import Image, Vectors
from numpy.typing import NDArray

from napari_sam._layers.planes import ROLE, same_space
from napari_sam._volume import TileMap

COLOR = "#00e5ff"
THICK = 1.2  # pixels of the screen
INSET = 0.02  # of a tile's side: frames of neighbours lie side by side


def make_tile_map(image: Image) -> Vectors:
    """An empty layer."""
    return Vectors(
        np.zeros((0, 2, image.ndim)),
        name="tiles looked at",
        opacity=0.5,
        edge_color=COLOR,
        vector_style="line",
        metadata={ROLE: "tiles"},
        **same_space(image),
    )


def show_tile_map(layer: Vectors, made: TileMap) -> None:
    """Frame the tiles of a plane that are done."""
    layer.data = frames(made)
    layer.edge_color = COLOR  # napari forgets it where there was no line before
    layer.visible = True


def thin(layer: Vectors, image: Image, made: TileMap, zoom: float) -> None:
    """Make the lines as thick as they are to be on the screen, at a zoom of the camera."""
    step = abs(float(image.scale[made.plane.axes[0]]))
    layer.edge_width = THICK / max(zoom * step, 1e-9)


def frames(made: TileMap) -> NDArray[np.float64]:
    """Lines (4 n, 2, D) around n tiles in pixels of the image: where each begins and leads."""
    lines: list[Any] = []
    for row, column in zip(*np.nonzero(made.done), strict=True):
        y0, y1 = made.rows[row] - 0.5, made.rows[row + 1] - 0.5
        x0, x1 = made.columns[column] - 0.5, made.columns[column + 1] - 0.5
        inset = INSET * min(y1 - y0, x1 - x0)
        y0, y1, x0, x1 = y0 + inset, y1 - inset, x0 + inset, x1 - inset
        corners = [made.plane.lift(y, x) for y, x in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))]
        for number, corner in enumerate(corners):
            following = corners[(number + 1) % 4]
            lines.append([corner, np.subtract(following, corner)])
    return np.array(lines, float).reshape(-1, 2, len(made.plane.index))
