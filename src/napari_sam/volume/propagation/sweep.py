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
from napari_sam.volume.propagation.contrast import contrasts, usual_contrasts
from napari_sam.volume.propagation.keys import Keys
from napari_sam.volume.propagation.params import PropagateParams
from napari_sam.volume.propagation.reach import within_reach
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
    step = 1 if direction == "forward" else -1
    carried: dict[int, Carried] = {}
    usual = usual_contrasts(asker.stack, keys) if params.least_contrast else {}
    for plane in keys.order(direction):
        drawn = keys.shapes(plane)
        hints = [
            Hint.of(one, params, spacing, asker.stack.size)
            for one in carried.values()
            if not keys.says(plane, one.id)
        ]
        stops = [Stop(one, "absent", direction) for one in carried if one in keys.absent(plane)]
        if hints or stops:
            found = asker.claims(direction, plane, hints, step) if hints else {}
            if params.reach:
                found = {
                    one: within_reach(claim, carried[one].shape, spacing, params.reach)
                    for one, claim in found.items()
                }
            claimed = _masks(found)
            fits = {one: overlap_of(carried[one].shape, shape) for one, shape in claimed.items()}
            left = compete(found, fits, drawn) if params.compete else found
            shapes = {
                one: claimed[one] if claim is found[one] else Shape(*claim.mask())
                for one, claim in left.items()
            }
            here = contrasts(asker.stack, plane, shapes) if params.least_contrast else {}
            carried, stopped = _go_on(
                hints, carried, (claimed, shapes, left), here, params, spacing
            )
            yield Swept(
                plane,
                {one: left[one] for one in carried},
                (*stops, *(Stop(one, reason, direction) for one, reason in stopped)),
                events_on(plane, {**claimed, **drawn}, {**shapes, **drawn}),
            )
        carried |= {
            one: Carried(one, shape, keys.claims.get((plane, one)), contrast=usual.get(one, 0.0))
            for one, shape in drawn.items()
        }
        if not carried and not keys.ahead(plane, direction):
            return


def _masks(claims: Mapping[int, Claim]) -> dict[int, Shape]:
    return {one: Shape(*claim.mask()) for one, claim in claims.items()}


def _go_on(
    hints: list[Hint],
    before: Mapping[int, Carried],
    found: tuple[Mapping[int, Shape], Mapping[int, Shape], Mapping[int, Claim]],
    contrast: Mapping[int, float],
    params: PropagateParams,
    spacing: tuple[float, float, float],
) -> tuple[dict[int, Carried], list[tuple[int, StopReason]]]:
    """Who of those that were asked for goes on, and with what; who does not, and why."""
    claimed, shapes, left = found
    carried: dict[int, Carried] = {}
    stopped: list[tuple[int, StopReason]] = []
    for one in (hint.id for hint in hints):
        last, usual = before[one].shape, before[one].contrast
        both = (usual, contrast.get(one, 0.0))
        reason = reason_to_stop(
            last, claimed[one], shapes[one], left[one].score, both, params, step_of(spacing)
        )
        if reason is None:
            carried[one] = Carried(one, shapes[one], left[one], last, usual)
        else:
            stopped.append((one, reason))
    return carried, stopped
