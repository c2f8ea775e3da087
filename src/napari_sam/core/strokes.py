"""Scribbles and outlines -> what a model takes: points, a box, mask logits. Knows no model.

The rules. A scribble becomes points on it: its middle first, then always the place that lies
farthest from those taken, until there are ``MOST_POINTS`` or none is farther than ``LEAST_STEP`` of
the image's longer side. In which order it was drawn does not matter. The model is asked twice, the
second time with its first answer as mask prompt. An outline (lasso, polygon,
ellipse) becomes the box around it, and a mask that is the object inside and not the object outside.
A label becomes the same; its box grows to all that is said to be on the object. Positions are
(y, x) pixels; whole numbers are pixel centres. The reasons, with numbers, are in ``dev/LOG.md``.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.draw import polygon2mask

from napari_sam.core.prompts import Prompts
from napari_sam.core.regions import Mask

if TYPE_CHECKING:
    from napari_sam.core.frame import Frame

__all__ = [
    "LEAST_STEP",
    "MASK_LOGIT",
    "MOST_POINTS",
    "Sketch",
    "along",
    "ellipse",
    "fed_back",
    "fill",
    "spread",
]

Positions = NDArray[np.float64]

MOST_POINTS = 24  # of a scribble
LEAST_STEP = 1 / 64  # of the image's longer side: nearer points say the same
MASK_LOGIT = 2.0  # how sure a drawn mask is, inside; outside it is the negative
CORNERS = 64  # of an ellipse


def along(path: ArrayLike, step: float = 1.0) -> Positions:
    """Positions (P, 2) on a path of (N, 2) corners, at most ``step`` pixels apart; N > 0."""
    corners = np.asarray(path, np.float64).reshape(-1, 2)
    pieces = [corners[:1]]
    for start, stop in pairwise(corners):
        count = max(1, int(np.ceil(np.linalg.norm(stop - start) / step)))
        pieces.append(start + (stop - start) * np.arange(1, count + 1)[:, None] / count)
    return np.concatenate(pieces)


def spread(
    positions: ArrayLike, *, most: int = MOST_POINTS, least_distance: float = 0.0
) -> Positions:
    """Some of these positions (P, 2), farthest first; P > 0.

    Parameters
    ----------
    positions
        Where a scribble lies; their order does not matter.
    most
        No more than so many.
    least_distance
        Each but the first is farther than this from all before it, pixels.

    Returns
    -------
    Positions
        (K, 2), the one nearest to the middle of all first.
    """
    places = np.unique(np.asarray(positions, np.float64).reshape(-1, 2), axis=0)
    chosen = [int(np.linalg.norm(places - places.mean(0), axis=1).argmin())]
    distance = np.linalg.norm(places - places[chosen[0]], axis=1)
    while len(chosen) < most:
        farthest = int(distance.argmax())
        if distance[farthest] <= least_distance:
            break
        chosen.append(farthest)
        distance = np.minimum(distance, np.linalg.norm(places - places[farthest], axis=1))
    return places[chosen]


def fed_back(prompts: Prompts, low_res_logits: NDArray[np.float32]) -> Prompts:
    """The same prompts with the masks (B, h, w) that they gave: scribbles are asked twice."""
    return Prompts(
        points=prompts.points,
        point_labels=prompts.point_labels,
        boxes=prompts.boxes,
        mask_logits=low_res_logits,
    )


def fill(corners: ArrayLike, size: tuple[int, int]) -> Mask:
    """The pixels (H, W) whose centres lie within a closed outline of (N, 2) corners."""
    inside = polygon2mask(size, np.asarray(corners, np.float64))
    return np.asarray(inside, bool)


def ellipse(corners: ArrayLike) -> Positions:
    """An outline (N, 2) of the ellipse in a box, of which the four corners (4, 2) are given."""
    first, second, _, last = np.asarray(corners, np.float64)
    middle = (second + last) / 2
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)[:, None]
    sides = (second - first) / 2, (last - first) / 2
    return np.asarray(middle + np.cos(angles) * sides[0] + np.sin(angles) * sides[1])


@dataclass(frozen=True, eq=False)
class Sketch:
    """A mask prompt before it is painted at a model's resolution; pixels of the image.

    Attributes
    ----------
    outline
        (N, 2) corners of a closed outline; or None, and then
    mask, offset
        pixels of an object and the first of them.
    """

    outline: Positions | None = None
    mask: Mask | None = None
    offset: tuple[int, int] = (0, 0)

    def moved(self, y: int, x: int) -> "Sketch":
        """The same prompt in pixels of a part of the image that begins at (y, x)."""
        if self.outline is not None:
            return Sketch(outline=self.outline - np.array((y, x)))
        return Sketch(mask=self.mask, offset=(self.offset[0] - y, self.offset[1] - x))

    def corners(self) -> Positions:
        """(2, 2) first and last position (y, x) that it has."""
        if self.outline is not None:
            return np.array([self.outline.min(0), self.outline.max(0)])
        assert self.mask is not None
        first = np.array(self.offset, float)
        return np.array([first, first + np.array(self.mask.shape) - 1])

    def logits(self, frame: "Frame") -> NDArray[np.float32]:
        """Low-res logits (h, w) of a frame: :data:`MASK_LOGIT` on the object, else its negative."""
        cells = np.array(frame.scale) / frame.mask_stride  # a pixel
        if self.outline is not None:
            inside = fill((self.outline + 0.5) * cells - 0.5, frame.low_res)
        else:
            inside = self._sampled(cells, frame.low_res)
        return np.where(inside, MASK_LOGIT, -MASK_LOGIT).astype(np.float32)

    def _sampled(self, cells: Positions, size: tuple[int, int]) -> Mask:
        """What the mask is at the middle of each cell."""
        assert self.mask is not None
        at, on = [], []
        for axis in (0, 1):
            middles = (np.arange(size[axis]) + 0.5) / cells[axis] - 0.5
            places = np.floor(middles + 0.5).astype(int) - self.offset[axis]
            on.append((places >= 0) & (places < self.mask.shape[axis]))
            at.append(np.clip(places, 0, self.mask.shape[axis] - 1))
        return np.asarray(self.mask[np.ix_(*at)] & np.logical_and.outer(*on), bool)
