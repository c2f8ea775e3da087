"""Points and boxes of one object as a value, and one mask for each of many.

Knows prompts and what decodes them; knows no files and no flags.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.core.prompts import Prompts

if TYPE_CHECKING:
    from napari_sam.core.automatic import EncodesAndDecodes
    from napari_sam.core.predictor import ImageEmbedding, MaskPrediction

__all__ = ["Box", "ObjectPrompt", "Point", "check_objects", "decode_objects"]

Point = tuple[float, float]
Box = tuple[float, float, float, float]
# Objects decoded at once: each needs its own copy of the image's features in the decoder.
BATCH = 16


@dataclass(frozen=True)
class ObjectPrompt:
    """What was said about one object, in (y, x) pixels of the image.

    Attributes
    ----------
    positive, negative
        Points on it and beside it.
    box
        y0, x0, y1, x1, or None.
    """

    positive: tuple[Point, ...] = ()
    negative: tuple[Point, ...] = ()
    box: Box | None = None

    @property
    def ambiguous(self) -> bool:
        """A single click may mean a part or a whole: three candidates are worth their time."""
        return self.box is None and len(self.positive) + len(self.negative) == 1


def check_objects(objects: Sequence[ObjectPrompt], size: tuple[int, int]) -> None:
    """Refuse prompts that do not fit an image of (height, width), before it is encoded.

    Raises
    ------
    PromptError
        See :class:`~napari_sam.core.prompts.Prompts` and
        :func:`~napari_sam.core.predictor.check_inside`.
    """
    from napari_sam.core.predictor import check_inside

    for one in objects:
        check_inside(_prompts([one]), size)


def decode_objects(
    predictor: "EncodesAndDecodes", embedding: "ImageEmbedding", objects: Sequence[ObjectPrompt]
) -> "MaskPrediction":
    """One mask an object, in their order: of the candidates the one with the best score.

    Raises
    ------
    PromptError
        A prompt lies outside the image.
    """
    from napari_sam.core.predictor import MaskPrediction

    height, width = embedding.frame.low_res
    logits = np.empty((len(objects), 1, height, width), np.float32)
    scores = np.empty((len(objects), 1), np.float32)
    details = {}
    for indices in _batches(objects):
        chosen = [objects[i] for i in indices]
        prediction = predictor.decode(embedding, _prompts(chosen), multimask=chosen[0].ambiguous)
        best = prediction.best()
        rows = np.arange(len(chosen))
        logits[indices, 0] = prediction.low_res_logits[rows, best]
        scores[indices, 0] = prediction.scores[rows, best]
        for row, detail in prediction.details.items():
            details[indices[row]] = detail.only(int(best[row]))
    return MaskPrediction(logits, scores, embedding.frame, details)


def _batches(objects: Sequence[ObjectPrompt]) -> list[list[int]]:
    """Indices of objects with the same kinds and numbers of prompts: no padding changes a mask."""
    alike: dict[tuple[int, bool, bool], list[int]] = defaultdict(list)
    for index, one in enumerate(objects):
        count = len(one.positive) + len(one.negative)
        alike[count, one.box is not None, one.ambiguous].append(index)
    return [
        indices[start : start + BATCH]
        for indices in alike.values()
        for start in range(0, len(indices), BATCH)
    ]


def _prompts(objects: Sequence[ObjectPrompt]) -> Prompts:
    points = [[*one.positive, *one.negative] for one in objects]
    labels = [[1] * len(one.positive) + [0] * len(one.negative) for one in objects]
    boxes = [one.box for one in objects if one.box is not None]
    return Prompts(
        points=points if points[0] else None,
        point_labels=labels if points[0] else None,
        boxes=boxes or None,
    )
