"""Run-length codes of masks, in COCO's order: down the columns, zeros first, uncompressed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.regions import Mask, Region


def encode_rle(mask: Mask) -> dict[str, Any]:
    """``{"size": [H, W], "counts": [...]}`` of a mask (H, W)."""
    return encode_patch(mask, (slice(0, mask.shape[0]), slice(0, mask.shape[1])), mask.shape)


def encode_patch(patch: Mask, region: Region, shape: tuple[int, ...]) -> dict[str, Any]:
    """The code of an image (H, W) whose object lies in a region: in time linear in the region."""
    height, width = shape
    padded = np.zeros((patch.shape[1], patch.shape[0] + 2), np.int8)  # columns as rows
    padded[:, 1:-1] = patch.T
    change = np.diff(padded, axis=1)
    starts, ends = (_places(change == sign, region, height) for sign in (1, -1))
    if len(starts):  # a run to the bottom of a column goes on at the top of the next
        joined = ends[:-1] == starts[1:]
        starts, ends = starts[np.r_[True, ~joined]], ends[np.r_[~joined, True]]
    edges = np.empty(2 * len(starts) + 2, np.int64)
    edges[0], edges[-1] = 0, height * width
    edges[1:-1:2], edges[2:-1:2] = starts, ends
    counts = np.diff(edges)
    if len(starts) and counts[-1] == 0:
        counts = counts[:-1]
    return {"size": [height, width], "counts": counts.tolist()}


def decode_rle(rle: dict[str, Any]) -> Mask:
    """The mask (H, W) of an uncompressed run-length code."""
    height, width = rle["size"]
    values = np.arange(len(rle["counts"])) % 2 == 1
    return np.repeat(values, rle["counts"]).reshape(width, height).T


def _places(found: NDArray[np.bool_], region: Region, height: int) -> NDArray[np.int64]:
    """Positions along the image's columns, one after the other."""
    columns, places = np.nonzero(found)
    return (columns + region[1].start) * height + places + region[0].start
