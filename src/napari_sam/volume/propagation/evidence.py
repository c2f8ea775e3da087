"""Evidence: what the model claims, weighed against what is expected and what the pixels say.

A model that is told where an object was answers with the same outline up to far beyond its end, or
with the object and its neighbour, however small the object was that it was told of. So a claim is
one voice of three: objects are continuous, so outlines move little from plane to plane; and the
pixels of an object that stands out look like it. Knows claims and shapes; asks no model.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam.core.regions import Region
from napari_sam.volume.propagation.claim import Claim
from napari_sam.volume.propagation.shapes import Shape, union

__all__ = ["Grey", "weighed"]

SURE = 4.0  # logit: a claim that is surer counts no more
MOST_GREY = 1.5  # of half the usual contrast: what stands out more counts no more


@dataclass(frozen=True, eq=False)
class Grey:
    """What the pixels of a plane say of one object.

    Attributes
    ----------
    picture
        (rows, columns) grey levels of the plane, smoothed.
    middle, difference
        Between the object and what is around it: the grey level half way, and from there to there.
    """

    picture: NDArray[np.float32]
    middle: float
    difference: float


def weighed(
    claim: Claim,
    expected: Shape,
    spacing: tuple[float, float, float],
    stiffness: float,
    grey: Grey | None = None,
    grey_weight: float = 0.0,
) -> Claim:
    """A claim after the other voices were heard.

    Parameters
    ----------
    claim
        Of the model.
    expected
        What the object should look like here.
    spacing
        (plane, row, column).
    stiffness
        Logits for each distance of planes (or pixel, where that is more) that a pixel lies from
        the expected outline; inside for the object, outside against it.
    grey, grey_weight
        What the pixels say, and logits for a pixel that looks like the object, or like what is
        around it.
    """
    if claim.empty or not expected.area:
        return claim
    cells = _cells(claim, expected)
    places = _places(claim, cells)
    step = max(spacing[0], float(np.sqrt(spacing[1] * spacing[2])))
    around = _around(places)
    distance = expected.signed(around, (spacing[1], spacing[2])) / step
    low_res = np.clip(claim.low_res(), -SURE, SURE)
    told = low_res[cells] + stiffness * _sampled(distance, around, places)
    if grey is not None and grey_weight:
        whole = (slice(0, grey.picture.shape[0]), slice(0, grey.picture.shape[1]))
        level = (_sampled(grey.picture, whole, places) - grey.middle) / (grey.difference / 2)
        told = told + grey_weight * np.clip(level, -MOST_GREY, MOST_GREY)
    low_res[...] = -SURE
    low_res[cells] = told
    return Claim.keep(claim.look, claim.frame, low_res.astype(np.float32), claim.score)


def _cells(claim: Claim, expected: Shape) -> Region:
    """The low-res cells of the claim and of what is expected."""
    frame, corner = claim.frame, claim.look.corner
    ends = []
    for axis, part in enumerate(expected.region):
        cell = frame.mask_stride / frame.scale[axis]
        first = int((part.start - corner[axis]) // cell) - 1
        last = int((part.stop - corner[axis]) // cell) + 2
        ends.append(slice(max(0, first), min(frame.low_res[axis], last)))
    own = claim.cells
    return union((ends[0], ends[1]), own) if all(e.start < e.stop for e in ends) else own


def _places(claim: Claim, cells: Region) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns of the plane on which the middles of cells lie."""
    frame = claim.frame
    rows, columns = (
        (np.arange(part.start, part.stop) + 0.5) * frame.mask_stride / frame.scale[axis]
        - 0.5
        + claim.look.corner[axis]
        for axis, part in enumerate(cells)
    )
    return rows, columns


def _around(places: tuple[NDArray[np.float64], NDArray[np.float64]]) -> Region:
    rows, columns = (slice(int(np.floor(p[0])), int(np.ceil(p[-1])) + 1) for p in places)
    return (rows, columns)


def _sampled(
    values: NDArray[np.float32],
    region: Region,
    places: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.float32]:
    """Values of a region of the plane at the middles of cells."""
    grid = np.meshgrid(places[0] - region[0].start, places[1] - region[1].start, indexing="ij")
    found = ndimage.map_coordinates(values, grid, order=1, mode="nearest")
    return np.asarray(found, np.float32)
