"""Prompts of a whole image and which of them speak about the plane in view; arranged as objects.

Knows positions only: no layers, no model. States the rules of the dock: points and scribbles refine
one object; several boxes or outlines are several objects; what lies on another plane or outside is
ignored, with a word. What a scribble or an outline becomes is said in ``core.strokes``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_sam._predict import Plane
from napari_sam._prompt_set import (
    NO_PROMPTS,
    BoxPrompt,
    MaskPrompt,
    OutlinePrompt,
    PointPrompt,
    Position,
    PromptSet,
    StrokePrompt,
)
from napari_sam.core.prompts import Prompts
from napari_sam.core.strokes import LEAST_STEP, Sketch, along, ellipse, spread

__all__ = [
    "NO_PROMPTS",
    "BoxPrompt",
    "MaskPrompt",
    "OutlinePrompt",
    "Placed",
    "PointPrompt",
    "Position",
    "PromptSet",
    "StrokePrompt",
    "place",
]

LEAST_BOX_SIDE = 1.0  # pixels: a click without a drag is no box

Place = tuple[float, float]  # (y, x) on the plane


@dataclass(frozen=True)
class Placed:
    """The prompts of one plane for the model (None: nothing to ask), and what was left out.

    ``sketches``: the mask prompt of each object, not yet painted; none, or one an object.
    ``twice``: the answer to them is to be fed back.
    """

    prompts: Prompts | None
    note: str = ""
    sketches: tuple[Sketch, ...] = ()
    twice: bool = False


@dataclass(frozen=True)
class _Spot:
    """A point; those of a scribble share their number."""

    at: Place
    positive: bool
    number: int


@dataclass(frozen=True, eq=False)
class _Area:
    """What a box, an outline or a label says of its object."""

    box: tuple[float, float, float, float]
    sketch: Sketch | None = None

    def with_spots(self, spots: Sequence[_Spot]) -> "_Area":
        """Grown to what is said to be on the object, too."""
        y0, x0, y1, x1 = self.box
        on = [spot.at for spot in spots if spot.positive]
        ys, xs = [y for y, _ in on], [x for _, x in on]
        box = (min([y0, *ys]), min([x0, *xs]), max([y1, *ys]), max([x1, *xs]))
        return _Area(box, self.sketch)


def place(prompts: PromptSet, plane: Plane, *, each: bool = False) -> Placed:
    """Pick the prompts of a plane and arrange them as objects.

    No box and no outline, or one: one object with all points and scribbles, and with the mask.
    Several: an object each, all else is ignored. ``each``: every positive point or scribble is an
    object of its own, and every negative one beside all of them; boxes are objects, too, but not in
    the same go.
    """
    found = _Found(plane)
    for number, point in enumerate(prompts.points):
        found.add_point(point, number)
    for number, stroke in enumerate(prompts.strokes, start=len(prompts.points)):
        found.add_stroke(stroke, number)
    for box in prompts.boxes:
        found.add_box(box)
    for outline in prompts.outlines:
        found.add_outline(outline)
    if prompts.mask is not None:
        found.add_mask(prompts.mask)
    return _arrange(found, each=each)


class _Found:
    """What lies on a plane, and how much does not."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self.spots: list[_Spot] = []
        self.areas: list[_Area] = []
        self.mask: _Area | None = None
        self.has_strokes = False
        self._elsewhere = self._outside = 0

    @property
    def notes(self) -> list[str]:
        """What is ignored, for the user."""
        return [
            *_note(self._elsewhere, "on another plane"),
            *_note(self._outside, "outside the image"),
        ]

    def add_point(self, point: PointPrompt, number: int) -> None:
        places = self._project([point.position])
        if places and self._within(places):
            self.spots.append(_Spot(places[0], point.positive, number))

    def add_stroke(self, stroke: StrokePrompt, number: int) -> None:
        places = self._project(stroke.path)
        if places and (within := self._within(along(places).tolist())):
            self.has_strokes = True
            step = max(self._plane.size) * LEAST_STEP
            for y, x in spread(within, least_distance=step).tolist():
                self.spots.append(_Spot((y, x), stroke.positive, number))

    def add_box(self, box: BoxPrompt) -> None:
        places = self._project([box.low, box.high])
        if places:
            clipped = self._clip(places[0], places[1])
            self.areas += [] if clipped is None else [_Area(clipped)]

    def add_outline(self, outline: OutlinePrompt) -> None:
        places = self._project(outline.corners)
        if not places:
            return
        corners = ellipse(places) if outline.kind == "ellipse" else np.array(places)
        last = np.array(self._plane.size) - 0.5
        box = self._clip(corners.min(0), corners.max(0))
        if box is not None:
            self.areas.append(_Area(box, Sketch(np.clip(corners, -0.5, last))))

    def add_mask(self, mask: MaskPrompt) -> None:
        plane, pixels, starts = self._plane, mask.mask, mask.offset
        hidden = [axis for axis in range(len(mask.shape)) if axis not in plane.axes]
        if any(not starts[a] <= plane.index[a] < starts[a] + mask.shape[a] for a in hidden):
            self._elsewhere += 1
            return
        for axis in reversed(hidden):
            pixels = np.asarray(pixels.take(plane.index[axis] - starts[axis], axis))
        if pixels.any():
            y, x = (starts[axis] for axis in plane.axes)
            ys, xs = np.nonzero(pixels.any(1))[0] + y, np.nonzero(pixels.any(0))[0] + x
            box = (ys[0] - 0.5, xs[0] - 0.5, ys[-1] + 0.5, xs[-1] + 0.5)
            self.mask = _Area(box, Sketch(mask=pixels, offset=(y, x)))

    def _project(self, positions: Sequence[Position]) -> list[Place]:
        """(y, x) of positions that all lie on the plane; else none, and counted."""
        places = [at for position in positions if (at := self._plane.project(position)) is not None]
        if len(places) == len(positions):
            return places
        self._elsewhere += 1
        return []

    def _within(self, places: Sequence[Sequence[float]]) -> list[Place]:
        """Those that lie in the image; if none does, that is counted."""
        within = [(y, x) for y, x in places if _inside((y, x), self._plane.size)]
        self._outside += not within
        return within

    def _clip(self, low: Any, high: Any) -> tuple[float, float, float, float] | None:
        clipped = _clip(low, high, self._plane.size)
        self._outside += clipped is None
        return clipped


