"""What a form or a flag may set about propagation. Torch-free, frozen."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

from napari_sam.core.params import changed
from napari_sam.errors import PromptError

__all__ = ["MODES", "Axis", "Mode", "PropagateParams"]

Axis = Literal["z", "t", "y", "x"]
Mode = Literal["box", "points", "box_points", "mask_points", "mask_box", "mask_box_points"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class PropagateParams:
    """How objects are carried from plane to plane, and where they end.

    Attributes
    ----------
    mode
        Which prompts the next plane gets from the last masks: the mask's logits, a box around it,
        points inside it (the deepest ones), or several of these.
    motion
        Prompts are moved and grown as the object moved and grew between the last two planes.
    first_plane, last_plane
        Bounds, both inclusive; None is the end of the stack.
    least_score
        An object ends where the predicted IoU falls below this, 0 to 1.
    most_area_change
        An object ends where its area grows or shrinks by more than this factor from a plane to
        the next (on isotropic steps; a coarser step is allowed more), at least 1.
    least_overlap
        An object ends where the IoU with its mask on the plane before falls below this, 0 to 1.
    least_contrast
        An object ends where it differs from what is around it by less than this share of what it
        does on its key plane, 0 to 1. Objects that differ by next to nothing there are not judged.
    stiffness
        How firmly an object keeps its outline from plane to plane, at least 0: logits for each
        plane's distance (or pixel, where that is more) from where the outline should be. A model
        that is quite sure has a logit of 4. Between key planes an object should go over from one
        shape to the other, towards a plane on which it is absent it should taper. Not used along
        t, where objects move.
    grey_weight
        How much the grey level of a pixel counts, at least 0, where an object stands out on a key
        plane: logits for a pixel as bright or dark as the object was.
    compete
        A pixel that several objects claim goes to the one that is surest of it. Without, objects
        are carried on as if they were alone, and on top lies the one with the better score.
    interpolate
        Planes between two key planes on which the model lost the object are filled from their
        neighbours by signed distance, and marked.
    spacing
        Voxel size (plane, row, column) as the stack is propagated; None takes the image's.

    Raises
    ------
    PromptError
        A value is out of its range.
    """

    mode: Mode = "mask_box_points"
    motion: bool = False
    first_plane: int | None = None
    last_plane: int | None = None
    least_score: float = 0.5
    most_area_change: float = 2.5
    least_overlap: float = 0.25
    least_contrast: float = 0.5
    stiffness: float = 2.0
    grey_weight: float = 2.0
    compete: bool = True
    interpolate: bool = True
    spacing: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse settings that cannot work, naming them."""
        if self.mode not in MODES:
            raise PromptError(f"mode is {self.mode!r}; known: {', '.join(MODES)}.")
        for name in ("least_score", "least_overlap", "least_contrast"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise PromptError(f"{name} is {value!r}; it must be 0 to 1.")
        if not (isfinite(self.most_area_change) and self.most_area_change >= 1):
            raise PromptError(
                f"most_area_change is {self.most_area_change!r}; it must be a factor from 1 on."
            )
        for name in ("stiffness", "grey_weight"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise PromptError(f"{name} is {value!r}; it must be a number from 0 on.")
        for name in ("first_plane", "last_plane"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise PromptError(f"{name} is {value!r}; planes are counted from 0.")
        if None not in (self.first_plane, self.last_plane) and (
            (self.first_plane or 0) > (self.last_plane or 0)
        ):
            raise PromptError(
                f"first_plane is {self.first_plane}, behind last_plane, {self.last_plane}."
            )
        if self.spacing is not None and not (
            len(self.spacing) == 3 and all(isfinite(s) and s > 0 for s in self.spacing)
        ):
            raise PromptError(
                f"spacing is {self.spacing!r}; three numbers above 0 (plane, row, column) are"
                " wanted."
            )

    def changed(self, **changes: object) -> "PropagateParams":
        """A copy with other values.

        Raises
        ------
        PromptError
            A name is unknown; the message lists the known ones.
        """
        return changed(self, changes)
