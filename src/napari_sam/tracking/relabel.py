"""Relabelled: a series in which each object has the id of its track, made frame by frame.

Reads and answers like an array (t, [z,] y, x), so that napari, dask and writers take it; nothing
larger than what is asked for is in memory.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import TrackingError
from napari_sam.tracking.lineage import Lineage
from napari_sam.tracking.series import LabelSeries

__all__ = ["Relabelled"]


@dataclass(frozen=True, eq=False)
class Relabelled:
    """Labels of a series by track.

    Attributes
    ----------
    series
        The labels as they were given.
    lineage
        Of the same series.

    Raises
    ------
    TrackingError
        The lineage is of a series of another shape.
    """

    series: LabelSeries = field(repr=False)
    lineage: Lineage = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse two things that do not belong together."""
        if self.series.shape != self.lineage.shape:
            raise TrackingError(
                f"the labels have the shape {self.series.shape}, the lineage was made of"
                f" {self.lineage.shape}."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """(t, [z,] y, x)."""
        return self.series.shape

    @property
    def ndim(self) -> int:
        """How many axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest of uint16, uint32 and uint64 that holds all ids."""
        most = int(self.lineage.track.max(initial=0))
        return next(np.dtype(t) for t in ("u2", "u4", "u8") if most <= np.iinfo(t).max)

    def frame(self, time: int) -> NDArray[Any]:
        """Labels ([z,] y, x) of a frame.

        Raises
        ------
        TrackingError
            The labels have changed since the lineage was made.
        ImageError
            The frame cannot be read.
        """
        given = self.series.frame(time)
        labels, ids = self.lineage.ids_in(time)
        made = np.zeros(given.shape, self.dtype)
        there = given != 0
        values = given[there].astype(np.int64)
        place = np.searchsorted(labels, values)
        if (place == len(labels)).any() or (labels[place] != values).any():
            raise TrackingError(f"frame {time} has changed since it was tracked: track it again.")
        made[there] = ids[place]
        return made

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Part of it, by whole numbers and slices; only the frames that are asked for are read."""
        index = index if isinstance(index, tuple) else (index,)
        if Ellipsis in index:
            at = index.index(Ellipsis)
            index = (*index[:at], *(slice(None),) * (self.ndim + 1 - len(index)), *index[at + 1 :])
        times, inside = index[0], index[1:]
        chosen = np.arange(self.shape[0])[times]
        if chosen.ndim == 0:
            part: NDArray[Any] = self.frame(int(chosen))[inside]
            return part
        empty = np.zeros((0, *self.shape[1:]), self.dtype)[(slice(None), *inside)]
        frames = [self.frame(int(time))[inside] for time in chosen]
        return np.stack(frames) if frames else empty
