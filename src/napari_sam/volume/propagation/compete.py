"""Competition of objects for the pixels of one plane. Knows claims and shapes; asks no model.

While objects are carried on, they compete on the model's low-res cells: a claim is lowered by the
best rival claim, so that it ends where the rival is surer, and both outlines meet there. What is
handed out competes once more, pixel by pixel, so that masks share none.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam.core.regions import Mask, Region
from napari_sam.core.strokes import Sketch
from napari_sam.volume.propagation.claim import STEPS, Claim
from napari_sam.volume.propagation.result import Event
from napari_sam.volume.propagation.shapes import Shape, union

__all__ = ["Candidate", "compete", "events_on", "share_out"]

CERTAIN = 16.0  # logit of an object that was drawn by hand
PIECE = 0.2  # of an object: a piece that large counts
MERGED = 0.5  # of the smaller of two claims: so much in common is one place
EIGHT = np.ones((3, 3), bool)


def compete(
    claims: Mapping[int, Claim], fits: Mapping[int, float], drawn: Mapping[int, Shape]
) -> dict[int, Claim]:
    """Lower each claim by its best rival of the same look.

    Two claims to mostly one place are no border: the object that fits better to where it was keeps
    the place, and the other gets what is left.

    Parameters
    ----------
    claims
        Of one plane, by object.
    fits
        IoU of each claim with the object on the plane before.
    drawn
        Objects that are known on this plane: nothing is taken of them.
    """
    places: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for one, claim in sorted(claims.items()):
        places[*claim.look.corner, *claim.look.size].append(one)
    left: dict[int, Claim] = {}
    for ids in places.values():
        left |= _compete_in_look({one: claims[one] for one in ids}, fits, drawn)
    return left


def _compete_in_look(
    claims: Mapping[int, Claim], fits: Mapping[int, float], drawn: Mapping[int, Shape]
) -> dict[int, Claim]:
    values = {
        one: np.maximum(claim.logits.astype(np.float32) / STEPS, 0) for one, claim in claims.items()
    }
    rivals = {one: np.zeros_like(value) for one, value in values.items()}
    for shape in drawn.values():
        _take_drawn(shape, claims, rivals)
    for one, other in combinations(claims, 2):
        both = _common(claims[one].cells, claims[other].cells)
        if both is None:
            continue
        at, there = _inside(both, _corner(claims[one])), _inside(both, _corner(claims[other]))
        first, second = values[one][at], values[other][there]
        shared = int(np.count_nonzero((first > 0) & (second > 0)))
        least = min(np.count_nonzero(values[one]), np.count_nonzero(values[other]))
        for_first, for_second = second, first
        if shared > MERGED * least:
            wins = fits[one] >= fits[other]
            for_first = np.zeros_like(second) if wins else np.where(second > 0, CERTAIN, 0)
            for_second = np.where(first > 0, CERTAIN, 0) if wins else np.zeros_like(first)
        rivals[one][at] = np.maximum(rivals[one][at], for_first)
        rivals[other][there] = np.maximum(rivals[other][there], for_second)
    return {
        one: claim.lowered(rivals[one]) if rivals[one].any() else claim
        for one, claim in claims.items()
    }


def _take_drawn(
    shape: Shape, claims: Mapping[int, Claim], rivals: dict[int, NDArray[np.float32]]
) -> None:
    first = next(iter(claims.values()))
    corner = (shape.region[0].start, shape.region[1].start)
    sketch = Sketch(mask=shape.mask, offset=corner).moved(*first.look.corner)
    taken = sketch.logits(first.frame) > 0
    for one, claim in claims.items():
        rivals[one][taken[claim.cells]] = CERTAIN


def _common(first: Region, second: Region) -> Region | None:
    rows, columns = (
        slice(max(a.start, b.start), min(a.stop, b.stop))
        for a, b in zip(first, second, strict=True)
    )
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _corner(claim: Claim) -> tuple[int, int]:
    return (claim.cells[0].start, claim.cells[1].start)


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
