"""Prompts of a whole image, any number of axes, as values. Knows no layers, no plane, no model."""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Position = tuple[float, ...]
OutlineKind = Literal["polygon", "ellipse"]


@dataclass(frozen=True)
class PointPrompt:
    """A point in pixels of the image, all axes; positive: on the object, else beside it."""

    position: Position
    positive: bool = True


@dataclass(frozen=True)
class BoxPrompt:
    """Two opposite corners in pixels of the image, all axes, ``low <= high``."""

    low: Position
    high: Position


@dataclass(frozen=True)
class StrokePrompt:
    """A scribble: a path in pixels of the image, all axes; positive: on the object."""

    path: tuple[Position, ...]
    positive: bool = True


@dataclass(frozen=True)
class OutlinePrompt:
    """Around an object: the corners of a polygon, or the four of the box of an ellipse."""

    corners: tuple[Position, ...]
    kind: OutlineKind = "polygon"


@dataclass(frozen=True)
class MaskPrompt:
    """A shape to begin with, as a label had it: a bounding box in all axes, and its pixels.

    Attributes
    ----------
    offset, shape
        The bounding box, in pixels of the image.
    bits
        A bit for each of its pixels in C order, packed, deflated.
    """

    offset: tuple[int, ...]
    shape: tuple[int, ...]
    bits: bytes

    @classmethod
    def of(cls, mask: NDArray[np.bool_], offset: Iterable[int]) -> "MaskPrompt":
        """What a mask with these axes says; ``offset``: its first pixel."""
        return cls(
            tuple(int(n) for n in offset), mask.shape, zlib.compress(np.packbits(mask).tobytes(), 1)
        )

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Its pixels."""
        packed = np.frombuffer(zlib.decompress(self.bits), np.uint8)
        size = int(np.prod(self.shape))
        return np.unpackbits(packed, count=size).astype(bool).reshape(self.shape)


@dataclass(frozen=True)
class PromptSet:
    """All prompts that the user has made and not yet committed."""

    points: tuple[PointPrompt, ...] = ()
    boxes: tuple[BoxPrompt, ...] = ()
    strokes: tuple[StrokePrompt, ...] = ()
    outlines: tuple[OutlinePrompt, ...] = ()
    mask: MaskPrompt | None = None

    def __bool__(self) -> bool:
        drawn = (self.points, self.boxes, self.strokes, self.outlines)
        return any(drawn) or self.mask is not None


NO_PROMPTS = PromptSet()


def prompts_to_json(prompts: PromptSet) -> dict[str, Any]:
    """Prompts as JSON values; kinds of which there are none are left out, but points and boxes."""
    value: dict[str, Any] = {
        "points": [[list(one.position), one.positive] for one in prompts.points],
        "boxes": [[list(one.low), list(one.high)] for one in prompts.boxes],
    }
    if prompts.strokes:
        value["strokes"] = [[_lists(one.path), one.positive] for one in prompts.strokes]
    if prompts.outlines:
        value["outlines"] = [[_lists(one.corners), one.kind] for one in prompts.outlines]
    if prompts.mask is not None:
        mask = prompts.mask
        value["mask"] = [list(mask.offset), list(mask.shape), mask.bits.hex()]
    return value


def prompts_from_json(value: Mapping[str, Any]) -> PromptSet:
    """What :func:`prompts_to_json` gave."""
    begin = value.get("mask")
    mask = None
    if begin is not None:
        mask = MaskPrompt(tuple(begin[0]), tuple(begin[1]), bytes.fromhex(begin[2]))
    return PromptSet(
        tuple(PointPrompt(tuple(at), positive) for at, positive in value["points"]),
        tuple(BoxPrompt(tuple(low), tuple(high)) for low, high in value["boxes"]),
        tuple(StrokePrompt(_tuples(at), positive) for at, positive in value.get("strokes", [])),
        tuple(OutlinePrompt(_tuples(at), kind) for at, kind in value.get("outlines", [])),
        mask,
    )


def _lists(positions: Iterable[Position]) -> list[list[float]]:
    return [list(position) for position in positions]


def _tuples(positions: Iterable[Iterable[float]]) -> tuple[Position, ...]:
    return tuple(tuple(position) for position in positions)
