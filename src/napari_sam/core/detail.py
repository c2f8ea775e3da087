"""Detail: masks of one object from a crop of the image, seen larger than the whole.

Brings them to pixels of the image, and to the low-res cells of the whole, so that they can be given
back as a mask prompt. Knows frames and logits; no models and no prompts.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.frame import EMPTY_LOGIT, Frame
from napari_sam.core.regions import Mask, Region, shift
from napari_sam.core.upscale import restore_mask, restore_region

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Detail:
    """What was seen of one object in a crop.

    Attributes
    ----------
    region
        The crop: half-open slices along y and x, in pixels of the image.
    frame
        Of the crop.
    low_res_logits
        (M, h, w) of the crop's frame.
    """

    region: Region
    frame: Frame
    low_res_logits: Floats

    @property
    def _corner(self) -> tuple[int, int]:
        return (self.region[0].start, self.region[1].start)

    def only(self, candidate: int) -> "Detail":
        """Leave out all candidates but one."""
        return replace(self, low_res_logits=self.low_res_logits[candidate : candidate + 1])

    def patch(self, candidate: int) -> tuple[Mask, Region]:
        """The mask in its bounding box, and that box in pixels of the image."""
        mask, region = restore_mask(self.frame, self.low_res_logits[candidate])
        return (mask, shift(region, self._corner)) if mask.size else (mask, region)

    def logits(self, candidate: int, size: tuple[int, int]) -> Floats:
        """Logits of the whole image (H, W); -10 outside the crop."""
        whole = np.full(size, EMPTY_LOGIT, np.float32)
        everything = (slice(0, self.frame.original[0]), slice(0, self.frame.original[1]))
        crop = self.low_res_logits[candidate]
        whole[self.region] = restore_region(self.frame, crop, everything)
        return whole

    def cells(self, frame: Frame) -> Floats:
        """The candidates in low-res cells of the whole image's frame, (M, h, w).

        A cell is the mean of what the crop has in it; cells beyond the crop are -10.
        """
        rows, columns = (_overlaps(frame, self.frame, self._corner, axis) for axis in (0, 1))
        outside = np.outer(1 - rows.sum(1), np.ones(len(columns))) + np.outer(
            rows.sum(1), 1 - columns.sum(1)
        )
        inside = rows @ self.low_res_logits @ columns.T
        return np.asarray(inside + EMPTY_LOGIT * outside, np.float32)


def _overlaps(whole: Frame, crop: Frame, corner: tuple[int, int], axis: int) -> NDArray[np.float64]:
    """(cells of the whole, cells of the crop): share of the first that the second covers."""
    edges = np.arange(whole.low_res[axis] + 1) * whole.mask_stride / whole.scale[axis]
    ends = corner[axis] + np.arange(crop.low_res[axis] + 1) * crop.mask_stride / crop.scale[axis]
    ends = np.minimum(ends, corner[axis] + crop.original[axis])  # the padding shows nothing
    common = np.minimum(edges[1:, None], ends[None, 1:]) - np.maximum(edges[:-1, None], ends[:-1])
    return np.asarray(np.maximum(common, 0) / np.diff(edges)[:, None])
