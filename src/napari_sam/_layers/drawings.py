"""The Shapes layer of scribbles and outlines <-> values. Knows no session and no mouse."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from napari.layers import Image, Shapes

from napari_sam._layers.planes import ROLE, same_space
from napari_sam._layers.prompts import (
    SIGN_COLORS,
    SIGNS,
    from_image,
    point_size,
    signs_of,
    to_image,
)
from napari_sam._prompt_set import OutlinePrompt, StrokePrompt

OPEN_SHAPES = ("path", "line")  # all others have an inside


def make_drawings(image: Image) -> Shapes:
    """An empty layer, coloured by sign."""
    return Shapes(
        ndim=image.ndim,
        name="prompts: drawings",
        edge_color=SIGN_COLORS["positive"],
        face_color="transparent",
        edge_width=max(1.0, point_size(image) / 3),
        features=pd.DataFrame({"sign": pd.Categorical([], categories=SIGNS)}),
        feature_defaults={"sign": "positive"},
        opacity=0.8,
        metadata={ROLE: "drawings"},
        **same_space(image),
    )


def set_sign(layer: Shapes, sign: str) -> None:
    """What is drawn next is positive or negative; what is there stays as it is."""
    layer.selected_data = set()  # a new colour would be theirs, too
    layer.feature_defaults = {"sign": sign}
    layer.current_edge_color = SIGN_COLORS[sign]


def read_strokes(image: Image, layer: Shapes) -> tuple[StrokePrompt, ...]:
    """The scribbles in a layer, in pixels of the image."""
    signs = layer.features["sign"]
    return tuple(
        StrokePrompt(_positions(image, layer, shape), sign != "negative")
        for shape, kind, sign in zip(layer.data, layer.shape_type, signs, strict=True)
        if kind in OPEN_SHAPES
    )


def read_outlines(image: Image, layer: Shapes) -> tuple[OutlinePrompt, ...]:
    """The outlines in a layer, in pixels of the image; a rectangle is a polygon, too."""
    return tuple(
        OutlinePrompt(
            _positions(image, layer, shape), "ellipse" if kind == "ellipse" else "polygon"
        )
        for shape, kind in zip(layer.data, layer.shape_type, strict=True)
        if kind not in OPEN_SHAPES
    )


def write_drawings(
    strokes: Sequence[StrokePrompt],
    outlines: Sequence[OutlinePrompt],
    image: Image,
    layer: Shapes,
) -> None:
    """Make a layer show these and no others: scribbles first."""
    layer.selected_data = set()
    layer.data = []
    layer.features = signs_of(())  # of the shapes that were there
    shapes = [*(one.path for one in strokes), *(one.corners for one in outlines)]
    if shapes:
        layer.add(
            [[from_image(image, layer, at) for at in shape] for shape in shapes],
            shape_type=[*["path"] * len(strokes), *(one.kind for one in outlines)],
        )
        layer.features = signs_of([*strokes, *[StrokePrompt(())] * len(outlines)])
        layer.edge_color = [SIGN_COLORS[sign] for sign in layer.features["sign"]]


def _positions(image: Image, layer: Shapes, shape: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(to_image(image, layer, at) for at in shape)
