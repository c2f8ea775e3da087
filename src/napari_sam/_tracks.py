"""Tracks of the labels of a film: divisions and endings proposed, decided, made into layers.

State of a part of the tab 3D / time and its two jobs. No Qt, no napari.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_sam._session import Session
from napari_sam.errors import NapariSamError
from napari_sam.progress import Progress

if TYPE_CHECKING:
    from napari_sam.tracking.events import Disappearance, Division
    from napari_sam.tracking.lineage import Lineage
    from napari_sam.tracking.proposal import Proposal
    from napari_sam.tracking.series import LabelSeries


@dataclass(frozen=True, eq=False)
class Film:
    """Labels through time, to be opened by a worker.

    Attributes
    ----------
    open
        Gives the labels; may read a little.
    scale
        Of their layer, (t, [z,] y, x).
    name
        Of the layer.
    """

    open: "Callable[[], LabelSeries]"
    scale: tuple[float, ...]
    name: str


@dataclass(frozen=True, eq=False)
class Linked:
    """What was found in a film."""

    film: Film
    series: "LabelSeries"
    proposal: "Proposal"


@dataclass(frozen=True, eq=False)
class MadeTracks:
    """Labels (t, [z,] y, x) by track, and the tracks."""

    film: Film
    labels: NDArray[Any]
    lineage: "Lineage"


class Tracks:
    """State of the tracks of one dock.

    Parameters
    ----------
    session
        Of the same dock.
    """

    changed = Signal()
    cancel_requested = Signal()
    look_requested = Signal(object)  # Film
    make_requested = Signal(object, object)  # Linked, Lineage
    layers_requested = Signal(object)  # MadeTracks
    jump_requested = Signal(int)  # frame

    def __init__(self, session: Session) -> None:
        self.session = session
        self.linked: Linked | None = None
        self.refused: frozenset[Any] = frozenset()  # of divisions and endings
        self.busy = False
        self.said = ""
        self.find_film: Callable[[], Film | str] = lambda: "There are no labels."

    def look(self) -> None:
        """Link the objects of all frames, and see what may have happened to them."""
        film = self.find_film()
        if isinstance(film, str):
            self._say(film)
        else:
            self.linked = None
            self.look_requested.emit(film)

    def finished(self, result: "Linked | MadeTracks") -> None:
        """The worker has done it."""
        if isinstance(result, MadeTracks):
            count = len(result.lineage.tracks)
            self._say(f"{count} tracks, {len(result.lineage.divisions)} divisions.")
            self.layers_requested.emit(result)
            return
        from napari_sam.tracking.proposal import USUAL_EVIDENCE

        self.linked = result
        found = result.proposal
        self.refused = frozenset(e for e in self.events if e.evidence < USUAL_EVIDENCE)
        sure = sum(end.instead is None for end in found.disappearances)
        self._say(
            f"{len(found.divisions)} divisions and {len(found.disappearances) - sure} endings are"
            " proposed. Untick what is none, then make the tracks."
            + (f" {sure} more end, with nothing near that they could go on as." if sure else "")
        )

    @property
    def divisions(self) -> "tuple[Division, ...]":
        """Those that are proposed, by frame."""
        return () if self.linked is None else self.linked.proposal.divisions

    @property
    def endings(self) -> "tuple[Disappearance, ...]":
        """Objects that may end, or else go on as another one; by frame."""
        ends = () if self.linked is None else self.linked.proposal.disappearances
        return tuple(end for end in ends if end.instead is not None)

    @property
    def events(self) -> "tuple[Division | Disappearance, ...]":
        """All that is to be decided, by frame."""
        return tuple(sorted((*self.divisions, *self.endings), key=lambda event: event.frame))

    def decide(self, event: "Division | Disappearance", wanted: bool) -> None:
        """Accept a division or an ending, or refuse it."""
        self.refused = self.refused - {event} if wanted else self.refused | {event}
        self.changed.emit()

    def make(self) -> None:
        """Tracks as decided: new labels with the ids of tracks, and a Tracks layer."""
        linked = self.linked
        if linked is None:
            self._say("Look for tracks first.")
            return
        accepted = [event for event in self.divisions if event not in self.refused]
        going_on = [event for event in self.endings if event in self.refused]
        try:
            lineage = linked.proposal.decide(accepted, going_on)
        except NapariSamError as error:
            self._say(f"Not made: {error}")
            return
        self.make_requested.emit(linked, lineage)

    def jump(self, event: "Division | Disappearance") -> None:
        """Bring the frame of an event into view."""
        self.jump_requested.emit(event.frame)

    def set_job(self, *, busy: bool) -> None:
        """Whether the worker is at work."""
        self.busy = busy
        self.changed.emit()

    def accept(self, progress: Progress) -> None:
        """How far the worker is."""
        self.said = f"{progress.message} ({progress.done} of {progress.total})"
        self.changed.emit()

    def cancel(self) -> None:
        """Stop."""
        self.cancel_requested.emit()

    def cancelled(self) -> None:
        """The user has stopped: nothing was made."""
        self._say("Stopped: nothing was made.")

    def failed(self, message: str) -> None:
        """The worker has failed."""
        self._say(message)

    def _say(self, message: str) -> None:
        self.said = message
        self.session.say(message)
        self.changed.emit()

    def close(self) -> None:
        """Disconnect everybody: the window is gone."""
        for name, value in vars(type(self)).items():
            if isinstance(value, Signal):
                getattr(self, name).disconnect()


def look_at(film: Film) -> Generator[Progress, None, Linked]:
    """Read all frames once and link their objects. A job.

    Raises
    ------
    NapariSamError
        From reading the labels.
    """
    from napari_sam.tracking.pipeline import track_labels

    yield Progress(0, 0, "Opening the labels")
    series = film.open()
    proposal = yield from track_labels(series)
    return Linked(film, series, proposal)


def make_tracks(linked: Linked, lineage: "Lineage") -> Generator[Progress, None, MadeTracks]:
    """Give each object the id of its track. A job.

    Raises
    ------
    TrackingError
        The labels were changed since they were looked at.
    """
    from napari_sam.tracking.relabel import Relabelled

    made = Relabelled(linked.series, lineage)
    labels = np.zeros(made.shape, made.dtype)
    for time in range(made.shape[0]):
        yield Progress(time, made.shape[0], "Making the tracks")
        labels[time] = made.frame(time)
    return MadeTracks(linked.film, labels, lineage)
