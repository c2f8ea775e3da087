"""KeyPlane: a plane of which somebody has said what is there. Knows labels, prompts; no model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam.core.prompts import Prompts
from napari_sam.errors import PromptError

__all__ = ["KeyPlane", "key_planes_of"]


@dataclass(frozen=True, init=False, eq=False)
class KeyPlane:
    """What is known of some objects on one plane; nothing is said of objects that it leaves out.

    Parameters
    ----------
    plane
        Its number along the axis of propagation, from 0.
    labels
        (rows, columns) label image: the mask of each object under its id, 0 is background.
    prompts
        For objects by id, a :class:`~napari_sam.Prompts` of one object, in pixels of the plane. An
        object that has a label, too, gets it as mask prompt: so a click corrects what was found.
    absent
        Ids of objects that are not on this plane: they end before it, on either side.

    Raises
    ------
    PromptError
        Nothing is said, an id is not a whole number from 1 on, an object is both there and absent,
        or prompts are not of one object.
    """

    plane: int
    labels: NDArray[Any] | None
    prompts: Mapping[int, Prompts]
    absent: frozenset[int]

    def __init__(
        self,
        plane: int,
        labels: ArrayLike | None = None,
        prompts: Mapping[int, Prompts] | None = None,
        absent: Iterable[int] = (),
    ) -> None:
        object.__setattr__(self, "plane", int(plane))
        object.__setattr__(self, "labels", None if labels is None else _labels(labels, plane))
        object.__setattr__(self, "prompts", dict(prompts or {}))
        object.__setattr__(self, "absent", frozenset(int(one) for one in absent))
        self._check()

    @property
    def ids(self) -> tuple[int, ...]:
        """The objects that it shows, in ascending order; not the absent ones."""
        drawn = [] if self.labels is None else np.unique(self.labels[self.labels > 0]).tolist()
        return tuple(sorted({*drawn, *self.prompts}))

    def _check(self) -> None:
        ids = self.ids
        if not ids and not self.absent:
            raise PromptError(
                f"key plane {self.plane} says nothing: give labels that are not all 0, prompts, or"
                " the ids of absent objects."
            )
        for one in (*self.prompts, *self.absent):
            if one < 1:
                raise PromptError(f"an object of key plane {self.plane} has id {one}; 1 is the"
                                  " least.")  # fmt: skip
        if both := self.absent & set(ids):
            raise PromptError(
                f"object {min(both)} is said to be on key plane {self.plane} and to be absent."
            )
        for one, prompts in self.prompts.items():
            if prompts.n_objects != 1:
                raise PromptError(
                    f"the prompts of object {one} on key plane {self.plane} are of"
                    f" {prompts.n_objects} objects; one is wanted."
                )


def key_planes_of(seeds: ArrayLike) -> tuple[KeyPlane, ...]:
    """The planes (axis 0) of a label volume that are not empty, as key planes.

    Raises
    ------
    PromptError
        It is no volume of labels, or all of it is 0.
    """
    volume = np.asanyarray(seeds)
    if volume.ndim != 3:
        raise PromptError(f"seeds have shape {volume.shape}; (planes, rows, columns) is wanted.")
    found = tuple(
        KeyPlane(number, plane) for number, plane in enumerate(volume) if np.asarray(plane).any()
    )
    if not found:
        raise PromptError("the seeds are empty: label an object on at least one plane.")
    return found


def _labels(labels: ArrayLike, plane: int) -> NDArray[Any]:
    array = np.array(labels)
    if array.ndim != 2 or array.dtype.kind not in "iub":
        raise PromptError(
            f"the labels of key plane {plane} have shape {array.shape} and dtype {array.dtype};"
            " (rows, columns) of whole numbers is wanted."
        )
    if array.dtype.kind == "i" and array.min(initial=0) < 0:
        raise PromptError(f"key plane {plane} has the label {array.min()}; ids are from 1 on.")
    return array.astype(np.uint8) if array.dtype.kind == "b" else array
