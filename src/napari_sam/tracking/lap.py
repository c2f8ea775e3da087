"""Objects linked by distance, all of a series at once, by LapTrack. Needs the extra ``[tracking]``.

LapTrack (Fukai & Kawaguchi 2023) solves the linear assignment problem of Jaqaman et al. (2008), as
TrackMate does: frame to frame, then ends to beginnings across gaps and to divisions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import TrackingError, missing_extra
from napari_sam.tracking.endings import with_events
from napari_sam.tracking.events import Division
from napari_sam.tracking.proposal import Proposal
from napari_sam.tracking.scan import Scan

__all__ = ["LapParams", "link_by_laptrack", "require", "usual_distance"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class LapParams:
    """How far objects go.

    Attributes
    ----------
    max_distance
        Of centres between two frames, across a gap, and of a child from its parent, in units of
        the spacing. None takes the median diameter of all objects.

    Raises
    ------
    TrackingError
        It is not above 0.
    """

    max_distance: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.max_distance is not None and not self.max_distance > 0:
            raise TrackingError(f"max_distance is {self.max_distance!r}; it must be above 0.")


def link_by_laptrack(scan: Scan, params: LapParams | None = None) -> Proposal:
    """Link objects so that the sum of squared distances is smallest; propose divisions.

    Parameters
    ----------
    scan
        The objects; their pixels play no part, nor do overlaps.
    params
        How far objects go; None takes the defaults.

    Raises
    ------
    MissingExtraError
        LapTrack is not installed.
    """
    laptrack = require()
    objects = scan.objects
    if not len(objects):
        return with_events(scan, np.zeros((0, 2), np.int64), ())
    reach = (params or LapParams()).max_distance or usual_distance(scan)
    positions = objects.centre * scan.spacing
    frames = [positions[objects.rows(time)] for time in range(objects.frames)]
    tracker = laptrack.LapTrack(
        cutoff=reach**2,
        gap_closing_cutoff=reach**2,
        gap_closing_max_frame_count=scan.gap + 1,
        splitting_cutoff=reach**2,
    )
    links, divisions = [], []
    for parent, children in _followers(tracker.predict(frames), objects.starts):
        apart = np.linalg.norm(positions[children] - positions[parent], axis=1)
        order = np.argsort(apart)
        links.append((parent, children[order[0]]))
        if len(children) > 1:
            evidence = max(0.0, 1 - float(apart.max()) / reach)
            labels = tuple(int(objects.label[children[i]]) for i in order)
            time = int(objects.frame[children[0]])
            divisions.append(Division(int(objects.label[parent]), labels, time, evidence))
    return with_events(scan, np.array(links, np.int64).reshape(-1, 2), tuple(divisions))


def usual_distance(scan: Scan) -> float:
    """The median diameter of all objects, in units of the spacing."""
    rows = range(len(scan.objects))
    return float(np.median([scan.objects.diameter(row, scan.spacing) for row in rows]))


def _followers(tree: Any, starts: Numbers) -> "list[tuple[int, list[int]]]":
    """Rows of objects, each with the rows of those that come after it; at a division in one frame.

    Where LapTrack joins a division with a gap, the later one is the start of a track of its own.
    """
    found = []
    for frame, index in tree.nodes():
        after = sorted((int(t), int(i)) for t, i in tree.successors((frame, index)))
        rows = [int(starts[t]) + i for t, i in after if t == after[0][0]]
        if rows:
            found.append((int(starts[frame]) + int(index), rows))
    return sorted(found)


def require() -> Any:
    """The package ``laptrack``.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        import laptrack
    except ImportError as error:
        raise missing_extra("Tracking by distance", "laptrack", "tracking") from error
    return laptrack
