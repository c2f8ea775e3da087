"""How alike two masks are, and how sure a mean is. Knows arrays only: no models, no prompts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]

_T = TypeVar("_T")
CONFIDENCE = 0.95
BOOTSTRAP_ROUNDS = 1000


def iou(first: Mask, second: Mask) -> float:
    """Intersection over union of two masks of one shape, 0 to 1; two empty masks are alike: 1.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    check_alike(first, second)
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else 1.0


def dice_of(iou: float) -> float:
    """Dice coefficient of two masks whose IoU is known: twice the shared over the sum of both."""
    return 2 * iou / (1 + iou)


def check_alike(first: NDArray[np.generic], second: NDArray[np.generic]) -> None:
    """Refuse arrays of two shapes.

    Raises
    ------
    ValueError
        Names both shapes.
    """
    if first.shape != second.shape:
        raise ValueError(f"arrays of {first.shape} and {second.shape} cannot be compared.")


@dataclass(frozen=True)
class Estimate:
    """A figure of a group with its confidence interval.

    Attributes
    ----------
    mean
        Of all images together.
    low, high
        Of the 95 % interval; None where a single image tells nothing about others.
    n
        Number of objects.
    """

    mean: float
    low: float | None
    high: float | None
    n: int


def estimate_mean(values: Sequence[float], images: Sequence[str], *, seed: int = 0) -> Estimate:
    """Mean over objects, each counting once; the interval as in :func:`estimate`.

    Parameters
    ----------
    values
        One number for each object.
    images
        For each object the name of its image.
    seed
        Of the draws.

    Raises
    ------
    ValueError
        If there is no value, or not one image name for each.
    """
    if not values or len(values) != len(images):
        raise ValueError(f"{len(values)} values and {len(images)} image names.")
    _, index = np.unique(np.asarray(images), return_inverse=True)
    sums = np.bincount(index, weights=np.asarray(values, np.float64))
    parts = np.stack([sums, np.bincount(index).astype(np.float64)], 1)
    return estimate(parts, _ratio, len(values), seed=seed)


def estimate(parts: Floats, statistic: Statistic, n: int, *, seed: int = 0) -> Estimate:
    """A figure of sums over images, with an interval by bootstrap over images.

    Objects of one image are alike, so whole images are drawn with replacement, 1000 times, and the
    2.5 and 97.5 percentiles of the figures are taken (Efron and Tibshirani 1993, chapters 8, 13).

    Parameters
    ----------
    parts
        (images, k) what each image adds to k sums.
    statistic
        From sums (..., k) to figures (...).
    n
        Number of objects, for the answer.
    seed
        Of the draws.
    """
    mean = float(statistic(parts.sum(0)))
    if len(parts) == 1:
        return Estimate(mean, None, None, n)
    draws = _draw(len(parts), BOOTSTRAP_ROUNDS, seed)
    return Estimate(mean, *_interval(statistic(_sums(parts, draws))), n)


def estimate_over(
    images: Sequence[_T],
    statistic: Callable[[Sequence[_T]], float],
    n: int,
    *,
    seed: int = 0,
    rounds: int = BOOTSTRAP_ROUNDS,
) -> Estimate:
    """As :func:`estimate`, of a figure that is not made of sums: it is computed for each draw.

    Parameters
    ----------
    images
        What each image brings.
    statistic
        Of any selection of them, with repeats.
    n
        Number of objects, for the answer.
    seed, rounds
        Of the draws.
    """
    mean = statistic(images)
    if len(images) == 1:
        return Estimate(mean, None, None, n)
    draws = _draw(len(images), rounds, seed)
    return Estimate(mean, *_interval([statistic([images[i] for i in one]) for one in draws]), n)


def _draw(count: int, rounds: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(count, size=(rounds, count))


def _interval(figures: Sequence[float] | Floats) -> tuple[float, float]:
    low, high = np.nanquantile(figures, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return (float(low), float(high))


def _sums(parts: Floats, draws: NDArray[np.int64]) -> Floats:
    """(rounds, k): what is drawn, added up, without (rounds, images, k) in memory."""
    times = np.zeros((len(draws), len(parts)))
    np.add.at(times, (np.arange(len(draws))[:, None], draws), 1)
    return times @ parts


def _ratio(sums: Floats) -> Floats:
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))
