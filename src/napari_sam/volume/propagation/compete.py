"""Competition of objects for the pixels of one plane. Knows claims and shapes; asks no model.

While objects are carried on, they compete on the model's low-res cells: a claim is lowered by the
best rival claim, so that it ends where the rival is surer, and both outlines meet there. What is
handed out competes once more, pixel by pixel, so that masks share none.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam.core.regions import Mask, Region
from napari_sam.core.strokes import Sketch
from napari_sam.volume.propagation.claim import Claim
from napari_sam.volume.propagation.result import Event
from napari_sam.volume.propagation.shapes import Shape, union

__all__ = ["Candidate", "compete", "events_on", "share_out"]

CERTAIN = 16.0  # logit of an object that was drawn by hand
PIECE = 0.2  # of an object: a piece that large counts
MERGED = 0.5  # of the smaller of two claims: so much in common is one place
EIGHT = np.ones((3, 3), bool)


def compete(claims: Mapping[int, Claim], drawn: Mapping[int, Shape]) -> dict[int, Claim]:
    """Lower each claim by its best rival of the same look.

    Parameters
    ----------
    claims
        Of one plane, by object.
    drawn
        Objects that are known on this plane: rivals of which nothing is taken.
    """
    places: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for one, claim in claims.items():
        places[*claim.look.corner, *claim.look.size].append(one)
    left: dict[int, Claim] = {}
    for ids in places.values():
        left |= _compete_in_look({one: claims[one] for one in ids}, drawn)
    return left


def _compete_in_look(claims: Mapping[int, Claim], drawn: Mapping[int, Shape]) -> dict[int, Claim]:
    first = next(iter(claims.values()))
    best = np.zeros(first.frame.low_res, np.float32)  # surest claim of each cell, 0 where none
    second = np.zeros_like(best)
    for shape in drawn.values():
        corner = (shape.region[0].start, shape.region[1].start)
        sketch = Sketch(mask=shape.mask, offset=corner).moved(*first.look.corner)
        best[sketch.logits(first.frame) > 0] = CERTAIN
    for claim in claims.values():
        values = _positive(claim)
        top, below = best[claim.cells], second[claim.cells]
        second[claim.cells] = np.maximum(below, np.minimum(values, top))
        best[claim.cells] = np.maximum(top, values)
    left = {}
    for one, claim in claims.items():
        values, top = _positive(claim), best[claim.cells]
        rival = np.where(values >= top, second[claim.cells], top)
        left[one] = claim.lowered(rival) if rival.any() else claim
    return left


def _positive(claim: Claim) -> NDArray[np.float32]:
    """Logits where they are above 0, else 0; drawn objects are surer than any."""
    values = claim.logits.astype(np.float32) / 8
    return np.clip(values, 0, CERTAIN - 0.25)


@dataclass(frozen=True, eq=False)
class Candidate:
    """An object that wants pixels.

    Attributes
    ----------
    id
        The object.
    values
        (h, w) of ``region``: above 0 it wants the pixel, the more the surer.
    region
        In the plane.
    """

    id: int
    values: NDArray[np.float32]
    region: Region


def share_out(candidates: Sequence[Candidate]) -> dict[int, Shape]:
    """Give each pixel to the object with the greatest value there; of equal ones the least id."""
    if not candidates:
        return {}
    whole = candidates[0].region
    for one in candidates[1:]:
        whole = union(whole, one.region)
    corner = (whole[0].start, whole[1].start)
    size = (whole[0].stop - corner[0], whole[1].stop - corner[1])
    best, owner = np.zeros(size, np.float32), np.zeros(size, np.int64)
    for one in sorted(candidates, key=lambda candidate: candidate.id):
        inside = _inside(one.region, corner)
        wins = one.values > best[inside]
        best[inside][wins] = one.values[wins]
        owner[inside][wins] = one.id
    return {
        one.id: Shape(owner[_inside(one.region, corner)] == one.id, one.region).tight()
        for one in candidates
    }


def events_on(
    plane: int, claimed: Mapping[int, Shape], left: Mapping[int, Shape]
) -> tuple[Event, ...]:
    """What happened: objects in several pieces, and pairs that claimed one place.

    Parameters
    ----------
    plane
        For the events.
    claimed
        Before the competition.
    left
        After it.
    """
    events = [Event("split", plane, (one,)) for one in sorted(left) if _pieces(left[one].mask) > 1]
    ids = sorted(claimed)
    for place, one in enumerate(ids):
        for other in ids[place + 1 :]:
            if _meet(claimed[one], claimed[other]):
                owner = max((one, other), key=lambda i: (left[i].area if i in left else 0, -i))
                events.append(Event("merge", plane, (owner, other if owner == one else one)))
    return tuple(events)


def _meet(first: Shape, second: Shape) -> bool:
    apart = any(
        a.stop <= b.start or b.stop <= a.start
        for a, b in zip(first.region, second.region, strict=True)
    )
    if apart:
        return False
    both = int(np.count_nonzero(first.mask & second.within(first.region)))
    return both > MERGED * max(1, min(first.area, second.area))


def _pieces(mask: Mask) -> int:
    """How many pieces that count."""
    pieces, count = ndimage.label(mask, EIGHT)
    if count < 2:
        return int(count)
    sizes = np.bincount(pieces.ravel())[1:]
    return int((sizes >= PIECE * sizes.sum()).sum())


def _inside(region: Region, corner: tuple[int, int]) -> Region:
    return (
        slice(region[0].start - corner[0], region[0].stop - corner[0]),
        slice(region[1].start - corner[1], region[1].stop - corner[1]),
    )
