"""Drawn time-lapses with a known lineage: discs that wander, grow, divide and leave."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["Drawn", "draw_cells"]

_RADIUS = 7.0
_SIDE = 256
_EVERY = 12  # frames from one division to the next, in the mean


@dataclass(frozen=True, eq=False)
class Drawn:
    """A time-lapse and the truth.

    Attributes
    ----------
    labels
        (t, y, x) by track.
    graph
        Child -> its parent, of tracks that can be seen.
    """

    labels: NDArray[np.uint16]
    graph: dict[int, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Cell:
    number: int
    y: float
    x: float
    radius: float
    parent: int = 0


def draw_cells(step: float, *, cells: int = 40, frames: int = 16, seed: int = 0) -> Drawn:
    """Draw cells that go some way in each frame.

    Parameters
    ----------
    step
        Standard deviation of a cell's way from frame to frame along each axis, in diameters of a
        grown cell.
    cells
        At the beginning.
    frames
        How many.
    seed
        Of all that is random.
    """
    random = np.random.default_rng(seed)
    places = random.uniform(_RADIUS, _SIDE - _RADIUS, (cells, 2))
    alive = [_Cell(i + 1, y, x, _RADIUS) for i, (y, x) in enumerate(places.tolist())]
    labels = np.zeros((frames, _SIDE, _SIDE), np.uint16)
    parents: dict[int, int] = {}
    newest = cells
    for frame in labels:
        for cell in alive:
            _draw(frame, cell)
            if cell.parent:
                parents[cell.number] = cell.parent
        after: list[_Cell] = []
        for cell in alive:
            if cell.radius >= _RADIUS and random.random() < 1 / _EVERY:
                after += _halves(cell, newest, random)
                newest += 2
            else:
                y, x = random.normal((cell.y, cell.x), step * 2 * _RADIUS)
                grown = min(_RADIUS, cell.radius * 1.1)
                after.append(replace(cell, y=float(y), x=float(x), radius=grown))
        alive = [cell for cell in after if 0 <= cell.y < _SIDE and 0 <= cell.x < _SIDE]
    return Drawn(labels, _seen(labels, parents))


def _halves(cell: _Cell, newest: int, random: np.random.Generator) -> list[_Cell]:
    """Two cells of half the area, side by side where the one was."""
    angle = random.uniform(0, np.pi)
    radius = cell.radius / np.sqrt(2)
    dy, dx = radius * np.sin(angle), radius * np.cos(angle)
    return [
        _Cell(newest + i, cell.y + sign * dy, cell.x + sign * dx, radius, cell.number)
        for i, sign in ((1, -1), (2, 1))
    ]


def _draw(frame: NDArray[np.uint16], cell: _Cell) -> None:
    """Over nothing that is there already: who comes first is in front."""
    y, x = np.ogrid[: frame.shape[0], : frame.shape[1]]
    inside = (y - cell.y) ** 2 + (x - cell.x) ** 2 <= cell.radius**2
    frame[inside & (frame == 0)] = cell.number


def _seen(labels: NDArray[np.uint16], parents: dict[int, int]) -> dict[int, list[int]]:
    """Only where the parent is seen in the frame before the first one of its children."""
    present = [set(np.unique(frame).tolist()) for frame in labels]
    first = {n: t for t in reversed(range(len(labels))) for n in present[t]}
    return {
        child: [parent]
        for child, parent in parents.items()
        if child in first and first[child] and parent in present[first[child] - 1]
    }
