"""A simulated user of propagation: a click on the middle plane, then corrections at the worst one.

Deterministic. Each action is one: a click, or "the object is not on this plane". Knows masks and
key planes; propagation is asked by ``propagation.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.prompts import Prompts
from napari_sam.evaluation.clicks import Click, first_click, next_click
from napari_sam.evaluation.metrics import Mask
from napari_sam.volume.propagation.key_plane import KeyPlane

__all__ = ["Annotation", "key_planes", "middle_plane"]


def middle_plane(truth: Mask) -> int:
    """The middle one of the planes (axis 0) on which an object is."""
    on = np.flatnonzero(truth.any((1, 2)))
    return int(on[len(on) // 2])


@dataclass
class Annotation:
    """What the user has said of one object so far.

    Attributes
    ----------
    truth
        (planes, rows, columns), what the user sees.
    clicks
        Plane -> clicks on it.
    found
        Plane -> mask that the clicks there correct; none on the first plane.
    absent
        Planes on which the object is said not to be.
    """

    truth: Mask
    clicks: dict[int, list[Click]] = field(default_factory=dict)
    found: dict[int, Mask] = field(default_factory=dict)
    absent: set[int] = field(default_factory=set)

    def begin(self) -> None:
        """Click on the middle plane, deepest in the object."""
        plane = middle_plane(self.truth)
        self.clicks[plane] = [first_click(self.truth[plane])]

    def correct(self, answer: Mask) -> bool:
        """One action on the plane with the most wrong pixels; False where all is right."""
        wrong = np.count_nonzero(answer != self.truth, axis=(1, 2))
        for plane in np.argsort(-wrong, kind="stable").tolist():
            if not wrong[plane]:
                return False
            if not self.truth[plane].any():
                if plane in self.absent:
                    continue
                self.absent.add(plane)
                self.clicks.pop(plane, None)
                self.found.pop(plane, None)
                return True
            self._click(plane, answer[plane])
            return True
        return False

    def take_back(self) -> None:
        """The model has seen nothing at clicks that began the object on a plane: forget them."""
        for plane in set(self.clicks) - set(self.found):
            self.clicks.pop(plane)

    def _click(self, plane: int, answer: Mask) -> None:
        click = next_click(answer, self.truth[plane])
        assert click is not None
        self.clicks.setdefault(plane, []).append(click)
        if answer.any():
            self.found[plane] = answer.copy()


def key_planes(annotations: Mapping[int, Annotation]) -> list[KeyPlane]:
    """All that was said, plane by plane."""
    planes = sorted({p for one in annotations.values() for p in (*one.clicks, *one.absent)})
    return [_key(plane, annotations) for plane in planes]


def _key(plane: int, annotations: Mapping[int, Annotation]) -> KeyPlane:
    labels: NDArray[np.int32] | None = None
    prompts, absent = {}, []
    for number, one in annotations.items():
        if plane in one.absent:
            absent.append(number)
        clicks = one.clicks.get(plane)
        if not clicks:
            continue
        prompts[number] = Prompts(
            points=[[(click.y, click.x) for click in clicks]],
            point_labels=[[int(click.positive) for click in clicks]],
        )
        if plane in one.found:
            if labels is None:
                labels = np.zeros(one.truth.shape[1:], np.int32)
            labels[one.found[plane] & (labels == 0)] = number
    shown = labels if labels is not None and labels.any() else None
    return KeyPlane(plane, shown, prompts, absent)
