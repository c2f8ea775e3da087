"""Sweep: one pass over the planes, in one direction, with all objects that are on their way.

Knows keys, hints, competition and stop rules; what two passes make together is in ``between.py``.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Literal

from napari_sam.volume.propagation.asking import Asker
from napari_sam.volume.propagation.carry import Carried, Hint
from napari_sam.volume.propagation.claim import Claim
from napari_sam.volume.propagation.compete import compete, events_on
from napari_sam.volume.propagation.contrast import Level, contrasts, smoothed, usual_levels
from napari_sam.volume.propagation.evidence import Grey, weighed
from napari_sam.volume.propagation.expected import expected_on
from napari_sam.volume.propagation.keys import Keys
from napari_sam.volume.propagation.params import PropagateParams
from napari_sam.volume.propagation.result import Event, Stop, StopReason
from napari_sam.volume.propagation.shapes import Shape, overlap_of
from napari_sam.volume.propagation.stopping import reason_to_stop, step_of

__all__ = ["Swept", "sweep"]

Direction = Literal["forward", "backward"]


@dataclass(frozen=True, eq=False)
class Swept:
    """One plane of a pass.

    Attributes
    ----------
    plane
        Its number.
    claims
        What is left to each object that came this far.
    stopped
        Objects that ended before this plane.
    events
        Splits and merges.
    """

    plane: int
    claims: Mapping[int, Claim]
    stopped: tuple[Stop, ...] = ()
    events: tuple[Event, ...] = ()


def sweep(
    asker: Asker,
    keys: Keys,
    params: PropagateParams,
    spacing: tuple[float, float, float],
    direction: Direction,
) -> Generator[Swept, None, None]:
    """Carry all objects from their key planes on, to where they end or have their next key.

    Yields each plane on which an object was asked for, in the order of the pass. What is known of
    an object on a plane (its key) is neither asked nor yielded.

    Parameters
    ----------
    asker
        Asks and remembers.
    keys
        What is known, and the bounds.
    params, spacing
        Rules; spacing of planes, rows and columns.
    direction
        ``"forward"`` is towards greater numbers.
    """
    levels = usual_levels(asker.stack, keys)
    front = _Front(asker, keys, params, spacing, direction, levels)
    carried: dict[int, Carried] = {}
    for plane in keys.order(direction):
        going = {one: c for one, c in carried.items() if not keys.says(plane, one)}
        stops = tuple(
            Stop(one, "absent", direction) for one in carried if one in keys.absent(plane)
        )
        carried = {}
        if going or stops:
            carried, swept = front.step(plane, going, stops)
            yield swept
        carried |= {
            one: Carried(one, shape, keys.claims.get((plane, one)))
            for one, shape in keys.shapes(plane).items()
        }
        if not carried and not keys.ahead(plane, direction):
            return


@dataclass(frozen=True, eq=False)
class _Front:
    """What a pass goes by; see :func:`sweep`. ``levels``: of each object, on its key planes."""

    asker: Asker
    keys: Keys
    params: PropagateParams
    spacing: tuple[float, float, float]
    direction: Direction
    levels: Mapping[int, Level]

    def step(
        self, plane: int, carried: Mapping[int, Carried], stops: tuple[Stop, ...]
    ) -> tuple[dict[int, Carried], Swept]:
        """Ask for objects on a plane: those that go on, and what is to be told."""
        drawn, stack = self.keys.shapes(plane), self.asker.stack
        found = self._claims(plane, carried)
        claimed = _masks(found)
        fits = {one: overlap_of(carried[one].shape, shape) for one, shape in claimed.items()}
        left = compete(found, fits, drawn) if self.params.compete else found
        shapes = {
            one: claimed[one] if claim is found[one] else Shape(*claim.mask())
            for one, claim in left.items()
        }
        here = contrasts(stack, plane, shapes) if self.params.least_contrast else {}
        reasons = {
            one: self._reason(last.shape, claimed[one], shapes[one], left[one].score,
                              (one, here.get(one, 0.0)))
            for one, last in carried.items()
        }  # fmt: skip
        goes_on = {
            one: Carried(one, shapes[one], left[one], last.shape)
            for one, last in carried.items()
            if reasons[one] is None
        }
        ends = tuple(Stop(one, why, self.direction) for one, why in reasons.items() if why)
        events = events_on(plane, {**claimed, **drawn}, {**shapes, **drawn})
        claims = {one: left[one] for one in goes_on}
        return goes_on, Swept(plane, claims, (*stops, *ends), events)

    def _claims(self, plane: int, carried: Mapping[int, Carried]) -> dict[int, Claim]:
        """What the model says, weighed against what is expected and what the pixels say."""
        if not carried:
            return {}
        asker, params, spacing = self.asker, self.params, self.spacing
        expected = {
            one: expected_on(self.keys, plane, one, last.shape, spacing)
            for one, last in carried.items()
        }
        hints = [Hint.of(c, params, spacing, asker.stack.size) for c in carried.values()]
        step = 1 if self.direction == "forward" else -1
        found = asker.claims(self.direction, plane, hints, step)
        greys = self._greys(plane, expected)
        return {
            one: weighed(
                claim, expected[one], spacing, params.stiffness, greys.get(one), params.grey_weight
            )
            for one, claim in found.items()
        }

    def _greys(self, plane: int, expected: Mapping[int, Shape]) -> dict[int, Grey]:
        telling = {one: self.levels[one] for one in expected if self.levels[one].difference}
        if not telling or not self.params.grey_weight:
            return {}
        picture = smoothed(self.asker.stack, plane)
        return {
            one: Grey(picture, level.middle, level.difference) for one, level in telling.items()
        }

    def _reason(
        self, last: Shape, claimed: Shape, left: Shape, score: float, here: tuple[int, float]
    ) -> StopReason | None:
        one, contrast = here
        usual = self.levels[one].difference if self.params.least_contrast else 0.0
        return reason_to_stop(
            last, claimed, left, score, (usual, contrast), self.params, step_of(self.spacing)
        )


def _masks(claims: Mapping[int, Claim]) -> dict[int, Shape]:
    return {one: Shape(*claim.mask()) for one, claim in claims.items()}
