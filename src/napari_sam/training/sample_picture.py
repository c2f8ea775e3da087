"""What a network makes of one click on each of some objects, drawn beside the truth.

For people who look on while it learns. Knows a network and one labelled image.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor, nn

from napari_sam.core.registry import ModelSpec
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.interactive import choose_objects, play_clicks
from napari_sam.evaluation.params import EvaluationParams
from napari_sam.evaluation.pictures import ANSWER, POSITIVE, TRUTH
from napari_sam.training.validation import posing

SIDE = 480  # pixels of the picture's longer side
DOT = 3


def write_sample(
    path: Path,
    model: nn.Module,
    spec: ModelSpec,
    sample: Sample,
    params: EvaluationParams,
    *,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Draw the answers to a click on each chosen object of an image, and write the picture.

    Parameters
    ----------
    path
        A ``.png``; written whole or not at all.
    model, spec, weights
        As for :func:`~napari_sam.training.validation.validate`.
    sample, params
        The image, and how its objects are chosen.
    """
    with posing(model, spec, weights) as predictor:
        truths = [sample.labels == n for n in choose_objects(sample.labels, sample.name, params)]
        embedding = predictor.encode(sample.picture, intensity="as_is")
        sittings = play_clicks(predictor, embedding, truths, rounds=1) if truths else []
    answers = [sitting.masks[0] for sitting in sittings]
    clicks = [(sitting.clicks[0].y, sitting.clicks[0].x) for sitting in sittings]
    partial = path.with_suffix(".partial")
    draw_answers(sample.picture, truths, answers, clicks).save(partial, "PNG")
    os.replace(partial, path)


def draw_answers(
    picture: NDArray[np.uint8],
    truths: list[NDArray[np.bool_]],
    answers: list[NDArray[np.bool_]],
    clicks: Sequence[tuple[float, float]],
) -> Image.Image:
    """A picture (H, W, 3), outlines of masks (H, W) on it, truth below, and a dot on each click.

    Clicks are (y, x) pixels. The result's longer side has 480 pixels.
    """
    height, width = picture.shape[:2]
    zoom = SIDE / max(height, width)
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    drawn = np.array(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
    for masks, colour in ((truths, TRUTH), (answers, ANSWER)):
        for mask in masks:
            large = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
            drawn[large & ~ndimage.binary_erosion(large)] = colour
    made = Image.fromarray(drawn)
    pen = ImageDraw.Draw(made)
    for y, x in clicks:
        row, column = (y + 0.5) * zoom, (x + 0.5) * zoom
        pen.ellipse((column - DOT, row - DOT, column + DOT, row + DOT), fill=POSITIVE)
    return made
