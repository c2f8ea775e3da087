"""Prompts of B objects as one frozen value. Knows no image, no model and no torch.

A click, a point grid of an automatic run and a training batch are all this one type.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam.errors import PromptError

Floats = NDArray[np.float32]
POINT_LABELS = (1, 0, -1)


@dataclass(frozen=True, init=False, eq=False)
class Prompts:
    """What the user said about B objects on one image.

    Each object needs at least one kind of prompt, and a kind that is given is given for all B.

    Parameters
    ----------
    points
        (B, N, 2) y, x in pixels of the original image; whole numbers are pixel centres. Objects
        with fewer than N points fill up with points labelled -1.
    point_labels
        (B, N) 1 object, 0 background, -1 padding. Required with ``points``.
    boxes
        (B, 4) y0, x0, y1, x1 in the same frame, y0 <= y1 and x0 <= x1.
    mask_logits
        (B, h, w) low-res logits of an earlier prediction on this image, or (B, H, W) logits at the
        image's size; above 0 is object.

    Raises
    ------
    PromptError
        For wrong shapes, numbers of objects that differ, no prompt at all, corners in the wrong
        order, unknown point labels, or numbers that are not finite.
    """

    points: Floats | None
    point_labels: NDArray[np.int64] | None
    boxes: Floats | None
    mask_logits: Floats | None

    def __init__(
        self,
        *,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        boxes: ArrayLike | None = None,
        mask_logits: ArrayLike | None = None,
    ) -> None:
        given = {
            "points": _floats("points", points, "(B, N, 2)", 3, 2),
            "boxes": _floats("boxes", boxes, "(B, 4)", 2, 4),
            "mask_logits": _floats("mask_logits", mask_logits, "(B, h, w)", 3, None),
            "point_labels": _labels(point_labels),
        }
        for name, value in given.items():
            if value is not None:
                value.flags.writeable = False
            object.__setattr__(self, name, value)
        self._check()

    @property
    def n_objects(self) -> int:
        """Number of objects, B."""
        for value in (self.points, self.boxes, self.mask_logits):
            if value is not None:
                return len(value)
        return 0

    def _check(self) -> None:
        points, labels, boxes = self.points, self.point_labels, self.boxes
        if (points is None) != (labels is None):
            raise PromptError("points and point_labels belong together; one of them is missing.")
        if points is not None and labels is not None and labels.shape != points.shape[:2]:
            raise PromptError(
                f"point_labels have shape {labels.shape}; for points of shape {points.shape} they"
                f" must be {points.shape[:2]}."
            )
        counts = {
            name: len(value)
            for name in ("points", "boxes", "mask_logits")
            if (value := getattr(self, name)) is not None
        }
        if not counts or 0 in counts.values():
            raise PromptError("there is no prompt: give points, boxes or mask_logits.")
        if len(set(counts.values())) > 1:
            raise PromptError(f"the prompts disagree on the number of objects: {counts}.")
        if boxes is not None and (boxes[:, :2] > boxes[:, 2:]).any():
            bad = boxes[(boxes[:, :2] > boxes[:, 2:]).any(1)][0]
            raise PromptError(
                f"box {bad.tolist()} is not (y0, x0, y1, x1) with y0 <= y1, x0 <= x1."
            )


def _floats(
    name: str, value: ArrayLike | None, wanted: str, ndim: int, last: int | None
) -> Floats | None:
    if value is None:
        return None
    try:
        array = np.array(value, np.float32)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{name} must be an array {wanted}: {error}") from error
    if array.ndim != ndim or (last is not None and array.shape[-1] != last):
        raise PromptError(f"{name} have shape {array.shape}; wanted is {wanted}.")
    if not np.isfinite(array).all():
        raise PromptError(f"{name} hold numbers that are not finite.")
    return array


def _labels(value: ArrayLike | None) -> NDArray[np.int64] | None:
    if value is None:
        return None
    labels = np.array(value)
    if labels.dtype.kind not in "iub" or not np.isin(labels, POINT_LABELS).all():
        raise PromptError(
            "point_labels must be integers: 1 for object, 0 for background, -1 for padding."
        )
    return labels.astype(np.int64)
