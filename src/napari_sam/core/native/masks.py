"""Low-res logits -> masks at the image's size, in one pass of the compiled library."""

import ctypes
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.native.library import ready_library
from napari_sam.core.regions import Mask, Region

if TYPE_CHECKING:
    from napari_sam.core.upscale import Band

__all__ = ["can_threshold", "threshold"]


def can_threshold() -> bool:
    """Whether :func:`threshold` works here; the library is not made for its sake."""
    return ready_library() is not None


def threshold(
    low_res_hw: NDArray[np.float32], rows: "Band", columns: "Band", region: Region, out: Mask
) -> None:
    """Write which logits of a region are above 0.

    Parameters
    ----------
    low_res_hw
        (h, w) low-res logits.
    rows, columns
        The maps along y and x.
    region
        Half-open, in pixels of the image; at least one pixel.
    out
        Of the region's size; rows may lie apart, pixels of a row may not.

    Raises
    ------
    ValueError
        If ``out`` is of another size or kind, the region is not within the image, or a row of it
        depends on more than eight rows of logits (two bilinear steps need three).
    MemoryError
        No memory for some rows of the image.
    """
    (y, x), low = region, np.ascontiguousarray(low_res_hw, np.float32)
    size = (y.stop - y.start, x.stop - x.start)
    if out.shape != size or out.dtype != np.bool_ or out.strides[1] != 1 or min(size) < 1:
        raise ValueError(f"out is {out.shape} of {out.dtype}; it must be {size} of bool.")
    if min(y.start, x.start) < 0 or y.stop > len(rows.first) or x.stop > len(columns.first):
        raise ValueError(f"the region {region} is not within the image.")
    library = ready_library()
    assert library is not None
    bands = []
    for band in (rows, columns):
        first = np.ascontiguousarray(band.first, np.int64)
        bands += [first, np.ascontiguousarray(band.weights, np.float32), band.taps]
    failed = library.threshold(
        *(
            ctypes.c_void_p(value.ctypes.data)
            if isinstance(value, np.ndarray)
            else ctypes.c_long(value)
            for value in (low, low.shape[1], *bands)
        ),
        (ctypes.c_long * 4)(y.start, y.stop, x.start, x.stop),
        ctypes.c_void_p(out.ctypes.data),
        ctypes.c_long(out.strides[0]),
    )
    if failed == 1:
        raise MemoryError("there was no memory for some rows of a mask")
    if failed:
        raise ValueError(f"rows of the image depend on {rows.taps} rows of logits: too many.")
