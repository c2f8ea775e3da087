"""Prompts of a whole image (any number of axes) and which of them speak about the plane in view.

Knows positions only: no layers, no model. States the rules of the dock: points refine one object;
several boxes are several objects; what lies on another plane or outside is ignored, with a word.
"""

from dataclasses import dataclass

import numpy as np

from napari_sam._predict import Plane
from napari_sam.core.prompts import Prompts

LEAST_BOX_SIDE = 1.0  # pixels: a click without a drag is no box

Position = tuple[float, ...]


@dataclass(frozen=True)
class PointPrompt:
    """A point in pixels of the image, all axes; positive: on the object, else beside it."""

    position: Position
    positive: bool = True


@dataclass(frozen=True)
class BoxPrompt:
    """Two opposite corners in pixels of the image, all axes, ``low <= high``."""

    low: Position
    high: Position


@dataclass(frozen=True)
class PromptSet:
    """All prompts that the user has made and not yet committed."""

    points: tuple[PointPrompt, ...] = ()
    boxes: tuple[BoxPrompt, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.points or self.boxes)


NO_PROMPTS = PromptSet()


@dataclass(frozen=True)
class Placed:
    """The prompts of one plane for the model (None: nothing to ask), and what was left out."""

    prompts: Prompts | None
    note: str = ""


def place(prompts: PromptSet, plane: Plane, *, each: bool = False) -> Placed:
    """Pick the prompts of a plane and arrange them as objects.

    No box or one: one object with all points. Several boxes: an object each, points are ignored.
    ``each``: every positive point is an object of its own, and every negative point beside all of
    them; boxes are objects, too, but not in the same go.
    """
    points, elsewhere, outside = [], 0, 0
    for point in prompts.points:
        at = plane.project(point.position)
        if at is None:
            elsewhere += 1
        elif not _inside(at, plane.size):
            outside += 1
        else:
            points.append((at, point.positive))
    boxes = []
    for box in prompts.boxes:
        low, high = plane.project(box.low), plane.project(box.high)
        if low is None or high is None:
            elsewhere += 1
        elif (clipped := _clip(low, high, plane.size)) is None:
            outside += 1
        else:
            boxes.append(clipped)
    notes = [*_note(elsewhere, "on another plane"), *_note(outside, "outside the image")]
    if boxes and points and (each or len(boxes) > 1):
        notes.append("Several boxes are several objects: points are ignored.")
        points = []
    if not boxes and not any(positive for _, positive in points):
        if points:
            notes.append("Add a point on the object itself, or a box.")
        return Placed(None, " ".join(notes))
    if each and points:
        return Placed(_one_each(points), " ".join(notes))
    return Placed(
        Prompts(
            points=[[at for at, _ in points]] if points else None,
            point_labels=[[int(positive) for _, positive in points]] if points else None,
            boxes=boxes or None,
        ),
        " ".join(notes),
    )


def _one_each(points: list[tuple[tuple[float, float], bool]]) -> Prompts:
    beside = [at for at, positive in points if not positive]
    objects = [[at, *beside] for at, positive in points if positive]
    return Prompts(points=objects, point_labels=[[1] + [0] * len(beside)] * len(objects))


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
