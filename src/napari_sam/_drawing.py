"""Masks of a plane -> what is drawn into labels of all axes. Knows arrays only."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam._covered import Covered
from napari_sam._operations import Drawing
from napari_sam._predict import MaskPatch, Plane, paint


def drawing_of(plane: Plane, patches: Sequence[MaskPatch]) -> Drawing:
    """Patches of a plane as masks 1 to n; where they overlap, the better score stays on top."""
    offset, canvas = paint(patches, range(1, len(patches) + 1), np.uint32)
    among: dict[int, Covered] = {}
    for number, patch in enumerate(patches, start=1):
        y, x = (at - first for at, first in zip(patch.offset, offset, strict=True))
        height, width = patch.mask.shape
        beneath = patch.mask & (canvas[y : y + height, x : x + width] != number)
        start, mask = in_all_axes(plane, patch.offset, beneath)
        covered = Covered.of(mask, start)
        if covered is not None:
            among[number] = covered
    return Drawing(*in_all_axes(plane, offset, canvas), among)


def in_all_axes(
    plane: Plane, offset: tuple[int, int], canvas: NDArray[Any]
) -> tuple[tuple[int, ...], NDArray[Any]]:
    """A canvas (h, w) of a plane with the axes that the image has."""
    start, shape = list(plane.index), [1] * len(plane.index)
    for axis, first, length in zip(plane.axes, offset, canvas.shape, strict=True):
        start[axis], shape[axis] = first, length
    return tuple(start), canvas.reshape(shape)
