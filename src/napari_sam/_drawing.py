"""Masks of a plane -> what is drawn into labels of all axes. Knows arrays only."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam._operations import Drawing
from napari_sam._predict import MaskPatch, Plane, paint


def drawing_of(plane: Plane, patches: Sequence[MaskPatch]) -> Drawing:
    """Patches of a plane as masks 1 to n; where they overlap, the better score stays on top."""
    offset, canvas = paint(patches, range(1, len(patches) + 1), np.uint32)
    return Drawing(*in_all_axes(plane, offset, canvas))


def in_all_axes(
    plane: Plane, offset: tuple[int, int], canvas: NDArray[Any]
) -> tuple[tuple[int, ...], NDArray[Any]]:
    """A canvas (h, w) of a plane with the axes that the image has."""
    start, shape = list(plane.index), [1] * len(plane.index)
    for axis, first, length in zip(plane.axes, offset, canvas.shape, strict=True):
        start[axis], shape[axis] = first, length
    return tuple(start), canvas.reshape(shape)
