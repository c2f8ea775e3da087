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

__all__ = ["fingerprint", "sample_blocks", "telling_blocks"]

SIDE = 256  # pixels: a sampled block
MOST_BLOCKS = 64
FEWEST_TELLING = 16  # blocks with something in them from which a range can be taken
MOST_LOOKED_AT = 2048  # blocks of a volume that is nearly empty
GOLDEN = 0.6180339887498949  # its multiples, modulo 1, spread evenly, in step with no lattice


def sample_blocks(image: ImageRef) -> Iterator[NDArray[Any]]:
    """Blocks (y, x, c) of at most 256 x 256 pixels, always the same 64 ones; all where fewer."""
    return _blocks(image, 0, MOST_BLOCKS)


def telling_blocks(image: ImageRef) -> list[NDArray[Any]]:
    """Those of the sample that are not all of one value; in a nearly empty volume, further ones.

    All of the sample where none is found: then the volume is empty as far as can be seen.
    """
    sample = list(sample_blocks(image))
    telling = [block for block in sample if block.min() != block.max()]
    if len(telling) < min(FEWEST_TELLING, len(sample)):
        for block in _blocks(image, MOST_BLOCKS, MOST_LOOKED_AT):
            if block.min() != block.max():
                telling.append(block)
            if len(telling) >= FEWEST_TELLING:
                break
    return telling or sample


def _blocks(image: ImageRef, start: int, stop: int) -> Iterator[NDArray[Any]]:
    """Numbers ``start`` to ``stop`` of the blocks, in an order that spreads them evenly."""
    height, width = image.size
    planes = image.planes
    rows, columns = ceil(height / SIDE), ceil(width / SIDE)
    total = rows * columns * len(planes)
    if total <= MOST_BLOCKS:
        chosen = list(range(start, min(stop, total)))
    else:
        spread = [int((i + 0.5) * GOLDEN % 1 * total) for i in range(start, stop)]
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
