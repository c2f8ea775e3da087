"""Layers that only show something: masks that are not committed, and what the model sees."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils import DirectLabelColormap
from numpy.typing import NDArray

from napari_sam._layers.planes import ROLE, same_space, shifted, spread
from napari_sam._predict import MaskPatch, Plane, paint

SELECTED = 255
SELECTED_COLOR = "#ffffff"
OUTLINE = 2  # pixels
PREVIEW_COLORS = ("#ffdc00", "#39cccc", "#f012be", "#ff851b", "#7fdbff", "#01ff70")


def make_preview(image: Image) -> Labels:
    """An empty layer for masks that are not committed: as large as they are, no larger."""
    colors: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    colors[SELECTED] = SELECTED_COLOR
    colors.update(enumerate(PREVIEW_COLORS, start=1))
    return Labels(
        np.zeros((1,) * image.ndim, np.uint8),
        name="preview",
        opacity=0.55,
        visible=False,
        colormap=DirectLabelColormap(color_dict=colors),
        metadata={ROLE: "preview"},
        **same_space(image),
    )


def show_preview(
    preview: Labels, image: Image, *, plane: Plane | None, patches: Sequence[MaskPatch]
) -> None:
    """Show masks on their plane; none hides the layer."""
    filled = [patch for patch in patches if patch.mask.size]
    if plane is None or not filled:
        _set_visible(preview, False)
        return
    numbers = [i % len(PREVIEW_COLORS) + 1 for i in range(len(filled))]
    offset, canvas = paint(filled, numbers, np.uint8)
    _place(preview, image, plane, offset, canvas)
    _set_contour(preview, 0)


def show_outlines(
    preview: Labels, image: Image, *, plane: Plane | None, patches: Sequence[MaskPatch]
) -> None:
    """Show where objects are that are kept already."""
    assert plane is not None
    (y, x), canvas = paint(patches, [SELECTED] * len(patches), np.uint8)
    _place(preview, image, plane, (y - 1, x - 1), np.pad(canvas, 1))
    _set_contour(preview, OUTLINE)


def _place(
    preview: Labels, image: Image, plane: Plane, offset: tuple[int, int], canvas: NDArray[np.uint8]
) -> None:
    preview.data = spread(canvas, plane)
    place = shifted(image, plane.lift(*offset))
    if not np.array_equal(preview.translate, place):  # napari draws anew at each of these
        preview.translate = place
    _set_visible(preview, True)


def _set_contour(layer: Labels, wanted: int) -> None:
    if layer.contour != wanted:
        layer.contour = wanted


def _set_visible(layer: Labels, wanted: bool) -> None:
    """Show or hide; where nothing changes, napari would draw the whole scene anew."""
    if layer.visible != wanted:
        layer.visible = wanted


def make_picture(picture: NDArray[np.uint8], image: Image, plane: Plane) -> Image:
    """A layer of what the model sees, on the plane that it was made of."""
    space = same_space(image)
    space["translate"] = shifted(image, plane.lift(0.0, 0.0))
    return Image(
        spread(picture, plane),
        rgb=True,
        name=f"{image.name}: what the model sees",
        metadata={ROLE: "picture"},
        **space,
    )
