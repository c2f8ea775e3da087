"""The threads of work that takes minutes: propagation, tracks, fine-tuning. Clicks go on beside it.

Knows jobs and the states of these tabs; no widgets.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from napari_sam._finetune import Finetune, FinetuneOrder
from napari_sam._finetune_job import run_order
from napari_sam._jobs import LatestJob
from napari_sam._label_edit import LabelEdit
from napari_sam._listing import list_plane
from napari_sam._predict import Load
from napari_sam._propagating import Propagating
from napari_sam._propagating_job import run_propagation
from napari_sam._propagation_run import PropagateRequest
from napari_sam._tracks import Film, Linked, Tracks, look_at, make_tracks
from napari_sam._way import combined


class Followed(Protocol):
    """A state that one of these jobs tells what it does."""

    cancel_requested: Any

    def set_job(self, *, busy: bool) -> None:
        """Whether the worker is at work."""
        ...

    def accept(self, progress: Any) -> None:
        """How far it is, and perhaps a part of the result."""
        ...

    def finished(self, result: Any) -> None:
        """It has ended well."""
        ...

    def cancelled(self) -> None:
        """The user has stopped it."""
        ...

    def failed(self, message: str) -> None:
        """It has failed."""
        ...


class LongJobs:
    """Runs what these tabs ask for.

    Parameters
    ----------
    propagating, tracks, finetune
        States of the tabs.
    load
        Gives predictors.
    parent
        Of the threads' objects.
    """

    def __init__(
        self, propagating: Propagating, tracks: Tracks, finetune: Finetune, load: Load, parent: Any
    ) -> None:
        self._load = load
        self.propagations, self.trackings, self.trainings = (LatestJob(parent) for _ in range(3))
        self.listings = LatestJob(parent)
        listing = propagating.listing
        listing.requested.connect(lambda asked: self.listings.submit(partial(list_plane, asked)))
        self.listings.returned.connect(listing.accept)
        self.listings.failed.connect(lambda *_: listing.ended())
        propagating.requested.connect(self._on_propagate)
        propagating.combine_requested.connect(self._on_combine)
        tracks.look_requested.connect(self._on_look)
        tracks.make_requested.connect(self._on_make)
        finetune.order_requested.connect(self._on_order)
        _tell(self.propagations, propagating)
        _tell(self.trackings, tracks)
        _tell(self.trainings, finetune)

    @property
    def all(self) -> tuple[LatestJob, ...]:
        """All of them."""
        return (self.propagations, self.trackings, self.trainings, self.listings)

    def _on_propagate(self, request: PropagateRequest) -> None:
        self.propagations.submit(partial(run_propagation, request, self._load))

    def _on_combine(self, edits: Sequence[LabelEdit]) -> None:
        self.propagations.submit(partial(combined, edits))

    def _on_look(self, film: Film) -> None:
        self.trackings.submit(partial(look_at, film))

    def _on_make(self, linked: Linked, lineage: Any) -> None:
        self.trackings.submit(partial(make_tracks, linked, lineage))

    def _on_order(self, order: FinetuneOrder) -> None:
        self.trainings.submit(partial(run_order, order))


def _tell(jobs: LatestJob, state: Followed) -> None:
    state.cancel_requested.connect(jobs.cancel)
    jobs.busy.connect(lambda on: state.set_job(busy=on))
    jobs.progressed.connect(state.accept)
    jobs.returned.connect(state.finished)
    jobs.cancelled.connect(state.cancelled)
    jobs.failed.connect(lambda _, message: state.failed(message))
