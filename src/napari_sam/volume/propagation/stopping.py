"""Whether an object goes on: by score, area, overlap, contrast, and what others leave of it.

Pure rules on numbers and shapes.
"""

import math

from napari_sam.volume.propagation.params import PropagateParams
from napari_sam.volume.propagation.result import StopReason
from napari_sam.volume.propagation.shapes import Shape, overlap_of

__all__ = ["reason_to_stop", "step_of"]

LEFT = 0.2  # of a claim: an object that keeps less of it has lost its place to others
MOST_STEP = 4.0  # isotropic steps: coarser planes are allowed no more than that


def step_of(spacing: tuple[float, float, float]) -> float:
    """How many isotropic steps a plane is away from the next: at least 1."""
    pixel = math.sqrt(spacing[1] * spacing[2])
    return min(MOST_STEP, max(1.0, spacing[0] / pixel))


def reason_to_stop(
    expected: Shape,
    claimed: Shape,
    left: Shape,
    score: float,
    contrast: tuple[float, float],
    params: PropagateParams,
    step: float,
) -> StopReason | None:
    """Why an object does not reach this plane; None if it does.

    Parameters
    ----------
    expected
        Where it was to be, from the planes before.
    claimed, left
        Its mask before and after the competition.
    score
        Predicted IoU.
    contrast
        Of the object on its key plane (0: not judged), and here.
    params
        The rules.
    step
        From :func:`step_of`: over several steps factor and overlap are allowed as many times.
    """
    if not claimed.area:
        return "empty"
    if left.area < LEFT * claimed.area:
        return "taken"
    if score < params.least_score:
        return "score"
    ratio = left.area / expected.area
    if max(ratio, 1 / ratio) > params.most_area_change**step:
        return "area"
    if overlap_of(expected, left) < params.least_overlap**step:
        return "overlap"
    usual, here = contrast
    if usual and here / usual < params.least_contrast:
        return "contrast"
    return None
