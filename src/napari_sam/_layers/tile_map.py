"""A thin frame around each tile that was looked at: one small picture, whatever the plane's size."""

from itertools import pairwise

import numpy as np
from napari.layers import Image, Labels
from napari.utils import DirectLabelColormap
from numpy.typing import NDArray

from napari_sam._layers.planes import ROLE, same_space, shifted, spread
from napari_sam._volume import TileMap

FINENESS = 24  # pixels of the picture for each side of a tile
MOST_SIDE = 2048
COLOR = "#00e5ff"


def make_tile_map(image: Image) -> Labels:
    """An empty layer."""
    layer = Labels(
        np.zeros((1,) * image.ndim, np.uint8),
        name="tiles looked at",
        opacity=0.35,
        visible=False,
        colormap=DirectLabelColormap(color_dict={None: "transparent", 0: "transparent", 1: COLOR}),
        metadata={ROLE: "tiles"},
        **same_space(image),
    )
    layer.editable = False
    return layer


def show_tile_map(layer: Labels, image: Image, made: TileMap) -> None:
    """Frame the tiles of a plane that are done."""
    canvas, step = frames(made)
    if not canvas.any():
        layer.visible = False
        return
    scale = np.array(image.scale)
    scale[list(made.plane.axes)] *= step
    middle = (step - 1) / 2
    layer.data = spread(canvas, made.plane)
    layer.scale = scale
    layer.translate = shifted(image, made.plane.lift(middle, middle))
    layer.visible = True


def frames(made: TileMap) -> tuple[NDArray[np.uint8], float]:
    """The picture of a map, and how many pixels of the plane each of its pixels is."""
    size = (made.rows[-1], made.columns[-1])
    side = min(b - a for marks in (made.rows, made.columns) for a, b in pairwise(marks))
    step = max(1.0, side / FINENESS, max(size) / MOST_SIDE)
    canvas = np.zeros([int(np.ceil(n / step)) for n in size], np.uint8)
    for row, column in zip(*np.nonzero(made.done), strict=True):
        y0, y1 = (int(made.rows[row + i] / step) for i in (0, 1))
        x0, x1 = (int(made.columns[column + i] / step) for i in (0, 1))
        tile = canvas[y0:y1, x0:x1]
        tile[0], tile[-1], tile[:, 0], tile[:, -1] = 1, 1, 1, 1
    return canvas, step
