"""Lineage: which objects of all frames are one track, and which track comes from which.

Made of links between objects; knows numbers, no pixels. Links go forward in time only, so there
can be no circle.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import TrackingError
from napari_sam.tracking.objects import Objects

__all__ = ["Lineage", "Track"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Track:
    """One object through time.

    Attributes
    ----------
    id
        Its label in the result.
    begin, end
        First and last frame.
    parents
        Tracks that it comes from: none, the one that divided, or those that merged.
    """

    id: int
    begin: int
    end: int
    parents: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Lineage:
    """All tracks of a series, and what comes from what.

    Attributes
    ----------
    objects
        Of all frames.
    track
        (N,) id of the track of each object; 0: left out.
    graph
        ``{child: [parent]}``, as napari's Tracks layer takes it.
    shape
        (t, [z,] y, x).
    spacing
        Size of a voxel ([z,] y, x).
    """

    objects: Objects
    track: Numbers
    graph: Mapping[int, list[int]] = field(repr=False)
    shape: tuple[int, ...]
    spacing: tuple[float, ...]

    @classmethod
    def of_links(
        cls,
        objects: Objects,
        links: Numbers,
        branches: Numbers,
        *,
        shape: tuple[int, ...],
        spacing: tuple[float, ...],
    ) -> "Lineage":
        """Tracks along links, each with a new id at a branch.

        A track has the label of its first object; where an earlier track has it already, the next
        number above all labels. So the objects of the first frame keep theirs.

        Parameters
        ----------
        objects
            Of all frames.
        links
            (M, 2) rows of one object in an earlier and a later frame.
        branches
            (K, 2) rows of a parent and one of its children.
        shape, spacing
            As the attributes.

        Raises
        ------
        TrackingError
            An object is linked twice on one side, or a link does not go forward.
        """
        every = np.concatenate([links, branches])
        if (objects.frame[every[:, 0]] >= objects.frame[every[:, 1]]).any():
            raise TrackingError("a link does not lead to a later frame.")
        followed = np.concatenate([links[:, 0], np.unique(branches[:, 0])])
        if len(np.unique(followed)) < len(followed) or len(np.unique(links[:, 1])) < len(links):
            raise TrackingError("an object is linked to two objects of another frame.")
        track = _numbered(objects, links)
        graph: dict[int, list[int]] = {}
        for parent, child in track[branches].tolist():
            graph.setdefault(child, []).append(parent)
        return cls(objects, track, graph, shape, spacing)

    @property
    def tracks(self) -> tuple[Track, ...]:
        """All tracks, in the order of their ids."""
        kept = self.track > 0
        ids, inverse = np.unique(self.track[kept], return_inverse=True)
        frames = self.objects.frame[kept]
        begin, end = np.full(len(ids), self.shape[0]), np.full(len(ids), -1)
        np.minimum.at(begin, inverse, frames)
        np.maximum.at(end, inverse, frames)
        return tuple(
            Track(int(one), int(first), int(last), tuple(self.graph.get(int(one), ())))
            for one, first, last in zip(ids, begin, end, strict=True)
        )

    @property
    def divisions(self) -> dict[int, list[int]]:
        """Parent -> its children, where a track divides."""
        found: dict[int, list[int]] = {}
        for child, parents in self.graph.items():
            for parent in parents:
                found.setdefault(parent, []).append(child)
        return {parent: sorted(children) for parent, children in sorted(found.items())}

    def table(self) -> NDArray[np.float64]:
        """(N, 4 or 5) id, t, [z,] y, x in pixels, by id and time: the data of a Tracks layer."""
        rows = self.rows()
        columns = [self.track[rows, None], self.objects.frame[rows, None]]
        return np.concatenate([*columns, self.objects.centre[rows]], 1).astype(np.float64)

    def rows(self) -> Numbers:
        """Rows of the objects that are not left out, by id and time."""
        order = np.lexsort((self.objects.frame, self.track))
        return order[self.track[order] > 0]

    def tracks_layer(self, scale: tuple[float, ...] | None = None) -> dict[str, Any]:
        """Keywords of ``napari.layers.Tracks`` (``viewer.add_tracks(**...)``).

        Parameters
        ----------
        scale
            Of the labels' layer, (t, [z,] y, x); None takes 1 and the spacing.
        """
        rows = self.rows()
        features = {
            "size": self.objects.size[rows],
            "label": self.objects.label[rows],
        }
        return {
            "data": self.table(),
            "graph": {child: list(parents) for child, parents in self.graph.items()},
            "features": features,
            "scale": scale or (1.0, *self.spacing),
            "name": "tracks",
        }

    def ids_in(self, frame: int) -> tuple[Numbers, Numbers]:
        """Labels of a frame, ascending, and the id of each one's track."""
        rows = self.objects.rows(frame)
        order = np.argsort(self.objects.label[rows])
        return self.objects.label[rows][order], self.track[rows][order]

    def without_short(self, frames: int) -> "Lineage":
        """The same without tracks in fewer frames that neither come from nor become others."""
        ids, counts = np.unique(self.track, return_counts=True)
        related = np.array([*self.graph, *self.divisions], np.int64)
        short = ids[(counts < frames) & ~np.isin(ids, related)]
        return replace(self, track=np.where(np.isin(self.track, short), 0, self.track))


def _numbered(objects: Objects, links: Numbers) -> Numbers:
    """Ids of the tracks of all objects."""
    before = np.full(len(objects), -1)
    before[links[:, 1]] = links[:, 0]
    free = int(objects.label.max(initial=0)) + 1
    taken: set[int] = set()
    track = np.zeros(len(objects), np.int64)
    for row, previous in enumerate(before.tolist()):  # rows are in the order of time
        if previous >= 0:
            track[row] = track[previous]
            continue
        wanted = int(objects.label[row])
        if wanted in taken:
            wanted, free = free, free + 1
        taken.add(wanted)
        track[row] = wanted
    return track
