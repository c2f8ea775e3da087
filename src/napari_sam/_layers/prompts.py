"""The Points layer and the Shapes layer of boxes <-> values. Knows no session and no mouse."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image, Layer, Points, Shapes
from numpy.typing import NDArray

from napari_sam._layers.planes import ROLE, same_space, shape_of
from napari_sam._prompt_set import BoxPrompt, PointPrompt, Position, StrokePrompt

SIGNS = ("positive", "negative")
SIGN_COLORS = {"positive": "#2ecc40", "negative": "#ff4136"}
BOX_COLOR = "#39cccc"
POINT_PIXELS = (9, 18)  # smallest and largest diameter on the screen


def make_points(image: Image) -> Points:
    """An empty layer for points, coloured by sign."""
    layer = Points(
        ndim=image.ndim,
        name="prompts: points",
        size=point_size(image),
        border_color="white",
        border_width=0.12,
        canvas_size_limits=POINT_PIXELS,
        out_of_slice_display=False,
        metadata={ROLE: "points"},
        **same_space(image),
    )
    layer.features = pd.DataFrame({"sign": pd.Categorical([], categories=SIGNS)})
    layer.feature_defaults = {"sign": "positive"}
    layer.face_color_cycle = SIGN_COLORS
    layer.face_color = "sign"
    return layer


def point_size(image: Image) -> float:
    """Diameter in pixels of the image."""
    return max(1.0, max(shape_of(image)[-2:]) / 64)


def make_boxes(image: Image) -> Shapes:
    """An empty layer for boxes."""
    return Shapes(
        ndim=image.ndim,
        name="prompts: boxes",
        edge_color=BOX_COLOR,
        face_color="transparent",
        edge_width=max(1.0, point_size(image) / 4),
        metadata={ROLE: "boxes"},
        **same_space(image),
    )


def read_points(image: Image, points: Points) -> tuple[PointPrompt, ...]:
    """The points in a layer, in pixels of the image."""
    signs = points.features["sign"]
    return tuple(
        PointPrompt(to_image(image, points, position), sign != "negative")
        for position, sign in zip(points.data, signs, strict=True)
    )


def write_points(prompts: Sequence[PointPrompt], image: Image, points: Points) -> None:
    """Make a layer show these points and no others."""
    points.selected_data = set()
    positions = [from_image(image, points, one.position) for one in prompts]
    points.data = np.array(positions, float).reshape(-1, points.ndim)
    points.features = signs_of(prompts)
    points.refresh_colors()


def read_boxes(image: Image, boxes: Shapes) -> tuple[BoxPrompt, ...]:
    """The boxes in a layer, in pixels of the image. A shape that is no box gives its box."""
    found = []
    for corners in boxes.data:
        inside = np.array([to_image(image, boxes, corner) for corner in corners])
        low, high = inside.min(0), inside.max(0)
        found.append(BoxPrompt(tuple(map(float, low)), tuple(map(float, high))))
    return tuple(found)


def write_boxes(prompts: Sequence[BoxPrompt], image: Image, boxes: Shapes) -> None:
    """Make a layer show these boxes and no others."""
    boxes.selected_data = set()
    boxes.data = []
    corners = [_corners(image, boxes, box) for box in prompts]
    if corners:
        boxes.add_rectangles(corners)


def signs_of(prompts: Sequence[PointPrompt | StrokePrompt]) -> pd.DataFrame:
    """The signs of prompts as features of a layer."""
    signs = ["positive" if one.positive else "negative" for one in prompts]
    return pd.DataFrame({"sign": pd.Categorical(signs, categories=SIGNS)})


def _corners(image: Image, boxes: Shapes, box: BoxPrompt) -> NDArray[np.float64]:
    """The four corners of a box in the plane in which it was drawn."""
    low, high = np.array(box.low), np.array(box.high)
    varying = np.flatnonzero(high > low)[-2:]
    steps = ((0, 0), (1, 0), (1, 1), (0, 1))
    corners = np.repeat(low[None], 4, axis=0)
    for corner, step in zip(corners, steps, strict=True):
        for axis, far in zip(varying, step, strict=True):
            corner[axis] = high[axis] if far else low[axis]
    return np.array([from_image(image, boxes, corner) for corner in corners])


def to_image(image: Image, layer: Layer, position: Any) -> Position:
    """Pixels of the image at a position of a layer of ours."""
    return tuple(map(float, image.world_to_data(layer.data_to_world(position))))


def from_image(image: Image, layer: Layer, position: Any) -> NDArray[np.float64]:
    """The position in a layer of ours of a pixel of the image."""
    return np.asarray(layer.world_to_data(image.data_to_world(position)), np.float64)
