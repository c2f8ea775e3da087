"""Labels with what is known of their objects: the value that every format writes and reads.

Knows arrays; knows no files, no session and no layers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam._covered import Covered, both
from napari_sam._label_edit import distinct, enclosing
from napari_sam.core.outlines import Outline
from napari_sam.core.regions import tight_region
from napari_sam.errors import ImageError

AXES = "ctzyx"


@dataclass(frozen=True)
class Facts:
    """What a file can say of an object beside its pixels.

    Attributes
    ----------
    kind
        Class; empty: none.
    score
        IoU that the model expected; None: no model drew it.
    reviewed
        Whether a person has accepted it.
    """

    kind: str = ""
    score: float | None = None
    reviewed: bool = False


@dataclass(frozen=True, eq=False)
class ObjectSet:
    """Labels and their objects.

    Attributes
    ----------
    labels
        Unsigned integers with all axes of the image, y and x last; 0 is background. Where objects
        overlap, the one on top.
    facts
        Of the objects; a label that is not in it is an object of which nothing is known.
    covered
        Of objects on which others lie: these pixels.
    kinds
        Class -> colour ``#rrggbb``, empty: none was chosen.
    axes
        A letter of ``ctzyx`` for each axis.
    scale
        Step along each axis, in ``unit`` (OME's name; empty: pixels).
    image
        File name of the image.
    provenance
        How they were made, as JSON values.
    notes
        What was left out, for the user.
    """

    labels: NDArray[Any]
    facts: Mapping[int, Facts] = field(default_factory=dict)
    covered: Mapping[int, Covered] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    axes: str = ""
    scale: tuple[float, ...] = ()
    unit: str = ""
    image: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""

    def __post_init__(self) -> None:
        ndim = self.labels.ndim
        object.__setattr__(self, "axes", self.axes or axes_of(ndim))
        object.__setattr__(self, "scale", self.scale or (1.0,) * ndim)

    @property
    def numbers(self) -> list[int]:
        """Labels of all objects, ascending."""
        found = {int(n) for n in np.unique(self.labels)} | set(self.covered)
        return sorted(found - {0})

    def outlines(self) -> Iterator[Outline]:
        """All objects, plane by plane, whole where others lie on them."""
        for plane in product(*map(range, self.labels.shape[:-2])):
            values = self.labels[plane]
            names, ranks = distinct(values.ravel())
            places = ndimage.find_objects(ranks.reshape(values.shape) + 1)
            here = dict(zip(map(int, names), places, strict=True))
            for number in sorted({*here, *self._covered_on(plane)} - {0}):
                outline = self._outline(number, plane, here.get(number))
                if outline is not None:
                    yield outline

    def _covered_on(self, plane: tuple[int, ...]) -> list[int]:
        return [
            number
            for number, one in self.covered.items()
            if all(s.start <= i < s.stop for s, i in zip(one.region, plane, strict=False))
        ]

    def _outline(
        self, number: int, plane: tuple[int, ...], place: tuple[slice, ...] | None
    ) -> Outline | None:
        hidden, values = self.covered.get(number), self.labels[plane]
        if hidden is None:
            assert place is not None
            mask = values[place] == number
        else:
            beneath = hidden.region[-2:]
            place = beneath if place is None else enclosing((place, beneath))
            below = hidden.on((*(slice(i, i + 1) for i in plane), *place))[(0,) * len(plane)]
            mask = (values[place] == number) | (below & (values[place] != 0))
        region = tight_region(mask)
        if not mask.any():
            return None
        offset = (place[0].start + region[0].start, place[1].start + region[1].start)
        facts = self.facts.get(number, Facts())
        colour = self.kinds.get(facts.kind, "")
        return Outline(
            mask[region], offset, number, plane, facts.kind, colour, facts.score, facts.reviewed
        )


def axes_of(ndim: int) -> str:
    """Letters for an image whose axes have no names.

    Raises
    ------
    ImageError
        More axes than there are letters.
    """
    if not 2 <= ndim <= len(AXES):
        raise ImageError(f"labels have 2 to {len(AXES)} axes; these have {ndim}.")
    return AXES[-ndim:]


def paint(outlines: Sequence[Outline], shape: tuple[int, ...], **others: Any) -> ObjectSet:
    """An object set of outlines: an earlier one stays on top, what is beneath is kept as covered.

    Outlines without a number get the next that is free. ``others`` are attributes of the set.
    """
    labels = np.zeros(shape, np.uint32)
    facts: dict[int, Facts] = {}
    covered: dict[int, Covered] = {}
    free = max((one.number for one in outlines), default=0) + 1
    for one in outlines:
        number = one.number or free
        free += number == free
        facts[number] = Facts(one.kind, one.score, one.reviewed)
        part = labels[one.plane][one.region]
        hidden = one.mask & (part != 0) & (part != number)
        part[one.mask & (part == 0)] = number
        start = (*one.plane, *one.offset)
        mask = hidden.reshape((1,) * len(one.plane) + hidden.shape)
        below = both(covered.get(number), Covered.of(mask, start))
        if below is not None:
            covered[number] = below
    return ObjectSet(labels, facts, covered, **others)
