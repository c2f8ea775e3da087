"""The command line's points and boxes -> objects: the rule by which points belong to them."""

from collections.abc import Sequence

from napari_sam.core.object_prompts import (
    Box,
    ObjectPrompt,
    Point,
    check_objects,
    decode_objects,
)
from napari_sam.errors import PromptError

__all__ = ["Box", "ObjectPrompt", "Point", "check_objects", "decode_objects", "objects_of"]


def objects_of(
    positive: Sequence[Point],
    negative: Sequence[Point],
    boxes: Sequence[Box],
    *,
    each: bool = False,
) -> list[ObjectPrompt]:
    """Share points among objects.

    With boxes: each box is an object, and a point refines the objects in whose box it lies.
    Without: all points describe one object, or, with ``each``, every positive point is an object
    of its own and the negative ones hold for all of them.

    Raises
    ------
    PromptError
        No object is named, or a point lies in none of the boxes.
    """
    if boxes:
        for point in (*positive, *negative):
            if not any(_inside(point, box) for box in boxes):
                raise PromptError(f"point (y, x) = {list(point)} lies in none of the boxes.")
        return [
            ObjectPrompt(
                tuple(p for p in positive if _inside(p, box)),
                tuple(p for p in negative if _inside(p, box)),
                box,
            )
            for box in boxes
        ]
    if not positive:
        raise PromptError("nothing says where the object is: give a point on it or a box.")
    if each:
        return [ObjectPrompt((point,), tuple(negative)) for point in positive]
    return [ObjectPrompt(tuple(positive), tuple(negative))]


def _inside(point: Point, box: Box) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]
