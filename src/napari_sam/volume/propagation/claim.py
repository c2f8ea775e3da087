"""Claim: what the model claims for one object on a plane, in few bytes. Knows frames; no stacks.

Logits are kept at the model's low resolution, in steps of an eighth, around the object only: so a
claim has some hundred bytes, and one that is read from disk is the one that was made.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.regions import Mask, Region, shift, tight_region
from napari_sam.volume.propagation.stack import Look

if TYPE_CHECKING:
    from napari_sam.core.frame import Frame

__all__ = ["BACKGROUND", "STEPS", "Claim"]

STEPS = 8  # to a logit of 1
BACKGROUND = -10.0  # logit where nothing is kept
MARGIN = 3  # cells around the object


@dataclass(frozen=True, eq=False)
class Claim:
    """Logits of one object, cut out.

    Attributes
    ----------
    look, frame
        What the model saw, and its sizes.
    cells
        Where ``logits`` lie among the low-res cells.
    logits
        (h, w) int8, eighths; above 0 is object.
    score
        Predicted IoU.
    """

    look: Look
    frame: "Frame"
    cells: Region
    logits: NDArray[np.int8]
    score: float

    @classmethod
    def keep(
        cls, look: Look, frame: "Frame", low_res: NDArray[np.float32], score: float
    ) -> "Claim":
        """Of whole low-res logits (h, w)."""
        rows, columns = tight_region(low_res > 0)
        cells = (_grown(rows, low_res.shape[0]), _grown(columns, low_res.shape[1]))
        eighths = np.clip(np.rint(low_res[cells] * STEPS), -127, 127).astype(np.int8)
        return cls(look, frame, cells, eighths, float(np.float32(score)))

    @property
    def empty(self) -> bool:
        """Whether there is no object at all."""
        return not (self.logits > 0).any()

    def low_res(self) -> NDArray[np.float32]:
        """(h, w) logits of the whole look."""
        whole = np.full(self.frame.low_res, BACKGROUND, np.float32)
        whole[self.cells] = self.logits.astype(np.float32) / STEPS
        return whole

    def lowered(self, by: NDArray[np.float32]) -> "Claim":
        """With logits (of ``cells``) lowered where others are surer."""
        left = np.rint(self.logits.astype(np.float32) - by * STEPS)
        return replace(self, logits=np.clip(left, -127, 127).astype(np.int8))

    def mask(self) -> tuple[Mask, Region]:
        """The object in the plane's pixels, and its tight region."""
        from napari_sam.core.upscale import restore_mask

        mask, region = restore_mask(self.frame, self.low_res())
        return mask, shift(region, self.look.corner)

    def values(self, region: Region) -> NDArray[np.float32]:
        """Logits in a region of the plane; :data:`BACKGROUND` beyond the look."""
        from napari_sam.core.upscale import restore_region

        values = np.full([part.stop - part.start for part in region], BACKGROUND, np.float32)
        seen = [
            slice(max(part.start, look.start), min(part.stop, look.stop))
            for part, look in zip(region, self.look.region, strict=True)
        ]
        if any(part.start >= part.stop for part in seen):
            return values
        inside = tuple(
            slice(part.start - whole.start, part.stop - whole.start)
            for part, whole in zip(seen, region, strict=True)
        )
        y, x = self.look.corner
        local = shift((seen[0], seen[1]), (-y, -x))
        values[inside] = restore_region(self.frame, self.low_res(), local)
        return values


def _grown(cells: slice, length: int) -> slice:
    if cells.start == cells.stop:
        return slice(0, 0)
    return slice(max(0, cells.start - MARGIN), min(length, cells.stop + MARGIN))
