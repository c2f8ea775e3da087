"""A fixed sample of an image's blocks: what tells images apart, and what ranges are taken from.

Knows images by :class:`~napari_sam.volume.image.ImageRef`; an image of any size costs the same.
"""

from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from napari_sam.volume.image import ImageRef

__all__ = ["fingerprint", "sample_blocks"]

SIDE = 256  # pixels: a sampled block
MOST_BLOCKS = 64
GOLDEN = 0.6180339887498949  # its multiples, modulo 1, spread evenly, in step with no lattice


def sample_blocks(image: ImageRef) -> Iterator[NDArray[Any]]:
    """Blocks (y, x, c) of at most 256 x 256 pixels, always the same 64 ones; all where fewer."""
    height, width = image.size
    planes = image.planes
    rows, columns = ceil(height / SIDE), ceil(width / SIDE)
    total = rows * columns * len(planes)
    if total <= MOST_BLOCKS:
        chosen = list(range(total))
    else:
        spread = [int((i + 0.5) * GOLDEN % 1 * total) for i in range(MOST_BLOCKS)]
        chosen = sorted(set(spread))
    for index in chosen:
        plane, cell = divmod(index, rows * columns)
        y, x = (corner * SIDE for corner in divmod(cell, columns))
        region = (slice(y, min(y + SIDE, height)), slice(x, min(x + SIDE, width)))
        block = image.read(planes[plane], region)
        yield block if block.ndim == 3 else block[..., None]


def fingerprint(image: ImageRef) -> dict[str, Any]:
    """What tells this image from another: axes, shape, dtype, and a hash of the sampled blocks.

    Not the path: an image that was moved is the same one.
    """
    digest = xxhash.xxh3_128()
    for block in sample_blocks(image):
        digest.update(np.ascontiguousarray(block).data)
    return {
        "axes": image.axes,
        "shape": list(image.shape),
        "dtype": image.dtype,
        "sample_xxh3_128": digest.hexdigest(),
    }
