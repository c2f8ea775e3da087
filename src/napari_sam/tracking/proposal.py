"""Proposal: links that are sure, events that are to be decided; decisions make it a lineage."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import TrackingError
from napari_sam.tracking.events import Appearance, Disappearance, Division
from napari_sam.tracking.lineage import Lineage
from napari_sam.tracking.scan import Scan

__all__ = ["USUAL_EVIDENCE", "Proposal"]

Numbers = NDArray[np.int64]

USUAL_EVIDENCE = 0.5
"""From here on a division is accepted, and a disappearance too, where nobody is asked."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """What linking has found, before anything is decided.

    Attributes
    ----------
    scan
        The objects.
    links
        (M, 2) rows of one object in an earlier and a later frame; each row once on either side.
    divisions
        To be accepted or refused; refused, the first child goes on as the parent.
    disappearances
        To be accepted or refused; refused, the object goes on as ``instead``.
    appearances
        For looking at: a track begins there in any case.
    """

    scan: Scan = field(repr=False)
    links: Numbers
    divisions: tuple[Division, ...]
    disappearances: tuple[Disappearance, ...]
    appearances: tuple[Appearance, ...]

    def decide(
        self, accepted: Iterable[Division] = (), refused: Iterable[Disappearance] = ()
    ) -> Lineage:
        """The lineage with these decisions; all other divisions are refused.

        Parameters
        ----------
        accepted
            Divisions that there are. Others than the proposed ones may be among them.
        refused
            Disappearances that there are not: each goes on as its ``instead``.

        Raises
        ------
        TrackingError
            An event names objects that are not there, a disappearance has no ``instead``, or two
            decisions claim one object.
        """
        accepted, refused = tuple(accepted), tuple(refused)
        branches = [pair for event in accepted for pair in self._branches(event)]
        more = [self._link(event) for event in refused]
        parents, children = ({pair[side] for pair in branches} for side in (0, 1))
        links = [
            pair
            for pair in self.links.tolist()
            if pair[0] not in parents and pair[1] not in children
        ]
        _once([child for _, child in branches] + [later for _, later in [*links, *more]], self)
        _once([earlier for earlier, _ in [*links, *more]] + sorted(parents), self)
        return Lineage.of_links(
            self.scan.objects,
            _pairs([*links, *more]),
            _pairs(branches),
            shape=self.scan.shape,
            spacing=self.scan.spacing,
        )

    def accept(self, evidence: float = USUAL_EVIDENCE) -> Lineage:
        """The lineage with all divisions, and all disappearances, of at least this evidence."""
        return self.decide(
            [event for event in self.divisions if event.evidence >= evidence],
            [
                event
                for event in self.disappearances
                if event.evidence < evidence and event.instead is not None
            ],
        )

    def _branches(self, event: Division) -> list[tuple[int, int]]:
        if len(set(event.children)) < 2:
            raise TrackingError(f"{event} has fewer than two children.")
        parent = self._row(event.frame - 1, event.parent)
        return [(parent, self._row(event.frame, child)) for child in event.children]

    def _link(self, event: Disappearance) -> tuple[int, int]:
        if event.instead is None:
            raise TrackingError(
                f"object {event.label} of frame {event.frame} cannot go on: no object of the next"
                " frames is without a past and near it."
            )
        return self._row(event.frame, event.label), self._row(*event.instead)

    def _row(self, frame: int, label: int) -> int:
        row = self.scan.objects.row(frame, label)
        if row is None:
            raise TrackingError(f"frame {frame} has no object {label}.")
        return row


def _once(rows: list[int], proposal: Proposal) -> None:
    """Refuse decisions of which two claim one object."""
    found, counts = np.unique(np.array(rows, np.int64), return_counts=True)
    if (counts > 1).any():
        row = found[counts > 1][0]
        objects = proposal.scan.objects
        raise TrackingError(
            f"object {objects.label[row]} of frame {objects.frame[row]} is claimed by two"
            " decisions: take one of them back."
        )


def _pairs(pairs: list[tuple[int, int]]) -> Numbers:
    return np.array(pairs, np.int64).reshape(-1, 2)
