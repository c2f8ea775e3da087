"""Regions and the pixels of a mask: where it lies, holes and islands in it.

Plain functions on bool arrays; knows no records, models or prompts.
"""

from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Region = tuple[slice, slice]
Size = tuple[int, int]
EIGHT_NEIGHBOURS = np.ones((3, 3), bool)


def tight_region(mask: Mask) -> Region:
    """Smallest region that holds the mask; an empty one at the origin for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return (slice(0, 0), slice(0, 0))
    return (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))


def shift(region: Region, by: tuple[int, int]) -> Region:
    """The region, moved by (y, x) pixels."""
    rows, columns = region
    return (
        slice(rows.start + by[0], rows.stop + by[0]),
        slice(columns.start + by[1], columns.stop + by[1]),
    )


def remove_small_regions(mask: Mask, least: int) -> tuple[Mask, bool]:
    """Fill holes and drop islands of fewer than ``least`` pixels (8-neighbourhood).

    The largest island stays even when it is smaller. Returns the mask and whether it changed.
    """
    filled, holes = _drop_components(~mask, least, keep_largest=False)
    cleaned, islands = _drop_components(~filled, least, keep_largest=True)
    return cleaned, holes or islands


def clean_patch(patch: Mask, region: Region, shape: Size, least: int) -> tuple[Mask, Region, bool]:
    """:func:`remove_small_regions` of a whole image, (H, W), by looking around its object only.

    Background that reaches beyond the part looked at has ``least`` pixels within it, so nothing
    is taken for a hole that is none in the whole image.

    Returns
    -------
    tuple
        The cleaned mask within its tight region, that region, and whether anything changed.
    """
    if not patch.size:
        patch = np.zeros((1, 1), bool)  # an image without an object may itself be a small hole
        region = (slice(region[0].start, region[0].start + 1),
                  slice(region[1].start, region[1].start + 1))  # fmt: skip
    margins = [ceil(least / patch.shape[1]), ceil(least / patch.shape[0])]
    before = [min(m, side.start) for m, side in zip(margins, region, strict=True)]
    after = [min(m, n - s.stop) for m, s, n in zip(margins, region, shape, strict=True)]
    around = np.pad(patch, list(zip(before, after, strict=True)))
    cleaned, changed = remove_small_regions(around, least)
    inner = tight_region(cleaned)
    corner = (region[0].start - before[0], region[1].start - before[1])
    return cleaned[inner], shift(inner, corner), changed


def _drop_components(mask: Mask, least: int, *, keep_largest: bool) -> tuple[Mask, bool]:
    components, count = ndimage.label(mask, EIGHT_NEIGHBOURS)
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    small = sizes < least
    small[0] = False
    if not small.any():
        return mask, False
    if keep_largest and small[1:].all():
        small[1 + sizes[1:].argmax()] = False
    return mask & ~small[components], True
