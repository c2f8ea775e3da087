"""Contrast: whether an object still stands out from what is around it.

A model that is told box and mask of an object goes on to see it where it has long ended, and is
sure of it. The pixels tell: inside and around the mask they differ less and less. Knows pictures
and shapes; asks no model.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam.core.regions import Region
from napari_sam.volume.propagation.keys import Keys
from napari_sam.volume.propagation.shapes import Shape, union
from napari_sam.volume.propagation.stack import Stack

__all__ = ["Level", "contrasts", "smoothed", "usual_levels"]

RING = 0.15  # width of what counts as around an object, of the root of its area
LEAST_RING = 2  # pixels
SMOOTH = 1.0  # pixels
LEAST_TELLING = 4.0  # of 255 grey levels: an object that differs less is not judged
TELLING = 0.5  # nor one that differs by less than this, of the spread of its grey levels


@dataclass(frozen=True)
class Level:
    """Mean grey level of an object, of 255, against a ring around it.

    Attributes
    ----------
    difference
        Of both; 0 where it does not tell.
    middle
        Half way between.
    """

    difference: float = 0.0
    middle: float = 0.0


def contrasts(stack: Stack, plane: int, shapes: Mapping[int, Shape]) -> dict[int, float]:
    """How much each object differs from what is around it; by object."""
    return {one: level.difference for one, level in _levels(stack, plane, shapes).items()}


def usual_levels(stack: Stack, keys: Keys) -> dict[int, Level]:
    """Of each object on that of its key planes on which it stands out most.

    Near its end an object stands out little: a key plane there does not tell where it ends. Where
    it differs nowhere by more than noise and texture do by chance, nothing is told. Of planes on
    which it stands out about as much, the one on which it is largest counts: so one more key plane
    seldom changes what is far from it.
    """
    best: dict[int, tuple[tuple[int, int], Level]] = {}
    for plane, shapes in sorted(keys.drawn.items()):
        for one, level in _levels(stack, plane, shapes, telling=True).items():
            rank = (_doublings(level), shapes[one].area)
            if one not in best or rank > best[one][0]:
                best[one] = rank, level
    return {one: level for one, (_, level) in best.items()}


def _doublings(level: Level) -> int:
    """How much an object stands out, in steps of the root of 2."""
    return round(2 * math.log2(max(1.0, abs(level.difference))))


def smoothed(stack: Stack, plane: int) -> NDArray[np.float32]:
    """(rows, columns) grey levels of a plane, with little noise."""
    job = stack.embedder.job
    grey = job.intensity.picture(job.image.read(stack.plane(plane))).mean(2, dtype=np.float32)
    return np.asarray(ndimage.gaussian_filter(grey, SMOOTH), np.float32)


def _levels(
    stack: Stack, plane: int, shapes: Mapping[int, Shape], *, telling: bool = False
) -> dict[int, Level]:
    some = {one: shape for one, shape in shapes.items() if shape.area}
    if not some:
        return {}
    rings = {one: _roomy(shape, stack.size) for one, shape in some.items()}
    whole = next(iter(rings.values()))
    for region in rings.values():
        whole = union(whole, region)
    job = stack.embedder.job
    picture = job.intensity.picture(job.image.read(stack.plane(plane), whole))
    grey = picture.mean(2, dtype=np.float32)
    return {one: _level(grey, whole, some[one], rings[one], telling) for one in some}


def _level(
    grey: NDArray[np.float32], whole: Region, shape: Shape, around: Region, telling: bool
) -> Level:
    rows, columns = (
        slice(part.start - first.start, part.stop - first.start)
        for part, first in zip(around, whole, strict=True)
    )
    values, mask = grey[rows, columns], shape.within(around)
    ring = ndimage.binary_dilation(mask, iterations=_width(shape)) & ~mask
    if not ring.any():
        return Level()
    inside, outside = float(values[mask].mean()), float(values[ring].mean())
    least = max(LEAST_TELLING, TELLING * float(values[mask | ring].std()))
    if telling and abs(inside - outside) < least:
        return Level()
    return Level(inside - outside, (inside + outside) / 2)


def _width(shape: Shape) -> int:
    return max(LEAST_RING, round(RING * math.sqrt(shape.area)))


def _roomy(shape: Shape, size: tuple[int, int]) -> Region:
    width = _width(shape)
    rows, columns = (
        slice(max(0, part.start - width), min(length, part.stop + width))
        for part, length in zip(shape.region, size, strict=True)
    )
    return (rows, columns)
