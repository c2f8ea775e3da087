"""Candidates: what the model answered to a grid of points, measured once and kept compactly.

All thresholds can be moved over them without asking the model again. Knows masks and how they are
measured; the grid and the filters are in ``automatic.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.frame import Frame
from napari_sam.core.masks import Box, MaskRecord, boxes_of
from napari_sam.core.regions import Mask, Region, Size
from napari_sam.core.upscale import region_above, strips, trim


@dataclass(frozen=True, eq=False)
class Candidates:
    """Raw answers of the point grid, before any filter but the least score.

    Attributes
    ----------
    records
        N candidates in the order of the official generator: crop by crop, point by point, and the
        candidates of a point one after the other.
    shape
        (H, W) of the image.
    crop_numbers
        (N,) which crop each comes from, counted from 0.
    n_crops
        How many crops were looked at.
    least_score
        Answers with a predicted IoU not above it were not kept; None: all were.
    stability_score_offset
        That the stability was measured with.
    prompts
        How many points were asked: fewer than the grid has if it was an adaptive one.
    """

    records: tuple[MaskRecord, ...]
    shape: Size
    crop_numbers: NDArray[np.intp]
    n_crops: int
    least_score: float | None
    stability_score_offset: float
    prompts: int
    # Cleaning a mask takes longer than all filters together, so it is done once. Only a speed-up:
    # the values are the same whoever asks, and from whichever thread.
    _cleaned: dict[tuple[int, int], MaskRecord] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def scores(self) -> NDArray[np.float32]:
        """(N,) predicted IoU."""
        return np.array([record.score for record in self.records], np.float32)

    @cached_property
    def stabilities(self) -> NDArray[np.float32]:
        """(N,) stability scores."""
        return np.array([record.stability for record in self.records], np.float32)

    @cached_property
    def boxes(self) -> NDArray[np.int64]:
        """(N, 4) y0, x0, y1, x1 of the outermost pixels, inclusive."""
        return boxes_of(self.records)

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """(N, 2) y, x of the prompts."""
        return np.array([record.point for record in self.records]).reshape(-1, 2)

    @cached_property
    def crops(self) -> NDArray[np.int64]:
        """(N, 4) y0, x0, y1, x1 (half-open) of the crop that each comes from."""
        return np.array([record.crop for record in self.records], np.int64).reshape(-1, 4)

    def cleaned(self, index: int, least: int) -> MaskRecord:
        """A candidate without holes and islands of fewer than ``least`` pixels."""
        key = (index, least)
        if key not in self._cleaned:
            self._cleaned[key] = self.records[index].cleaned(least)
        return self._cleaned[key]


def measure(
    frame: Frame, low_res_hw: NDArray[np.float32], *, offset: float
) -> tuple[Mask, Region, float]:
    """Upscale one answer where it can be an object: mask, tight region, stability.

    Parameters
    ----------
    frame
        Of the crop.
    low_res_hw
        (h, w) low-res logits.
    offset
        How far, in logits, the threshold moves for the stability.

    Returns
    -------
    tuple
        Mask within its region; the region in pixels of the crop; stability in 0 to 1. The logits
        exist a few rows at a time.
    """
    loose = region_above(frame, low_res_hw, -offset)
    mask = np.zeros([side.stop - side.start for side in loose], bool)
    low = high = 0
    for strip, logits in strips(frame, low_res_hw, loose):
        low += int(np.count_nonzero(logits > -offset))
        high += int(np.count_nonzero(logits > offset))
        np.greater(logits, 0, out=mask[strip])
    patch, region = trim(mask, loose)
    return patch, region, high / low if low else 0.0


def near_crop_edge(boxes: NDArray[np.int64], crops: Sequence[Box] | NDArray[np.int64],
                   shape: Size, *, tolerance: int) -> NDArray[np.bool_]:  # fmt: skip
    """(N,) whether a side of a box lies at an edge of its crop that is no edge of the image."""
    near_crop = np.abs(boxes - np.asarray(crops).reshape(-1, 4)) <= tolerance
    near_image = np.abs(boxes - np.array((0, 0, *shape))) <= tolerance
    edge: NDArray[np.bool_] = (near_crop & ~near_image).any(1)
    return edge
