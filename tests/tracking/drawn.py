"""Drawn time-lapses whose lineage is known."""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint16]


def disc(frame: Labels, centre: tuple[float, ...], radius: float, label: int) -> None:
    """Draw a disc (or ball) over what is there."""
    grid = np.indices(frame.shape)
    apart = sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True))
    frame[apart <= radius**2] = label


def division(depth: int = 0) -> Labels:
    """(6, [z,] 40, 60): 1 moves; 2 divides into 3 and 4 at frame 3; 5 leaves; 6 comes at frame 2.

    ``depth``: planes of a stack, 0 for none.
    """
    middle = (depth // 2,) if depth else ()
    shape = (6, *((depth,) if depth else ()), 40, 60)
    labels = np.zeros(shape, np.uint16)
    for t, frame in enumerate(labels):
        disc(frame, (*middle, 8, 10 + 2 * t), 4, 1)
        if t < 3:
            disc(frame, (*middle, 24, 30), 6, 2)
        else:
            shift = t - 3
            disc(frame, (*middle, 20.5 - shift, 30), 3.5, 3)
            disc(frame, (*middle, 28.5 + shift, 30), 3.5, 4)
        if t < 4:
            disc(frame, (*middle, 20, 55 + t), 3, 5)
        if t >= 2:
            disc(frame, (*middle, 33, 8), 4, 6)
    return labels


def shuffled(labels: Labels, seed: int, first: int = 0) -> Labels:
    """The same with other numbers in each frame from ``first`` on."""
    random = np.random.default_rng(seed)
    made = labels.copy()
    for frame in made[first:]:
        names = np.unique(frame[frame > 0])
        table = np.zeros(int(frame.max(initial=0)) + 1, np.uint16)
        table[names] = random.permutation(len(names)) + 1
        frame[...] = table[frame]
    return made
