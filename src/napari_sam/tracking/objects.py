"""Objects of all frames as a table: frame, label, centre, size. Plain functions on arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Objects", "describe_frame"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Objects:
    """What is known of objects; a row each, frame after frame.

    Within a frame in the order of their first pixels, so that nothing depends on the numbers.

    Attributes
    ----------
    frame
        (N,) ascending.
    label
        (N,) number of the object in its frame, as it was given.
    centre
        (N, 2 or 3) mean position ([z,] y, x) in pixels.
    size
        (N,) pixels or voxels.
    border
        (N,) whether it touches an end of y or x (or of z, where there are several planes).
    starts
        (frames + 1,) rows ``starts[t]`` to ``starts[t + 1]`` are those of frame t.
    """

    frame: Numbers
    label: Numbers
    centre: NDArray[np.float64]
    size: Numbers
    border: NDArray[np.bool_]
    starts: Numbers

    @classmethod
    def of_frames(cls, parts: "list[Objects]") -> "Objects":
        """Those of all frames, of which each is a table of its own."""
        starts = np.cumsum([0, *(len(part) for part in parts)])
        frame = np.repeat(np.arange(len(parts)), np.diff(starts))
        label, centre, size, border = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("label", "centre", "size", "border")
        )
        return cls(frame, label, centre, size, border, starts)

    def __len__(self) -> int:
        """How many there are, in all frames."""
        return len(self.label)

    @property
    def frames(self) -> int:
        """How many frames there are, also those without objects."""
        return len(self.starts) - 1

    def rows(self, frame: int) -> slice:
        """The rows of a frame."""
        return slice(int(self.starts[frame]), int(self.starts[frame + 1]))

    def row(self, frame: int, label: int) -> int | None:
        """The row of an object; None if the frame has no such label."""
        if not 0 <= frame < self.frames:
            return None
        found = np.flatnonzero(self.label[self.rows(frame)] == label)
        return int(self.starts[frame] + found[0]) if len(found) else None

    def diameter(self, row: int, spacing: tuple[float, ...]) -> float:
        """Of the disc or ball as large as the object, in units of the spacing."""
        volume = float(self.size[row]) * float(np.prod(spacing))
        if len(spacing) == 2:
            return float(2 * (volume / np.pi) ** (1 / 2))
        return float(2 * (3 * volume / (4 * np.pi)) ** (1 / 3))


def describe_frame(labels: NDArray[Any]) -> tuple[Objects, NDArray[np.int32]]:
    """The objects of one frame, and where they are.

    Parameters
    ----------
    labels
        ([z,] y, x), 0 is background.

    Returns
    -------
    objects : Objects
        Of this frame alone.
    places : numpy.ndarray
        Shape of ``labels``: 1 + row of the object, 0 background.
    """
    where = np.flatnonzero(labels)
    found, first, ranks = np.unique(labels.ravel()[where], return_index=True, return_inverse=True)
    order = np.argsort(first)
    row = np.empty(len(found), np.int64)
    row[order] = np.arange(len(found))
    rows = row[ranks]
    places = np.zeros(labels.shape, np.int32)
    places.ravel()[where] = rows + 1
    size = np.bincount(rows, minlength=len(found))
    sums = [
        np.bincount(rows, axis, minlength=len(found))
        for axis in np.unravel_index(where, labels.shape)
    ]
    centre = np.stack(sums, 1) / np.maximum(size, 1)[:, None]
    border = np.zeros(len(found), bool)
    border[_at_the_border(places)] = True
    starts = np.array([0, len(found)])
    frame = np.zeros(len(found), np.int64)
    named = found[order].astype(np.int64)
    return Objects(frame, named, centre, size, border, starts), places


def _at_the_border(places: NDArray[np.int32]) -> Numbers:
    """Rows of the objects on the outermost pixels."""
    sides = [
        np.take(places, end, axis)
        for axis in range(places.ndim)
        if places.shape[axis] > 1
        for end in (0, -1)
    ]
    met = np.unique(np.concatenate([side.ravel() for side in sides])) if sides else np.zeros(0)
    return np.asarray(met[met > 0] - 1, np.int64)
