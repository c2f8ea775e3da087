"""Parts of a plane at a lower resolution: from the pyramid where there is one, else averaged.

Knows images; an overview of any size is read in strips, so that it never fills the memory.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.regions import Region
from napari_sam.errors import ImageError
from napari_sam.volume.image import ImageRef, Plane

__all__ = ["read_reduced"]

STRIP = 512  # rows that are read at once
MOST_LEVELS = 12


def read_reduced(image: ImageRef, plane: Plane, region: Region, step: int) -> NDArray[Any]:
    """Read a region with every ``step`` pixels along y and x as one.

    Parameters
    ----------
    image, plane, region
        As for :meth:`ImageRef.read`.
    step
        A power of two; 1 reads the pixels themselves.

    Returns
    -------
    numpy.ndarray
        (y, x) or (y, x, c) in the image's dtype; a remainder of less than ``step`` pixels at the
        end of the region is left out.

    Raises
    ------
    ImageError
        The region is smaller than ``step``, or as :meth:`ImageRef.read`.
    """
    if step == 1:
        return image.read(plane, region)
    sides = tuple((part.stop - part.start) // step for part in region)
    if 0 in sides:
        raise ImageError(f"a region of less than {step} pixels cannot be read reduced so much.")
    finest = 1
    for coarser, factor in _pyramid(image):
        if factor <= step and step % factor == 0:
            image, finest = coarser, factor
    rest = step // finest
    corner = [part.start // finest for part in region]
    corner = [
        min(first, length - side * rest)
        for first, side, length in zip(corner, sides, image.size, strict=True)
    ]
    columns = slice(corner[1], corner[1] + sides[1] * rest)
    high = max(1, STRIP // rest)  # rows of the result that are made at once
    strips = []
    for first in range(0, sides[0], high):
        last = min(first + high, sides[0])
        rows = slice(corner[0] + first * rest, corner[0] + last * rest)
        strips.append(_average(image.read(plane, (rows, columns)), rest))
    return np.concatenate(strips)


def _average(part: NDArray[Any], step: int) -> NDArray[Any]:
    if step == 1:
        return part
    height, width = part.shape[0] // step, part.shape[1] // step
    blocks = part.reshape(height, step, width, step, *part.shape[2:])
    return np.asarray(blocks.mean((1, 3), dtype=np.float32), part.dtype)


@lru_cache(maxsize=8)
def _pyramid(image: ImageRef) -> tuple[tuple[ImageRef, int], ...]:
    """Coarser levels that have half, a quarter, ... of the pixels, with the factor."""
    if not isinstance(image.source, str):
        return ()
    found = []
    for level in range(image.level + 1, MOST_LEVELS):
        try:
            coarser = ImageRef.open(image.source, axes=image.axes, level=level)
        except ImageError:
            break
        factor = round(image.size[0] / coarser.size[0])
        fits = all(
            # Rounded up or down; a level that is shorter than that has no place for the last pixel.
            length // factor <= coarse <= -(-length // factor)
            for length, coarse in zip(image.size, coarser.size, strict=True)
        )
        same_planes = coarser.planes == image.planes and coarser.channels == image.channels
        if factor > 1 and factor & (factor - 1) == 0 and fits and same_planes:
            found.append((coarser, factor))
    return tuple(found)
