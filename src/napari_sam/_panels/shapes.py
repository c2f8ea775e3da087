"""Candidate masks as small pictures, all to the same scale. Knows masks and Qt, no session."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtGui import QIcon, QImage, QPixmap

from napari_sam._predict import MaskPatch

SIZE = (30, 36)  # of a picture, rows and columns
SHAPE_BGRA = (0, 220, 255, 255)
OTHERS_BGRA = (128, 128, 128, 110)


def small_masks(patches: Sequence[MaskPatch], size: tuple[int, int]) -> list[NDArray[np.bool_]]:
    """Each mask (rows, columns), sampled on one grid around all of them."""
    filled = [patch for patch in patches if patch.mask.size]
    if not filled:
        return [np.zeros(size, bool) for _ in patches]
    low = np.min([patch.offset for patch in filled], axis=0)
    high = np.max([np.add(patch.offset, patch.mask.shape) for patch in filled], axis=0)
    step = float(np.max((high - low) / size))
    start = (low + high - np.array(size) * step) / 2
    places = [np.floor(start[i] + (np.arange(size[i]) + 0.5) * step).astype(int) for i in (0, 1)]
    return [_sampled(patch, places[0], places[1]) for patch in patches]


def _sampled(
    patch: MaskPatch, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.bool_]:
    found = np.zeros((len(rows), len(columns)), bool)
    y, x = rows - patch.offset[0], columns - patch.offset[1]
    height, width = patch.mask.shape
    down, across = (y >= 0) & (y < height), (x >= 0) & (x < width)
    found[np.ix_(down, across)] = patch.mask[np.ix_(y[down], x[across])]
    return found


def pictures(patches: Sequence[MaskPatch]) -> list[QIcon]:
    """A picture of each mask, the others behind it in grey."""
    masks = small_masks(patches, SIZE)
    any_of_them = np.any(masks, axis=0) if masks else np.zeros(SIZE, bool)
    return [_icon(mask, any_of_them) for mask in masks]


def _icon(mask: NDArray[np.bool_], others: NDArray[np.bool_]) -> QIcon:
    pixels = np.zeros((*SIZE, 4), np.uint8)
    pixels[others], pixels[mask] = OTHERS_BGRA, SHAPE_BGRA
    image = QImage(pixels.tobytes(), SIZE[1], SIZE[0], QImage.Format.Format_ARGB32)
    return QIcon(QPixmap.fromImage(image.copy()))
