"""What simpler ways make of the same actions in a stack: copies, interpolation, a threshold.

Knows masks of single planes; asks no model. Those that copy or interpolate are told on which planes
the object is, which propagation has to find out.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from napari_sam.evaluation.metrics import Mask
from napari_sam.volume.propagation.shapes import Shape, blend

__all__ = ["component", "copied", "drawn_planes", "interpolated", "spread_planes"]


def spread_planes(truth: Mask, count: int) -> list[int]:
    """So many planes of an object (axis 0), evenly spread: the middle of each part."""
    on = np.flatnonzero(truth.any((1, 2)))
    count = min(count, len(on))
    return [int(on[(2 * k + 1) * len(on) // (2 * count)]) for k in range(count)]


def drawn_planes(truth: Mask, every: int) -> list[int]:
    """Each so-many-th plane of an object, its first and its last one."""
    on = np.flatnonzero(truth.any((1, 2)))
    return sorted({int(on[0]), *range(int(on[0]), int(on[-1]), every), int(on[-1])} & set(on))


def copied(masks: Mapping[int, Mask], truth: Mask) -> Mask:
    """On each plane of the object, the mask of the nearest plane that has one."""
    planes = np.array(sorted(masks))
    answer = np.zeros_like(truth)
    for plane in np.flatnonzero(truth.any((1, 2))):
        answer[plane] = masks[int(planes[np.abs(planes - plane).argmin()])]
    return answer


def interpolated(masks: Mapping[int, Mask], truth: Mask, spacing: tuple[float, float]) -> Mask:
    """As :func:`copied`, but signed distances between two planes that have masks."""
    answer = copied(masks, truth)
    for low, high in pairwise(sorted(masks)):
        ends = [Shape.of(masks[plane]) for plane in (low, high)]
        if not all(end.area for end in ends):
            continue
        for plane in range(low + 1, high):
            shape = blend(ends[0], ends[1], (plane - low) / (high - low), spacing)
            inside = shape.clipped(truth.shape[1:])
            answer[plane] = False
            answer[plane][inside.region] = inside.mask
    return answer


def component(planes: Sequence[NDArray[np.uint8]], at: tuple[int, int, int]) -> Mask:
    """Otsu's threshold of the whole stack; the 3D component at a click, bright or dark as there."""
    volume = np.stack(planes).astype(np.float32)
    bright = volume > threshold_otsu(volume)
    same = bright == bright[at]
    pieces = ndimage.label(same)[0]
    found: Mask = pieces == pieces[at]
    return found
