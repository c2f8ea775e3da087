"""Whether the predicted IoU is what the IoU turns out to be. Knows pairs of numbers only.

Reliability: answers are put into ten bins of their predicted IoU; a calibrated model's mean IoU in
a bin is the mean of what it predicted. Expected calibration error: the mean over answers of the
distance between the two means of their bin (Naeini et al. 2015; Guo et al. 2017, section 2), here
of an IoU instead of a probability.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam.evaluation.interactive import ObjectResult
from napari_sam.evaluation.metrics import Estimate, Floats, estimate, estimate_mean

BINS = 10


@dataclass(frozen=True)
class Answer:
    """What the model said its IoU would be, what it was, and in which image."""

    predicted: float
    true: float
    sample: str


@dataclass(frozen=True)
class Bin:
    """Answers with a predicted IoU of ``low`` to ``high``: how many, and both means."""

    low: float
    high: float
    n: int
    predicted: float
    true: float


@dataclass(frozen=True)
class Calibration:
    """How far predicted and true IoU are apart.

    Attributes
    ----------
    off
        Mean ``|predicted - true|`` of single answers.
    ece
        Expected calibration error.
    bins
        Those that have answers.
    """

    off: Estimate
    ece: Estimate
    bins: tuple[Bin, ...]


def answers_of(results: Sequence[ObjectResult]) -> list[Answer]:
    """Every click's and box's answer; an annotator who stopped counts once."""
    return [answer for result in results for answer in _answers(result)]


def calibrate(answers: Sequence[Answer], *, seed: int = 0) -> Calibration:
    """Compare predicted with true IoU; intervals by bootstrap over images.

    Raises
    ------
    ValueError
        If there is no answer.
    """
    predicted = np.array([answer.predicted for answer in answers])
    true = np.array([answer.true for answer in answers])
    samples = [answer.sample for answer in answers]
    off = estimate_mean(np.abs(predicted - true).tolist(), samples, seed=seed)
    place = np.clip((predicted * BINS).astype(int), 0, BINS - 1)
    _, image = np.unique(samples, return_inverse=True)
    parts = np.zeros((image.max() + 1, BINS, 3))  # for each image and bin: sums, and number
    np.add.at(parts, (image, place), np.stack([predicted, true, np.ones_like(true)], 1))
    totals = parts.sum(0)
    bins = tuple(
        Bin(k / BINS, (k + 1) / BINS, int(n), float(said / n), float(was / n))
        for k, (said, was, n) in enumerate(totals)
        if n
    )
    return Calibration(
        off, estimate(parts.reshape(len(parts), -1), _ece, len(true), seed=seed), bins
    )


def _ece(sums: Floats) -> Floats:
    parts = sums.reshape(*sums.shape[:-1], BINS, 3)
    gaps = np.abs(parts[..., 0] - parts[..., 1]).sum(-1)  # |mean - mean| times the number
    return np.asarray(gaps / np.maximum(parts[..., 2].sum(-1), 1))


def _answers(result: ObjectResult) -> Iterator[Answer]:
    before: tuple[float, float] | None = None
    for pair in zip(result.predicted, result.clicks, strict=True):
        if pair != before:
            yield Answer(*pair, result.sample)
        before = pair
    yield Answer(result.predicted_box, result.box, result.sample)
