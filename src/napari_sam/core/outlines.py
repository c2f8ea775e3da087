"""Objects as masks of single planes, as formats of outlines keep them; polygons -> masks.

Knows arrays only: no files, no layers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam.core.regions import Mask, tight_region

__all__ = ["Outline", "kinds_of", "mask_of_rings"]


@dataclass(frozen=True, eq=False)
class Outline:
    """An object on one plane, and what is known of the object.

    Attributes
    ----------
    mask
        (h, w) bool.
    offset
        (y, x) of its first pixel in the plane.
    number
        Label of the object; outlines of one number are one object. 0: not known.
    plane
        Index along the axes before y and x.
    kind, colour
        Class and its colour ``#rrggbb``; empty: none.
    score
        IoU that a model expects; None: none did.
    reviewed
        Whether a person has accepted it.
    """

    mask: Mask
    offset: tuple[int, int]
    number: int = 0
    plane: tuple[int, ...] = ()
    kind: str = ""
    colour: str = ""
    score: float | None = None
    reviewed: bool = False

    @property
    def region(self) -> tuple[slice, slice]:
        """Where the mask lies in its plane."""
        (y, x), (height, width) = self.offset, self.mask.shape
        return (slice(y, y + height), slice(x, x + width))


def kinds_of(outlines: Iterable[Outline]) -> dict[str, str]:
    """The classes that occur, and the first colour of each."""
    kinds: dict[str, str] = {}
    for one in outlines:
        if one.kind:
            kinds.setdefault(one.kind, one.colour)
    return kinds


def mask_of_rings(
    rings: Sequence[ArrayLike], size: tuple[int, int]
) -> tuple[Mask, tuple[int, int]] | None:
    """The pixels whose centres lie within an odd number of rings: holes are rings in rings.

    Parameters
    ----------
    rings
        Each (n, 2) as (x, y); the first pixel of the plane reaches from 0 to 1.
    size
        (height, width) of the plane; what lies outside is cut off.

    Returns
    -------
    tuple or None
        Mask (h, w) and the (y, x) of its first pixel; None: no pixel lies within.
    """
    from skimage.draw import polygon2mask

    points = [np.asarray(ring, float).reshape(-1, 2)[:, ::-1] for ring in rings]
    points = [ring for ring in points if len(ring) > 2]
    if not points:
        return None
    corners = np.concatenate(points)
    low = np.clip(np.floor(corners.min(0)), 0, size).astype(int)
    high = np.clip(np.ceil(corners.max(0)), 0, size).astype(int)
    if (low >= high).any():
        return None
    mask = np.zeros(tuple(high - low), bool)
    for ring in points:
        mask ^= polygon2mask(mask.shape, ring - low - 0.5)
    rows, columns = tight_region(mask)
    if not mask.any():
        return None
    offset = (int(low[0]) + rows.start, int(low[1]) + columns.start)
    return _owned(mask[rows, columns]), offset


def _owned(mask: NDArray[np.bool_]) -> Mask:
    return np.ascontiguousarray(mask)
