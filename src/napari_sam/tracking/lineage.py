"""Lineage: which objects of all frames are one track, and which track comes from which.

Made of links between objects; knows numbers, no pixels. Links go forward in time only, so there
can be no circle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import TrackingError
from napari_sam.tracking.objects import Objects
from napari_sam.volume.unions import components

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

    @classmethod
    def of_tracks(
        cls,
        objects: Objects,
        track: Numbers,
        graph: Mapping[int, Sequence[int]],
        *,
        shape: tuple[int, ...],
        spacing: tuple[float, ...],
    ) -> "Lineage":
        """Tracks that are known already, as a file names them.

        Parameters
        ----------
        objects
            Of all frames.
        track
            (N,) id of the track of each.
        graph
            Child -> its parents.
        shape, spacing
            As the attributes.

        Raises
        ------
        TrackingError
            A track is twice in one frame, the graph names one that is not there, or a parent does
            not end before its child begins.
        """
        made = cls(objects, track, {c: list(p) for c, p in graph.items() if p}, shape, spacing)
        rows = made.rows()
        twice = (np.diff(track[rows]) == 0) & (np.diff(objects.frame[rows]) == 0)
        if twice.any():
            row = rows[1:][twice][0]
            raise TrackingError(
                f"track {track[row]} has two objects in frame {objects.frame[row]}; one is allowed."
            )
        known = {one.id: one for one in made.tracks}
        for child, parents in made.graph.items():
            for parent in parents:
                _check_order(known.get(parent), known.get(child), parent, child)
        return made

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

    def edges(self) -> Numbers:
        """(M, 2) rows of objects that follow each other: along tracks, then from parents."""
        rows = self.rows()
        same = np.diff(self.track[rows]) == 0
        along = np.stack([rows[:-1][same], rows[1:][same]], 1)
        last = dict(zip(self.track[rows].tolist(), rows.tolist(), strict=True))
        first = dict(zip(self.track[rows[::-1]].tolist(), rows[::-1].tolist(), strict=True))
        across = [
            (last[parent], first[child])
            for child, parents in sorted(self.graph.items())
            for parent in parents
        ]
        return np.concatenate([along, np.array(across, np.int64).reshape(-1, 2)])

    def trees(self) -> dict[int, int]:
        """Id of each track -> number of its family, from 0: all that have an ancestor in common."""
        ids = [one.id for one in self.tracks]
        place = {one: index for index, one in enumerate(ids)}
        pairs = [(place[c], place[p]) for c, parents in self.graph.items() for p in parents]
        joined = np.array(pairs, np.int64).reshape(-1, 2)
        groups = components(len(ids), joined[:, 0], joined[:, 1])
        numbers: dict[int, int] = {}
        return {
            one: numbers.setdefault(int(group), len(numbers))
            for one, group in zip(ids, groups, strict=True)
        }

    def without_gaps(self) -> "Lineage":
        """The same with a new track after each gap, child of the one before it.

        For formats in which a track is in all of its frames.
        """
        rows = self.rows()
        track, graph = self.track.copy(), {c: list(p) for c, p in self.graph.items()}
        free = int(track.max(initial=0)) + 1
        last = {}
        for before, row in pairwise(rows.tolist()):
            gap = self.objects.frame[row] - self.objects.frame[before] > 1
            if self.track[row] != self.track[before]:
                continue
            track[row] = free if gap else track[before]
            if gap:
                graph[free] = [int(track[before])]
                free += 1
            last[int(self.track[row])] = int(track[row])
        for child, parents in self.graph.items():
            graph[child] = [last.get(parent, parent) for parent in parents]
        return replace(self, track=track, graph=graph)

    def renumbered(self) -> "Lineage":
        """The same with ids from 1 on, without holes."""
        ids = np.unique(self.track[self.track > 0])
        new = {0: 0} | {int(one): number for number, one in enumerate(ids, 1)}
        track = np.array([new[one] for one in self.track.tolist()], np.int64)
        graph = {new[child]: [new[p] for p in parents] for child, parents in self.graph.items()}
        return replace(self, track=track, graph=graph)

    def without_short(self, frames: int) -> "Lineage":
        """The same without tracks in fewer frames that neither come from nor become others."""
        ids, counts = np.unique(self.track, return_counts=True)
        related = np.array([*self.graph, *self.divisions], np.int64)
        short = ids[(counts < frames) & ~np.isin(ids, related)]
        return replace(self, track=np.where(np.isin(self.track, short), 0, self.track))


def _check_order(parent: Track | None, child: Track | None, names: int, named: int) -> None:
    if parent is None or child is None:
        missing = names if parent is None else named
        raise TrackingError(f"track {missing} is in the lineage, but no object is of it.")
    if parent.end >= child.begin:
        raise TrackingError(
            f"track {child.id} begins in frame {child.begin}, and its parent {parent.id} ends in"
            f" {parent.end}; a parent ends before its children begin."
        )


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
