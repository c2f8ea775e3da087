"""What may happen to an object between two frames, as it is proposed. Plain values.

Objects are named by the labels that they have in their frames, before anything is renumbered: so a
proposal means the same whatever has been decided of the others.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Appearance", "Cause", "Disappearance", "Division", "Event"]

Cause = Literal["border", "merged", "lost"]
"""Why an object may have ended: it was at the border, another one covers it, or nobody knows."""


@dataclass(frozen=True)
class Division:
    """One object becomes several.

    Attributes
    ----------
    parent
        Its label in the frame before.
    children
        Their labels in ``frame``, the one first that goes on as the parent if this is refused.
    frame
        First frame of the children.
    evidence
        0 to 1. By overlap: the share of the children that lies where the parent was, times how
        alike their sizes are (1: equal). By distance: 1 where they are at the parent's centre, 0
        as far away as is allowed.
    """

    parent: int
    children: tuple[int, ...]
    frame: int
    evidence: float


@dataclass(frozen=True)
class Disappearance:
    """An object is not found again.

    Attributes
    ----------
    label
        Of the object in ``frame``.
    frame
        The last one with the object.
    cause
        What it looks like.
    evidence
        0 to 1: 1 where nothing could be its continuation; else how little ``instead`` is like it.
    instead
        (frame, label) of an object without a past that would go on as this one if the
        disappearance is refused; None where there is none.
    """

    label: int
    frame: int
    cause: Cause
    evidence: float
    instead: tuple[int, int] | None = None


@dataclass(frozen=True)
class Appearance:
    """An object without a past, after the first frame.

    Attributes
    ----------
    label
        Of the object in ``frame``.
    frame
        The first one with the object.
    border
        Whether it touches the border, so that it may have come in.
    """

    label: int
    frame: int
    border: bool


Event = Division | Disappearance | Appearance
