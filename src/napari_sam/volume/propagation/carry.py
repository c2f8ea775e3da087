"""Carried: an object on its way from plane to plane, and what the model is told of it on the next.

Knows shapes and prompts; asks no model.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.regions import Size
from napari_sam.core.strokes import Sketch
from napari_sam.volume.crops import Extent
from napari_sam.volume.propagation.claim import Claim
from napari_sam.volume.propagation.params import PropagateParams
from napari_sam.volume.propagation.shapes import Shape, extrapolate
from napari_sam.volume.propagation.stack import Look

if TYPE_CHECKING:
    from napari_sam.core.frame import Frame

__all__ = ["MOST_POINTS", "Carried", "Hint"]

MOST_POINTS = 3


@dataclass(frozen=True, eq=False)
class Carried:
    """An object on the plane that was done last.

    Attributes
    ----------
    id
        The object.
    shape
        Where it is.
    claim
        Logits of that mask; None where it was drawn.
    before
        Where it was on the plane before that; None on the first two planes of a pass.
    """

    id: int
    shape: Shape
    claim: Claim | None = None
    before: Shape | None = None


@dataclass(frozen=True, eq=False)
class Hint:
    """What the model is told of one object on the next plane.

    Attributes
    ----------
    id
        The object.
    expected
        Where it should be.
    box, points
        Box, and points (N, 2) on it, in pixels of the plane; None where the mode has none.
    masked
        Whether it gets a mask prompt.
    claim
        The logits for it, where they can be taken as they are.
    """

    id: int
    expected: Shape
    box: tuple[float, float, float, float] | None
    points: NDArray[np.float64] | None
    masked: bool
    claim: Claim | None

    @classmethod
    def of(
        cls, carried: Carried, params: PropagateParams, spacing: tuple[float, float, float],
        size: Size,
    ) -> "Hint":  # fmt: skip
        """By the mode.

        Parameters
        ----------
        carried
            The object.
        params
            Mode and motion.
        spacing
            (plane, row, column).
        size
            Of planes.
        """
        flat = (spacing[1], spacing[2])
        expected, moves = carried.shape, params.motion and carried.before is not None
        if moves and carried.before is not None:
            expected = extrapolate(carried.before, carried.shape, flat, size)
        box = _box(expected) if "box" in params.mode else None
        points = expected.deepest(MOST_POINTS, flat) if "points" in params.mode else None
        claim = None if moves else carried.claim
        return cls(carried.id, expected, box, points, "mask" in params.mode, claim)

    @property
    def extent(self) -> Extent:
        """What it should reach."""
        rows, columns = self.expected.region
        return Extent(rows.start, columns.start, rows.stop - 1, columns.stop - 1)

    def mask_logits(self, look: Look, frame: "Frame") -> NDArray[np.float32]:
        """(h, w) low-res mask prompt for a look."""
        if self.claim is not None and self.claim.look.region == look.region:
            return self.claim.low_res()
        corner = (self.expected.region[0].start, self.expected.region[1].start)
        return Sketch(mask=self.expected.mask, offset=corner).moved(*look.corner).logits(frame)


def _box(shape: Shape) -> tuple[float, float, float, float]:
    """y0, x0, y1, x1: outer edges of the outermost pixels."""
    rows, columns = shape.region
    return (rows.start - 0.5, columns.start - 0.5, rows.stop - 0.5, columns.stop - 0.5)
