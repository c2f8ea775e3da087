"""Between: what two passes and the key planes make of a plane together.

Between two key planes of an object there are two claims for each plane. Their logits are averaged,
each weighted by how near its key plane is. Where both passes lost the object, it is filled in from
the nearest planes that have it. Knows claims and shapes; asks no model.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.regions import Region
from napari_sam.volume.propagation.claim import Claim
from napari_sam.volume.propagation.compete import CERTAIN, Candidate, share_out
from napari_sam.volume.propagation.keys import Keys
from napari_sam.volume.propagation.params import PropagateParams
from napari_sam.volume.propagation.result import Origin, PlaneObject, PlaneResult
from napari_sam.volume.propagation.shapes import Shape, blend, union
from napari_sam.volume.propagation.sweep import Swept

__all__ = ["Between"]

SURE = 4.0  # a claim that is surer counts no more: it is one vote of two
FILLED = 0.25  # logit at most of what was filled in: claims of the model go first


@dataclass(frozen=True, eq=False)
class Between:
    """Puts planes together.

    Attributes
    ----------
    keys, params
        What is known; the rules.
    spacing
        (plane, row, column).
    forward, backward
        The passes, by plane.
    """

    keys: Keys
    params: PropagateParams
    spacing: tuple[float, float, float]
    forward: dict[int, Swept] = field(default_factory=dict)
    backward: dict[int, Swept] = field(default_factory=dict)

    def forget(self, plane: int) -> None:
        """Drop the passes over a plane that was handed out and is no neighbour of others."""
        self.forward.pop(plane, None)
        self.backward.pop(plane, None)

    def settle(self, plane: int) -> PlaneResult:
        """Objects, ends and events of a plane, by all that is known of it by now."""
        found = [self._known(plane, one) for one in self._ids(plane)]
        present = {one.candidate.id for one in found}
        found += [one for one in self._filled(plane) if one.candidate.id not in present]
        if not self.params.compete:
            found = [one.by_score() for one in found]
        shapes = share_out([one.candidate for one in found])
        objects = tuple(
            PlaneObject(
                one.candidate.id, shapes[one.candidate.id].mask, shapes[one.candidate.id].region,
                one.score, one.origin,
            )
            for one in sorted(found, key=lambda one: one.candidate.id)
            if shapes[one.candidate.id].area
        )  # fmt: skip
        there = {one.id for one in objects}
        swept = [s for s in (self.forward.get(plane), self.backward.get(plane)) if s is not None]
        stops = tuple(stop for one in swept for stop in one.stopped if stop.id not in there)
        events = tuple(dict.fromkeys(event for one in swept for event in one.events))
        return PlaneResult(plane, objects, stops, events)

    def _ids(self, plane: int) -> list[int]:
        ids = {*self.keys.shapes(plane)}
        for swept in (self.forward.get(plane), self.backward.get(plane)):
            ids |= set() if swept is None else set(swept.claims)
        return sorted(ids)

    def _claims(self, plane: int, one: int) -> tuple[Claim | None, Claim | None]:
        forward, backward = (
            None if swept is None else swept.claims.get(one)
            for swept in (self.forward.get(plane), self.backward.get(plane))
        )
        return forward, backward

    def _known(self, plane: int, one: int) -> "_Found":
        """An object that is drawn on a plane, or that at least one pass has reached."""
        drawn = self.keys.shapes(plane).get(one)
        if drawn is not None:
            values = np.where(drawn.mask, CERTAIN, 0).astype(np.float32)
            score = self.keys.score(plane, one)
            return _Found(Candidate(one, values, drawn.region), score, "key")
        forward, backward = self._claims(plane, one)
        if forward is not None and backward is not None:
            return self._merged(plane, one, forward, backward)
        claim = forward if forward is not None else backward
        assert claim is not None
        region = claim.mask()[1]
        origin: Origin = "forward" if forward is not None else "backward"
        return _Found(Candidate(one, claim.values(region), region), claim.score, origin)

    def _merged(self, plane: int, one: int, forward: Claim, backward: Claim) -> "_Found":
        below, above = self.keys.around(plane, one)
        assert below is not None
        assert above is not None
        share = (plane - below) / (above - below)
        region = union(forward.mask()[1], backward.mask()[1])
        low, high = (np.clip(c.values(region), -SURE, SURE) for c in (forward, backward))
        values = ((1 - share) * low + share * high).astype(np.float32)
        score = (1 - share) * forward.score + share * backward.score
        return _Found(Candidate(one, values, region), score, "merged")

    def _filled(self, plane: int) -> "list[_Found]":
        """Objects that are drawn below and above this plane, and that no pass has reached."""
        if not self.params.interpolate:
            return []
        there, found = set(self._ids(plane)), []
        for one in sorted({i for drawn in self.keys.drawn.values() for i in drawn} - there):
            below, above = self.keys.around(plane, one)
            if below is None or above is None or self.keys.says(plane, one):
                continue
            if all(one in self.keys.shapes(end) for end in (below, above)):
                found.append(self._fill(plane, one, below, above))
        return found

    def _fill(self, plane: int, one: int, below: int, above: int) -> "_Found":
        low = next(p for p in range(plane - 1, below - 1, -1) if self._reached(p, one))
        high = next(p for p in range(plane + 1, above + 1) if self._reached(p, one))
        share = (plane - low) / (high - low)
        ends = [self._known(p, one).shape for p in (low, high)]
        flat = (self.spacing[1], self.spacing[2])
        shape = blend(ends[0], ends[1], share, flat)
        values = np.where(shape.mask, FILLED, 0).astype(np.float32)
        return _Found(Candidate(one, values, shape.region), 0.0, "interpolated")

    def _reached(self, plane: int, one: int) -> bool:
        if one in self.keys.shapes(plane):
            return True
        claims = self._claims(plane, one)
        return any(claim is not None for claim in claims) and self._known(plane, one).shape.area > 0


@dataclass(frozen=True, eq=False)
class _Found:
    candidate: Candidate
    score: float
    origin: Origin

    @property
    def shape(self) -> Shape:
        return Shape(self.candidate.values > 0, self.candidate.region).tight()

    def by_score(self) -> "_Found":
        """With the score in the place of logits; drawn objects stay on top."""
        sure = 2.0 if self.origin == "key" else 1e-3 + max(0.0, self.score)
        values: NDArray[np.float32] = np.where(self.candidate.values > 0, sure, 0)
        region: Region = self.candidate.region
        return _Found(
            Candidate(self.candidate.id, values.astype(np.float32), region), self.score, self.origin
        )
