"""What propagation hands out: objects of a plane with their masks, where they end, what happened.

Plain values; knows no model and no file.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.regions import Mask, Region
from napari_sam.progress import Progress

__all__ = [
    "Event",
    "Origin",
    "PlaneObject",
    "PlaneResult",
    "Propagation",
    "PropagationProgress",
    "Stop",
    "StopReason",
]

Origin = Literal["key", "forward", "backward", "merged", "interpolated"]
StopReason = Literal["empty", "score", "area", "overlap", "contrast", "taken", "absent"]


@dataclass(frozen=True, eq=False)
class PlaneObject:
    """One object on one plane.

    Attributes
    ----------
    id
        The object.
    mask, region
        Its pixels, cut out of the plane: bool of the region's size, and half-open slices along
        rows and columns.
    score
        Predicted IoU; 1 on key planes that were drawn, 0 where interpolated.
    origin
        Where the mask is from.
    """

    id: int
    mask: Mask
    region: Region
    score: float
    origin: Origin


@dataclass(frozen=True)
class Stop:
    """An object that does not reach this plane, coming from a neighbouring one, and why."""

    id: int
    reason: StopReason
    direction: Literal["forward", "backward"]


@dataclass(frozen=True)
class Event:
    """Something to look at: ``split``, an object in several pieces; ``merge``, two claim one place.

    ``ids``: the object, or both, the one that got the place first.
    """

    kind: Literal["split", "merge"]
    plane: int
    ids: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class PlaneResult:
    """All objects on one plane. Their masks share no pixel.

    Attributes
    ----------
    plane
        Its number along the axis of propagation.
    objects
        In ascending order of id.
    stopped
        Objects that end before this plane.
    events
        Splits and merges on it.
    """

    plane: int
    objects: tuple[PlaneObject, ...] = ()
    stopped: tuple[Stop, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def ids(self) -> tuple[int, ...]:
        """Of the objects."""
        return tuple(one.id for one in self.objects)

    @property
    def masks(self) -> tuple[tuple[Mask, Region], ...]:
        """Mask and region of each object."""
        return tuple((one.mask, one.region) for one in self.objects)

    @property
    def scores(self) -> tuple[float, ...]:
        """Of the objects."""
        return tuple(one.score for one in self.objects)

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Of the objects: each has key planes of its own."""
        return tuple(one.origin for one in self.objects)

    def paint(self, labels: NDArray[Any]) -> None:
        """Write the ids into (rows, columns) labels; other pixels stay."""
        for one in self.objects:
            labels[one.region][one.mask] = one.id

    def labels(self, size: tuple[int, int], dtype: str = "uint32") -> NDArray[Any]:
        """The ids as a label image of (rows, columns)."""
        drawn = np.zeros(size, dtype)
        self.paint(drawn)
        return drawn


@dataclass(frozen=True)
class PropagationProgress(Progress):
    """A report with the planes that are finished since the last one; each comes once."""

    results: tuple[PlaneResult, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Propagation:
    """What a propagation has come to.

    Attributes
    ----------
    planes
        How many planes were handed out.
    scores
        For each object its planes and the score on each, in ascending order: the curve to look at.
    stops
        For each object where it ends, as (plane it does not reach, why).
    events
        Splits and merges, by plane.
    asked, remembered
        Masks that the model made, and masks that were known from an earlier run.
    """

    planes: int
    scores: dict[int, tuple[tuple[int, float], ...]]
    stops: dict[int, tuple[tuple[int, Stop], ...]]
    events: tuple[Event, ...]
    asked: int
    remembered: int