def _arrange(found: _Found, *, each: bool) -> Placed:
    """As objects of one request."""
    notes, spots, areas = found.notes, found.spots, found.areas
    if areas and (each or len(areas) > 1):
        if spots or found.mask is not None:
            notes.append("Several boxes are several objects: points are ignored.")
        return _one_each_area(areas, " ".join(notes))
    positive = any(spot.positive for spot in spots)
    if not areas and found.mask is None and not positive:
        if spots:
            notes.append("Add a point on the object itself, or a box.")
        return Placed(None, " ".join(notes))
    if each and positive:
        return Placed(_one_each(spots), " ".join(notes), twice=found.has_strokes)
    begin = None if found.mask is None else found.mask.with_spots(spots)
    area = areas[0] if areas else begin
    sketch = next((each.sketch for each in (begin, area) if each and each.sketch), None)
    prompts = Prompts(
        points=[[spot.at for spot in spots]] if spots else None,
        point_labels=[[int(spot.positive) for spot in spots]] if spots else None,
        boxes=None if area is None else [area.box],
    )
    if sketch is not None:
        return Placed(prompts, " ".join(notes), (sketch,))
    return Placed(prompts, " ".join(notes), twice=found.has_strokes)


def _one_each_area(areas: Sequence[_Area], note: str) -> Placed:
    """Each box or outline is an object; masks are asked for only where all of them have one."""
    sketches = tuple(area.sketch for area in areas if area.sketch is not None)
    prompts = Prompts(boxes=[area.box for area in areas])
    return Placed(prompts, note, sketches if len(sketches) == len(areas) else ())


def _one_each(spots: Sequence[_Spot]) -> Prompts:
    """Each positive point or scribble is an object, all negative ones lie beside it."""
    beside = [spot.at for spot in spots if not spot.positive]
    numbers = dict.fromkeys(spot.number for spot in spots if spot.positive)
    objects = [[spot.at for spot in spots if spot.number == number] for number in numbers]
    most = max(map(len, objects))
    pads = [most - len(own) for own in objects]
    points = [[*own, *beside, *[own[0]] * pad] for own, pad in zip(objects, pads, strict=True)]
    labels = [
        [1] * len(own) + [0] * len(beside) + [-1] * pad
        for own, pad in zip(objects, pads, strict=True)
    ]
    return Prompts(points=points, point_labels=labels)


def _inside(at: tuple[float, float], size: tuple[int, int]) -> bool:
    return all(-0.5 <= value <= side - 0.5 for value, side in zip(at, size, strict=True))


def _clip(
    low: tuple[float, float], high: tuple[float, float], size: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    last = np.array(size) - 0.5
    y0, x0 = np.clip(low, -0.5, last)
    y1, x1 = np.clip(high, -0.5, last)
    if min(y1 - y0, x1 - x0) < LEAST_BOX_SIDE:
        return None
    return (float(y0), float(x0), float(y1), float(x1))


def _note(count: int, where: str) -> list[str]:
    if not count:
        return []
    return [f"{count} prompt{'s are' if count > 1 else ' is'} {where}: ignored."]
