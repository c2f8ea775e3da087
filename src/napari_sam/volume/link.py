"""Objects of planes -> objects through z, by overlap. Knows numbers of objects, no pixels.

Two objects of neighbouring planes are one when each is the other's best partner (largest IoU) and
the IoU is large enough, or the smaller one lies nearly all within the other: so the caps of round
objects stay with them. So an object has at most one partner above and one below: where two objects
meet in one, the one that fits better goes on and the other ends. Objects that end are looked for
again one plane further, as far as the allowed gap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import PromptError
from napari_sam.volume.overlaps import Overlaps
from napari_sam.volume.unions import components

__all__ = ["LinkParams", "link_planes"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class LinkParams:
    """How planes become volumes.

    Attributes
    ----------
    iou
        Least IoU between planes, above 0 to 1. The coarser the steps along z, the lower.
    covered
        Or else, the least share of the smaller object that lies within the larger one.
    gap
        How many planes an object may be missing in.
    min_size
        Objects of fewer pixels in all are left out.
    planes_apart
        Do not link at all: each plane has objects of its own.

    Raises
    ------
    PromptError
        A value is out of its range.
    """

    iou: float = 0.4
    covered: float = 0.9
    gap: int = 0
    min_size: int = 0
    planes_apart: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in ("iou", "covered"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise PromptError(
                    f"{name} between planes is {value!r}; it must be above 0 and at most 1."
                )
        if self.gap < 0 or self.min_size < 0:
            raise PromptError(
                f"gap is {self.gap!r} and min_size {self.min_size!r}; neither may be negative."
            )


def link_planes(
    areas: Sequence[Numbers],
    overlaps: Mapping[tuple[int, int], Overlaps],
    params: LinkParams,
) -> tuple[list[Numbers], int]:
    """Number the objects of all planes so that linked ones have the same number.

    Parameters
    ----------
    areas
        For each plane the pixels of its objects by their number in the plane; [0] is background.
    overlaps
        For pairs of planes up to ``gap + 1`` apart; pairs that are not there are not linked.
    params
        When to link.

    Returns
    -------
    tables : list of numpy.ndarray
        For each plane the final number by the number in the plane, 0 for what is left out.
    count : int
        How many objects there are: the final numbers are 1 to ``count``.
    """
    starts = np.cumsum([0, *(len(one) for one in areas)])
    ends = [np.zeros(len(one), bool) for one in areas]  # has a partner above
    begins = [np.zeros(len(one), bool) for one in areas]  # has a partner below
    links = [np.zeros((0, 2), np.int64)]
    for distance in range(1, 1 if params.planes_apart else params.gap + 2):
        for low in range(len(areas) - distance):
            pairs = overlaps.get((low, low + distance), Overlaps.none())
            free = ~ends[low][pairs.first] & ~begins[low + distance][pairs.second]
            chosen = _best(pairs.where(free), areas[low], areas[low + distance], params)
            ends[low][chosen[:, 0]] = True
            begins[low + distance][chosen[:, 1]] = True
            links.append(chosen + starts[[low, low + distance]])
    linked = np.concatenate(links)
    group = components(int(starts[-1]), linked[:, 0], linked[:, 1])
    every = np.concatenate([np.asarray(one, np.int64) for one in areas] or [starts[:0]])
    every[starts[:-1]] = 0  # backgrounds
    sizes = np.bincount(group, every) if len(group) else np.zeros(0)
    stays = sizes >= max(1, params.min_size)
    final = np.cumsum(stays) * stays
    numbers = np.where(every > 0, final[group], 0) if len(group) else every
    tables = [numbers[a:b] for a, b in pairwise(starts)]
    return tables, int(stays.sum())


def _best(pairs: Overlaps, areas_low: Numbers, areas_high: Numbers, params: LinkParams) -> Numbers:
    """(N, 2) objects that are each other's best partner."""
    fit = pairs.iou(areas_low, areas_high)
    covered = pairs.pixels / np.minimum(areas_low[pairs.first], areas_high[pairs.second])
    good = (fit >= params.iou) | (covered >= params.covered)
    best_low, best_high = np.zeros(len(areas_low)), np.zeros(len(areas_high))
    np.maximum.at(best_low, pairs.first, fit)
    np.maximum.at(best_high, pairs.second, fit)
    mutual = good & (fit == best_low[pairs.first]) & (fit == best_high[pairs.second])
    first, second = pairs.first[mutual], pairs.second[mutual]
    once = np.zeros(len(first), bool)  # of equal ones the first
    once[np.unique(first, return_index=True)[1]] = True
    twice = np.zeros(len(first), bool)
    twice[np.unique(second, return_index=True)[1]] = True
    return np.stack([first[once & twice], second[once & twice]], 1)
