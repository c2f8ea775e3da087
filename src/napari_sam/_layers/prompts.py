"""The Points and Shapes layers of prompts <-> values. Knows no session and no mouse."""

from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image, Layer, Points, Shapes
from numpy.typing import NDArray

from napari_sam._layers.planes import ROLE, same_space, shape_of
from napari_sam._place import BoxPrompt, PointPrompt, PromptSet

SIGNS = ("positive", "negative")
SIGN_COLORS = {"positive": "#2ecc40", "negative": "#ff4136"}
BOX_COLOR = "#39cccc"
POINT_PIXELS = (9, 18)  # smallest and largest diameter on the screen


def make_points(image: Image) -> Points:
    """An empty layer for points, coloured by sign."""
    layer = Points(
        ndim=image.ndim,
        name="prompts: points",
        size=_point_size(image),
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


def _point_size(image: Image) -> float:
    return max(1.0, max(shape_of(image)[-2:]) / 64)


def make_boxes(image: Image) -> Shapes:
    """An empty layer for boxes."""
    return Shapes(
        ndim=image.ndim,
        name="prompts: boxes",
        edge_color=BOX_COLOR,
        face_color="transparent",
        edge_width=max(1.0, _point_size(image) / 4),
        metadata={ROLE: "boxes"},
        **same_space(image),
    )


def read_prompts(image: Image, points: Points | None, boxes: Shapes | None) -> PromptSet:
    """The prompts in the layers, in pixels of the image. A shape that is no box gives its box."""
    found, rectangles = [], []
    if points is not None:
        signs = points.features["sign"]
        for position, sign in zip(points.data, signs, strict=True):
            at = _to_image(image, points, position)
            found.append(PointPrompt(tuple(map(float, at)), sign != "negative"))
    if boxes is not None:
        for corners in boxes.data:
            inside = np.array([_to_image(image, boxes, corner) for corner in corners])
            low, high = inside.min(0), inside.max(0)
            rectangles.append(BoxPrompt(tuple(map(float, low)), tuple(map(float, high))))
    return PromptSet(tuple(found), tuple(rectangles))


def write_prompts(
    prompts: PromptSet, image: Image, *, points: Points | None, boxes: Shapes | None
) -> None:
    """Make the layers show these prompts and no others."""
    if points is not None:
        points.selected_data = set()
        positions = [_from_image(image, points, p.position) for p in prompts.points]
        points.data = np.array(positions, float).reshape(-1, points.ndim)
        signs = ["positive" if p.positive else "negative" for p in prompts.points]
        points.features = pd.DataFrame({"sign": pd.Categorical(signs, categories=SIGNS)})
        points.refresh_colors()
    if boxes is not None:
        boxes.selected_data = set()
        boxes.data = []
        corners = [_corners(image, boxes, box) for box in prompts.boxes]
        if corners:
            boxes.add_rectangles(corners)


def _corners(image: Image, boxes: Shapes, box: BoxPrompt) -> NDArray[np.float64]:
    """The four corners of a box in the plane in which it was drawn."""
    low, high = np.array(box.low), np.array(box.high)
    varying = np.flatnonzero(high > low)[-2:]
    steps = ((0, 0), (1, 0), (1, 1), (0, 1))
    corners = np.repeat(low[None], 4, axis=0)
    for corner, step in zip(corners, steps, strict=True):
        for axis, far in zip(varying, step, strict=True):
            corner[axis] = high[axis] if far else low[axis]
    return np.array([_from_image(image, boxes, corner) for corner in corners])


def _to_image(image: Image, layer: Layer, position: Any) -> NDArray[np.float64]:
    return np.asarray(image.world_to_data(layer.data_to_world(position)), np.float64)


def _from_image(image: Image, layer: Layer, position: Any) -> NDArray[np.float64]:
    return np.asarray(layer.world_to_data(image.data_to_world(position)), np.float64)
