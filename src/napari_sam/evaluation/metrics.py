"""How alike two masks are, and how sure a mean is. Knows arrays only: no models, no prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

CONFIDENCE = 0.95
BOOTSTRAP_ROUNDS = 1000


def iou(first: Mask, second: Mask) -> float:
    """Intersection over union of two masks of one shape, 0 to 1; two empty masks are alike: 1.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"masks of shapes {first.shape} and {second.shape} cannot be compared.")
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else 1.0


@dataclass(frozen=True)
class Estimate:
    """A mean with its confidence interval.

    Attributes
    ----------
    mean
        Over all objects, each counting once.
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
    """Mean over objects, with an interval by bootstrap over images.

    Objects of one image are alike, so whole images are drawn with replacement, 1000 times, and the
    2.5 and 97.5 percentiles of the means are taken (Efron and Tibshirani 1993, chapters 8 and 13).

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
    names, index = np.unique(np.asarray(images), return_inverse=True)
    sums = np.bincount(index, weights=np.asarray(values, np.float64))
    counts = np.bincount(index)
    mean = float(sums.sum() / counts.sum())
    if len(names) == 1:
        return Estimate(mean, None, None, len(values))
    draws = np.random.default_rng(seed).integers(len(names), size=(BOOTSTRAP_ROUNDS, len(names)))
    means = sums[draws].sum(1) / counts[draws].sum(1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(mean, float(low), float(high), len(values))
