"""Contrast: whether an object still stands out from what is around it.

A model that is told box and mask of an object goes on to see it where it has long ended, and is
sure of it. The pixels tell: inside and around the mask they differ less and less. Knows pictures
and shapes; asks no model.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam.core.regions import Region
from napari_sam.volume.propagation.keys import Keys
from napari_sam.volume.propagation.shapes import Shape, union
from napari_sam.volume.propagation.stack import Stack

__all__ = ["contrasts", "usual_contrasts"]

RING = 0.15  # width of what counts as around an object, of the root of its area
LEAST_RING = 2  # pixels
LEAST_TELLING = 4.0  # of 255 grey levels: an object that differs less is not judged
TELLING = 0.5  # nor one that differs by less than this, of the spread of its grey levels


def contrasts(
    stack: Stack, plane: int, shapes: Mapping[int, Shape], *, telling: bool = False
) -> dict[int, float]:
    """Mean grey level within each object less that of a ring around it, of 255; by object.

    With ``telling``, 0 for objects that differ by less than noise and texture do by chance.
    """
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
    return {one: _contrast(grey, whole, some[one], rings[one], telling) for one in some}


def usual_contrasts(stack: Stack, keys: Keys) -> dict[int, float]:
    """Of each object on that of its key planes on which it stands out most; 0: on none.

    Near its end an object stands out little: a key plane there tells nothing of where it ends.
    """
    best: dict[int, float] = {}
    for plane, shapes in keys.drawn.items():
        for one, value in contrasts(stack, plane, shapes, telling=True).items():
            best[one] = max(best.get(one, 0.0), value, key=abs)
    return best


def _contrast(
    grey: NDArray[np.float32], whole: Region, shape: Shape, around: Region, telling: bool
) -> float:
    rows, columns = (
        slice(part.start - first.start, part.stop - first.start)
        for part, first in zip(around, whole, strict=True)
    )
    values, mask = grey[rows, columns], shape.within(around)
    ring = ndimage.binary_dilation(mask, iterations=_width(shape)) & ~mask
    if not ring.any():
        return 0.0
    difference = float(values[mask].mean() - values[ring].mean())
    least = max(LEAST_TELLING, TELLING * float(values[mask | ring].std()))
    return difference if abs(difference) >= least or not telling else 0.0


def _width(shape: Shape) -> int:
    return max(LEAST_RING, round(RING * math.sqrt(shape.area)))


def _roomy(shape: Shape, size: tuple[int, int]) -> Region:
    width = _width(shape)
    rows, columns = (
        slice(max(0, part.start - width), min(length, part.stop + width))
        for part, length in zip(shape.region, size, strict=True)
    )
    return (rows, columns)
