"""Where tracks end and begin without a reason: events that follow from any kind of links."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_sam.tracking.events import Appearance, Cause, Disappearance, Division
from napari_sam.tracking.proposal import Proposal
from napari_sam.tracking.scan import Scan

__all__ = ["with_events"]

Numbers = NDArray[np.int64]
_REACH = 2.0  # diameters from centre to centre: as much room between two as one takes
_MERGED = 0.5  # least share of an object that lies within one that goes on


def with_events(scan: Scan, links: Numbers, divisions: tuple[Division, ...]) -> Proposal:
    """A proposal with all that ends and begins beside its links and divisions."""
    objects = scan.objects
    goes_on, has_past = np.zeros(len(objects), bool), np.zeros(len(objects), bool)
    goes_on[links[:, 0]] = True
    has_past[links[:, 1]] = True
    for event in divisions:
        for child in event.children:
            has_past[objects.row(event.frame, child)] = True
    ended = np.flatnonzero(~goes_on & (objects.frame < objects.frames - 1))
    begun = np.flatnonzero(~has_past & (objects.frame > 0))
    appearances = tuple(
        Appearance(int(objects.label[row]), int(objects.frame[row]), bool(objects.border[row]))
        for row in begun
    )
    return Proposal(scan, links, divisions, tuple(_ended(scan, ended, begun)), appearances)


def _ended(scan: Scan, ended: Numbers, begun: Numbers) -> Iterator[Disappearance]:
    """Each with the object that may be its continuation; no object is that of two."""
    objects = scan.objects
    likeness = sorted(
        (evidence, int(row), later)
        for row in ended
        for later, evidence in _candidates(scan, int(row), begun)
    )
    chosen: dict[int, tuple[int, float]] = {}
    claimed: set[int] = set()
    for evidence, row, later in likeness:
        if row not in chosen and later not in claimed:
            chosen[row] = (later, evidence)
            claimed.add(later)
    for row in ended.tolist():
        later, evidence = chosen.get(row, (-1, 1.0))
        instead = (int(objects.frame[later]), int(objects.label[later])) if later >= 0 else None
        label, frame = int(objects.label[row]), int(objects.frame[row])
        yield Disappearance(label, frame, _cause(scan, row), evidence, instead)


def _candidates(scan: Scan, row: int, begun: Numbers) -> Iterator[tuple[int, float]]:
    """Objects without a past that overlap, or lie no further than they are large."""
    objects = scan.objects
    frame = int(objects.frame[row])
    overlapping = set()
    for later in range(frame + 1, min(frame + scan.gap + 2, objects.frames)):
        pairs = scan.overlaps[frame, later]
        mine = pairs.where((pairs.first == row) & np.isin(pairs.second, begun))
        for other, pixels in zip(mine.second.tolist(), mine.pixels.tolist(), strict=True):
            overlapping.add(other)
            yield other, 1 - pixels / min(int(objects.size[row]), int(objects.size[other]))
    reach = _REACH * objects.diameter(row, scan.spacing)
    near = begun[(objects.frame[begun] > frame) & (objects.frame[begun] <= frame + scan.gap + 1)]
    apart = (objects.centre[near] - objects.centre[row]) * scan.spacing
    for other, distance in zip(near.tolist(), np.linalg.norm(apart, axis=1), strict=True):
        if other not in overlapping and distance <= reach:
            yield other, 0.5 + 0.5 * float(distance) / reach


def _cause(scan: Scan, row: int) -> Cause:
    objects = scan.objects
    frame = int(objects.frame[row])
    pairs = scan.overlaps[frame, frame + 1]
    shared = pairs.pixels[pairs.first == row]
    if shared.max(initial=0) >= _MERGED * objects.size[row]:
        return "merged"
    return "border" if objects.border[row] else "lost"
