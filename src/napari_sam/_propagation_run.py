"""What is carried through a stack: settings, requests, a run with its key planes and results.

Plain values of the tab 3D / time; knows no session, no Qt, no napari.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_sam._document import Document
from napari_sam._history import Step
from napari_sam._label_edit import LabelEdit, LabelImage, Region, enclosing
from napari_sam._predict import MaskPatch, ModelChoice, Origin
from napari_sam._way import Way
from napari_sam.core.intensity import Intensity
from napari_sam.volume.propagation.params import PropagateParams

if TYPE_CHECKING:
    from napari_sam.volume.propagation.key_plane import KeyPlane
    from napari_sam.volume.propagation.memory import Memory
    from napari_sam.volume.propagation.result import PlaneResult

What = Literal["object", "plane"]
Direction = Literal["both", "forward", "backward"]


@dataclass(frozen=True)
class PropagateSettings:
    """What the user has chosen.

    Attributes
    ----------
    what
        The object that is clicked at or selected; or all labels of the plane in view.
    along
        Letter of the axis; None: z, else t, else the one that is not shown.
    direction
        From the key planes on to both ends, or to one.
    first, last
        Bounds, both inclusive; None: the ends of the stack.
    least_score, most_area_change, least_overlap, least_contrast, stiffness
        Where objects end, and how firmly they keep their outlines: see
        :class:`~napari_sam.volume.propagation.params.PropagateParams`.
    """

    what: What = "object"
    along: str | None = None
    direction: Direction = "both"
    first: int | None = None
    last: int | None = None
    least_score: float = PropagateParams.least_score
    most_area_change: float = PropagateParams.most_area_change
    least_overlap: float = PropagateParams.least_overlap
    least_contrast: float = PropagateParams.least_contrast
    stiffness: float = PropagateParams.stiffness

    def params(self, way: Way, keys: Sequence[int]) -> PropagateParams:
        """As propagation takes it; ``keys`` are the planes that it begins at."""
        first = min(keys) if self.direction == "forward" else self.first or 0
        last = max(keys) if self.direction == "backward" else self.last
        return PropagateParams(
            first_plane=min(first, *keys, way.count - 1),
            last_plane=min(max(way.count - 1 if last is None else last, *keys), way.count - 1),
            least_score=self.least_score,
            most_area_change=self.most_area_change,
            least_overlap=self.least_overlap,
            least_contrast=self.least_contrast,
            stiffness=self.stiffness,
            spacing=None if way.along == "t" else way.spacing,
        )


@dataclass(frozen=True, eq=False)
class PropagateRequest:
    """Everything that a run needs, frozen.

    Attributes
    ----------
    image
        Gives the image as the library takes it; may read a little of a file.
    channels
        Which of its channels the model sees.
    labels
        Where objects are drawn; read by the worker.
    region
        Of the labels, in which the objects are or were; None: nowhere yet.
    ids
        The objects.
    keys
        What is known beforehand, by plane.
    made
        What was written by the last run.
    memory
        What the model has answered before.
    """

    image: Callable[[], Any]
    channels: tuple[int, ...] | None
    model: ModelChoice
    intensity: Intensity
    way: Way
    settings: PropagateSettings
    labels: LabelImage
    region: Region | None
    ids: tuple[int, ...]
    keys: Mapping[int, "KeyPlane"]
    made: Mapping[int, "PlaneResult"]
    memory: "Memory"


@dataclass(frozen=True, eq=False)
class State:
    """What is known after a step; of one that was undone it is dropped."""

    step: Step | None = None
    made: Mapping[int, "PlaneResult"] = field(default_factory=dict)
    keys: Mapping[int, "KeyPlane"] = field(default_factory=dict)


@dataclass(eq=False)
class Run:
    """Objects that are carried through one stack, and what has become of them."""

    document: Document
    labels: LabelImage
    way: Way
    source: object
    model: ModelChoice
    intensity: Intensity
    ids: tuple[int, ...]
    new: frozenset[int]
    memory: "Memory"
    states: list[State] = field(default_factory=lambda: [State()])
    clear: bool = False
    weights: str = ""  # of the model, once the worker knows them
    closing: str = ""  # what to say when all that was written is one step
    edits: list[LabelEdit] = field(default_factory=list)
    fresh: dict[int, "PlaneResult"] = field(default_factory=dict)
    keys: dict[int, "KeyPlane"] = field(default_factory=dict)

    @property
    def details(self) -> dict[str, Any]:
        """For the journal: what was carried on, along which axis, from which planes, by whom."""
        origin = Origin(self.model.name, self.weights, self.intensity)
        what = {"ids": list(self.ids), "along": self.way.along, "keys": sorted(self.keys)}
        return {**what, **origin.to_json()}

    @property
    def state(self) -> State:
        """The newest whose step was not undone."""
        done = {id(step) for step in self.document.history}
        return next(s for s in reversed(self.states) if s.step is None or id(s.step) in done)


def curves(
    made: Mapping[int, "PlaneResult"], ids: Sequence[int]
) -> dict[int, list[tuple[int, float]]]:
    """(plane, score) of each object."""
    found: dict[int, list[tuple[int, float]]] = {one: [] for one in ids}
    for plane, result in sorted(made.items()):
        for one in result.objects:
            if one.id in found:
                found[one.id].append((plane, one.score))
    return found


def key_of(
    way: Way,
    masks: Mapping[int, MaskPatch],
    known: "KeyPlane | None" = None,
    *,
    absent: Sequence[int] = (),
) -> "KeyPlane":
    """A key plane with masks of some objects, others as they are known."""
    from napari_sam.volume.propagation.key_plane import KeyPlane

    ids = [*masks, *absent, *((known.ids if known else ()) or ())]
    labels = np.zeros(way.size, np.min_scalar_type(max(ids)))
    if known is not None and known.labels is not None:
        labels[:] = np.where(np.isin(known.labels, [*masks, *absent]), 0, known.labels)
    for one, patch in masks.items():
        labels[part_of(way, patch)][mask_of(way, patch)] = one
    gone = {*absent, *(known.absent if known else ())} - set(masks)
    return KeyPlane(way.here, labels if labels.any() else None, absent=gone)


def part_of(way: Way, patch: MaskPatch) -> tuple[slice, slice]:
    """Rows and columns of a plane of the way that a patch covers."""
    pairs = zip(patch.offset, patch.mask.shape, strict=True)
    first, second = (slice(start, start + n) for start, n in pairs)
    return (first, second) if way.rows < way.columns else (second, first)


def mask_of(way: Way, patch: MaskPatch) -> NDArray[np.bool_]:
    """The pixels of a patch, (rows, columns)."""
    return patch.mask if way.rows < way.columns else patch.mask.T


def objects_in_view(document: Document, way: Way) -> tuple[int, ...]:
    """Objects that have pixels on the plane in view, in order."""
    assert document.labels is not None
    found: set[int] = set()
    boxes = [record.slices for record in document.objects.values()]
    fixed = [i for i in range(len(way.shape)) if i not in way.axes]
    here = [b for b in boxes if all(b[i].start <= way.index[i] < b[i].stop for i in fixed)]
    if here:
        part = way.part_of(enclosing(here))
        found = set(np.unique(document.labels.read(way.region(way.here, part))).tolist())
    return tuple(sorted(found & set(document.objects)))


def worst_scores(
    made: Mapping[int, "PlaneResult"], ids: Sequence[int]
) -> tuple[tuple[int, float], ...]:
    """(plane, lowest score of some objects on it), in the order of planes."""
    wanted, worst = set(ids), []
    for plane, result in sorted(made.items()):
        scores = [one.score for one in result.objects if one.id in wanted]
        if scores:
            worst.append((plane, min(scores)))
    return tuple(worst)


def object_below(run: Run, way: Way, patch: MaskPatch) -> int | None:
    """That object of a run which has most pixels under a mask on the plane in view."""
    values = way.flat(run.labels.read(way.region(way.here, part_of(way, patch))))
    below = values[mask_of(way, patch)]
    below = below[np.isin(below, run.ids)]
    return int(np.bincount(below).argmax()) if below.size else None


def objects_are(ids: Sequence[int]) -> str:
    """How a sentence about objects begins."""
    return f"Object {ids[0]} is" if len(ids) == 1 else f"{len(ids)} objects are"
