"""Reach: how far an outline can move from one plane to the next.

A model that is told where an object was answers now and then with its neighbour, too, or with all
that surrounds it. Objects are continuous: what lies farther from the object on the plane before
than the distance of both planes allows is taken away. Knows claims and shapes; asks no model.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam.core.regions import Mask
from napari_sam.core.strokes import Sketch
from napari_sam.volume.propagation.claim import Claim
from napari_sam.volume.propagation.compete import CERTAIN
from napari_sam.volume.propagation.shapes import Shape

__all__ = ["within_reach"]

LEAST_CELLS = 1.0  # of the model's low-res grid: what is nearer cannot be told apart


def within_reach(
    claim: Claim, expected: Shape, spacing: tuple[float, float, float], reach: float
) -> Claim:
    """A claim without what is too far from where the object was.

    Parameters
    ----------
    claim
        What the model says.
    expected
        The object on the plane before.
    spacing
        (plane, row, column).
    reach
        How far outlines may move, in distances of planes or in pixels, whichever are longer.
    """
    if claim.empty:
        return claim
    cell = _cell(claim, spacing)
    step = max(spacing[0], float(np.sqrt(spacing[1] * spacing[2])))
    before = _before(claim, expected)
    if not before.any():
        return claim
    distance = ndimage.distance_transform_edt(~before, sampling=cell)[claim.cells]
    far = distance > max(reach * step, LEAST_CELLS * max(cell))
    taken: NDArray[np.float32] = np.where(far, CERTAIN, 0).astype(np.float32)
    return claim.lowered(taken) if (far & (claim.logits > 0)).any() else claim


def _before(claim: Claim, expected: Shape) -> Mask:
    """(h, w) the object on the plane before, in the low-res cells of the claim's look."""
    corner = (expected.region[0].start, expected.region[1].start)
    sketch = Sketch(mask=expected.mask, offset=corner).moved(*claim.look.corner)
    return np.asarray(sketch.logits(claim.frame) > 0)


def _cell(claim: Claim, spacing: tuple[float, float, float]) -> tuple[float, float]:
    """Size of a low-res cell in the units of the spacing."""
    frame = claim.frame
    return (
        frame.mask_stride / frame.scale[0] * spacing[1],
        frame.mask_stride / frame.scale[1] * spacing[2],
    )
