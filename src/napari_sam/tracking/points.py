"""Objects as points of a table, for formats without pixels; and a lineage of such a table again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import TrackingError
from napari_sam.tracking.lineage import Lineage
from napari_sam.tracking.objects import Objects

__all__ = ["Points", "lineage_of"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Points:
    """Points in time that are joined by edges.

    Attributes
    ----------
    name
        (N,) a number for each, any but twice the same.
    frame
        (N,) from 0.
    centre
        (N, 2 or 3) position ([z,] y, x) in pixels.
    label
        (N,) number of the track, or what is known instead.
    size
        (N,) pixels; 0 where unknown.
    edges
        (M, 2) names of an earlier and a later point.
    """

    name: Numbers
    frame: Numbers
    centre: NDArray[np.float64]
    label: Numbers
    size: Numbers
    edges: Numbers

    @classmethod
    def of(cls, lineage: Lineage) -> "Points":
        """The objects of a lineage that are not left out, by track and time, named from 0."""
        rows, objects = lineage.rows(), lineage.objects
        place = np.zeros(len(objects), np.int64)
        place[rows] = np.arange(len(rows))
        return cls(
            np.arange(len(rows)), objects.frame[rows], objects.centre[rows], lineage.track[rows],
            objects.size[rows], place[lineage.edges()],
        )  # fmt: skip


def lineage_of(
    points: Points, *, spacing: Sequence[float], shape: tuple[int, ...] | None = None
) -> Lineage:
    """Tracks along edges that do not branch.

    Parameters
    ----------
    points
        From a file.
    spacing
        Size of a voxel ([z,] y, x).
    shape
        (t, [z,] y, x); None takes what holds all points.

    Raises
    ------
    TrackingError
        An edge names a point that is not there, or does not lead forward in time.
    """
    order = np.lexsort((np.arange(len(points.frame)), points.frame))
    place = {int(name): row for row, name in enumerate(points.name[order])}
    try:
        edges = np.array([[place[int(a)], place[int(b)]] for a, b in points.edges], np.int64)
    except KeyError as error:
        raise TrackingError(f"an edge names the point {error}, which is not there.") from None
    edges = edges.reshape(-1, 2)
    frame, centre = points.frame[order], points.centre[order]
    ends = np.ceil(centre.max(0, initial=0)).astype(np.int64) + 1
    shape = shape or (int(frame.max(initial=-1)) + 1, *ends.tolist())
    starts = np.searchsorted(frame, np.arange(shape[0] + 1))
    border = np.zeros(len(frame), bool)  # without pixels nobody knows
    objects = Objects(frame, points.label[order], centre, points.size[order], border, starts)
    out, into = (np.bincount(edges[:, side], minlength=len(frame)) for side in (0, 1))
    plain = (out[edges[:, 0]] == 1) & (into[edges[:, 1]] == 1)
    steps = tuple(float(step) for step in spacing)
    return Lineage.of_links(objects, edges[plain], edges[~plain], shape=shape, spacing=steps)
