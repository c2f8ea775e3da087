"""An annotated object as a record: its number, size, prompts, and whether a person has seen it.

Knows no arrays of labels and no window. A :class:`Filter` picks the records that want a look.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from napari_sam._covered import Covered
from napari_sam._label_edit import Region, enclosing
from napari_sam._prompt_set import NO_PROMPTS, PromptSet

Wanted = Literal["all", "unreviewed", "small", "low score", "at the border"]


@dataclass(frozen=True)
class ObjectRecord:
    """One object of the labels.

    Attributes
    ----------
    number
        Its label.
    area
        Pixels that are seen; 0: it lies wholly beneath others.
    region
        Their bounding box, (start, stop) along each axis of the labels; of a hidden object that of
        its covered pixels.
    axes
        The two axes of the plane in which it was made.
    score
        IoU that the model expected; None where no model drew it.
    kind
        Class, for semantic work; empty: none.
    reviewed
        Whether a person has accepted it.
    prompts, candidate
        What it was made of: these prompts, and which of the masks. Empty for what a brush drew.
    model
        Name of the model; empty where none drew it.
    covered
        Its pixels on which others lie, where overlaps are kept.
    """

    number: int
    area: int
    region: tuple[tuple[int, int], ...]
    axes: tuple[int, int]
    score: float | None = None
    kind: str = ""
    reviewed: bool = False
    prompts: PromptSet = NO_PROMPTS
    candidate: int = 0
    model: str = ""
    covered: Covered | None = None

    @property
    def slices(self) -> Region:
        """The bounding box as slices."""
        return tuple(slice(start, stop) for start, stop in self.region)

    @property
    def whole(self) -> Region:
        """The bounding box with what lies beneath others."""
        return (
            self.slices if self.covered is None else enclosing((self.slices, self.covered.region))
        )

    @property
    def middle(self) -> tuple[float, ...]:
        """The middle of the bounding box, in pixels."""
        return tuple((start + stop - 1) / 2 for start, stop in self.region)

    def touches_border(self, shape: tuple[int, ...]) -> bool:
        """Whether it touches the border of its plane."""
        return any(
            self.region[axis][0] == 0 or self.region[axis][1] == shape[axis] for axis in self.axes
        )

    def changed(self, **changes: object) -> "ObjectRecord":
        """A copy with other values."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Filter:
    """Which objects are listed.

    Attributes
    ----------
    wanted
        What they have in common.
    least_area
        Below it an object is small, pixels.
    least_score
        Below it a score is low. What has no score is not low.
    """

    wanted: Wanted = "all"
    least_area: int = 50
    least_score: float = 0.7

    def __post_init__(self) -> None:
        if self.wanted not in get_args(Wanted):
            raise ValueError(f"wanted is {self.wanted!r}; it must be of {get_args(Wanted)}.")

    def pick(
        self, records: Iterable[ObjectRecord], shape: tuple[int, ...]
    ) -> tuple[ObjectRecord, ...]:
        """Those that pass, by number."""
        passing = (record for record in records if self._passes(record, shape))
        return tuple(sorted(passing, key=lambda record: record.number))

    def _passes(self, record: ObjectRecord, shape: tuple[int, ...]) -> bool:
        match self.wanted:
            case "unreviewed":
                return not record.reviewed
            case "small":
                return record.area < self.least_area
            case "low score":
                return record.score is not None and record.score < self.least_score
            case "at the border":
                return record.touches_border(shape)
        return True
