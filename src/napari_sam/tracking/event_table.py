"""Proposed events as a CSV file, to be decided in a spreadsheet, and the decisions read again."""

import csv
from dataclasses import dataclass
from pathlib import Path

from napari_sam.errors import TrackingError
from napari_sam.tracking.events import Disappearance, Division
from napari_sam.tracking.proposal import Proposal
from napari_sam.volume.aside import written_aside

__all__ = ["Decisions", "read_events", "write_events"]

_COLUMNS = ("event", "frame", "label", "others", "evidence", "cause", "decision")
_ACCEPT, _REFUSE = "accept", "refuse"


@dataclass(frozen=True)
class Decisions:
    """What was decided of a proposal.

    Attributes
    ----------
    accepted
        Divisions that there are.
    refused
        Disappearances that there are not.
    """

    accepted: tuple[Division, ...]
    refused: tuple[Disappearance, ...]


def write_events(proposal: Proposal, path: Path, *, evidence: float | None) -> None:
    """Write a line for each event; the last column says what is decided, and may be changed.

    ``label`` is an object's number in its frame, as it was given: of a division the parent, in the
    frame before; ``others`` are the children, or the frame and label of the object as which a
    disappearance that is refused goes on.

    Parameters
    ----------
    proposal
        What to write.
    path
        ``.csv``; it appears when it is complete.
    evidence
        From which on divisions and disappearances are accepted; None refuses all divisions and
        accepts all disappearances.

    Raises
    ------
    OSError
        The disk is full or may not be written.
    """
    with (
        written_aside(path) as part,
        part.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for one in proposal.divisions:
            decided = _ACCEPT if evidence is not None and one.evidence >= evidence else _REFUSE
            children = " ".join(map(str, one.children))
            writer.writerow(
                ("division", one.frame, one.parent, children, f"{one.evidence:.3f}", "", decided)
            )
        for end in proposal.disappearances:
            weak = evidence is not None and end.evidence < evidence and end.instead is not None
            instead = " ".join(map(str, end.instead or ()))
            decided = _REFUSE if weak else _ACCEPT
            share = f"{end.evidence:.3f}"
            writer.writerow(
                ("disappearance", end.frame, end.label, instead, share, end.cause, decided)
            )
        for new in proposal.appearances:
            cause = "border" if new.border else "new"
            writer.writerow(("appearance", new.frame, new.label, "", "", cause, _ACCEPT))


def read_events(proposal: Proposal, path: Path) -> Decisions:
    """What the last column of such a file says of a proposal of the same labels.

    Events that the file does not name are as if nobody had been asked: divisions refused,
    disappearances accepted.

    Raises
    ------
    TrackingError
        A line names an event that is not proposed, or its decision is another word.
    """
    known: dict[tuple[str, int, int], Division | Disappearance] = {
        ("division", one.frame, one.parent): one for one in proposal.divisions
    } | {("disappearance", one.frame, one.label): one for one in proposal.disappearances}
    accepted: list[Division] = []
    refused: list[Disappearance] = []
    for number, row in enumerate(_rows(path), 2):
        kind, decision = row.get("event"), (row.get("decision") or "").strip().lower()
        if kind == "appearance":
            continue
        try:
            event = known[str(kind), int(row["frame"]), int(row["label"])]
        except (KeyError, ValueError, TypeError):
            raise TrackingError(
                f"{path}, line {number}: no such event is proposed with these labels and settings."
            ) from None
        if decision not in (_ACCEPT, _REFUSE):
            raise TrackingError(
                f"{path}, line {number}: the decision is {decision!r}; wanted is {_ACCEPT} or"
                f" {_REFUSE}."
            )
        if isinstance(event, Division) and decision == _ACCEPT:
            accepted.append(event)
        if isinstance(event, Disappearance) and decision == _REFUSE:
            refused.append(event)
    return Decisions(tuple(accepted), tuple(refused))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError) as error:
        raise TrackingError(f"{path} cannot be read: {error}") from error
