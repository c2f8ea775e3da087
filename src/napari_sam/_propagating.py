"""The tab 3D / time: what is carried through the stack, its key planes, scores and corrections.

No Qt, no napari. What is drawn of an object and was not written by propagation is a key plane, so
a correction is any way of drawing: brush, eraser, or a click whose mask is taken. The job itself
is in ``_propagating_job.py``; labels are written here, plane by plane, as one step.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from psygnal import Signal

from napari_sam._label_edit import LabelEdit, Region, enclosing
from napari_sam._listing import Listing
from napari_sam._pace import Pace
from napari_sam._predict import MaskPatch
from napari_sam._propagation_run import (
    PropagateRequest,
    PropagateSettings,
    Run,
    State,
    curves,
    key_of,
    object_below,
    objects_are,
    objects_in_view,
    worst_scores,
)
from napari_sam._session import Session
from napari_sam._way import Way, as_one, write_plane
from napari_sam.errors import NapariSamError
from napari_sam.progress import Progress

if TYPE_CHECKING:
    from napari_sam.volume.propagation.key_plane import KeyPlane
    from napari_sam.volume.propagation.result import PlaneResult

MOST_SELECTED = 8  # objects that are outlined afterwards; of more it takes the window long
WEAK = 0.75  # predicted IoU below which a plane wants a look
NOTHING = (
    "Nothing to carry on: click on an object, or select one that is kept (tab Objects), or choose"
    " all labels of the plane."
)
NO_RUN = "Propagate an object first; then correct it on any plane."


class Propagating:
    """State of the tab of one dock.

    Parameters
    ----------
    session
        Of the same dock.
    """

    changed = Signal()
    progressed = Signal()
    requested = Signal(object)  # PropagateRequest
    combine_requested = Signal(object)  # edits of planes; ``finished`` gets them as one
    cancel_requested = Signal()
    jump_requested = Signal(object, int)  # Way, plane

    def __init__(self, session: Session) -> None:
        self.session = session
        self.settings = PropagateSettings()
        self.run: Run | None = None
        self.busy = False
        self.progress: Progress | None = None
        self.pace = Pace()
        self.said = ""
        self.find_way: Callable[[str | None], Way | str] = lambda _: "There is no image."
        self.find_image: Callable[[], tuple[Callable[[], Any], tuple[int, ...] | None]]
        self.find_image = lambda: (lambda: None, None)
        self.listing = Listing(session)
        self._wanted = False
        session.objects_changed.connect(self._on_objects)

    def change(self, **changes: Any) -> None:
        """Set something of the settings by its name."""
        self.settings = replace(self.settings, **changes)
        self.changed.emit()

    # --- what is asked for -------------------------------------------------------------------

    def propagate(self) -> None:
        """Carry the chosen objects through the stack."""
        way = self._ready()
        if way is None or not self.session.has_output():
            return
        from napari_sam.volume.propagation.memory import Memory

        session, document = self.session, self.session.document
        assert document.labels is not None
        self._wanted = self.settings.what == "plane" and self.listing.waiting
        if self._wanted:
            self._say("Looking for the objects of this plane ...")
            return
        masks = self._masks() if self.settings.what == "object" else []
        if masks:
            first = document.next_number
            ids = tuple(range(first, first + len(masks)))
        else:
            ids = self._kept(way)
        if not ids:
            self._say(NOTHING)
            return
        known = self.run
        if not masks and known and ids == known.ids and known.state.step and self._same(known, way):
            self._request(known, way, {}, clear=False)  # with other settings, perhaps
            return
        self.run = Run(
            document, document.labels, way, self._source(), session.model,
            session.intensity_value(), ids, frozenset(ids if masks else ()), Memory(),
        )  # fmt: skip
        keys = {way.here: key_of(way, dict(zip(ids, masks, strict=True)))} if masks else {}
        self._request(self.run, way, keys, clear=bool(masks))

    def correct(self) -> None:
        """Do it again with what was drawn since; a mask in view is taken for its plane."""
        way, run = self._ready(), self.run
        if way is None:
            return
        if run is None or run.state.step is None or not self._same(run, way):
            self._say(NO_RUN)
            return
        masks, keys = self._masks(), {}
        if masks:
            one = self._meant(run, way, masks[0])
            if one is None or len(masks) > 1:
                self._say("Which object is meant? Select it (key S), then correct it.")
                return
            keys = {way.here: key_of(way, {one: masks[0]}, run.state.keys.get(way.here))}
        self._request(run, way, keys, clear=bool(masks))

    def end_here(self) -> None:
        """The object, or each that is selected, is not on the plane in view: it ends before it."""
        way, run = self._ready(), self.run
        if way is None:
            return
        if run is None or run.state.step is None or not self._same(run, way):
            self._say(NO_RUN)
            return
        gone = [n for n in self.session.selection if n in run.ids] or list(run.ids)
        known = run.state.keys.get(way.here)
        self._request(run, way, {way.here: key_of(way, {}, known, absent=gone)}, clear=False)

    def forget_key(self, plane: int) -> None:
        """A plane is no key plane any more: it is found anew."""
        run, way = self.run, self._ready()
        if run is None or way is None or plane not in run.state.keys:
            return
        keys = {p: key for p, key in run.state.keys.items() if p != plane}
        if not any(key.ids for key in keys.values()):
            self._say("One key plane has to stay.")
            return
        run.states[run.states.index(run.state)] = replace(run.state, keys=keys)
        self._request(run, way, {}, clear=False)

    def cancel(self) -> None:
        """Stop; what is done stays."""
        self.cancel_requested.emit()

    def _on_objects(self) -> None:
        if self._wanted and not self.listing.waiting:
            self.propagate()
        self.changed.emit()

    def _ready(self) -> Way | None:
        session = self.session
        way = session.no_plane if session.plane is None else self.find_way(self.settings.along)
        if self.busy:
            return None
        if isinstance(way, str):
            self._say(way)
            return None
        if not session.weights_here:
            self._say(f"The weights of {session.spec.title} are not here: press Download first.")
            return None
        return way

    def _source(self) -> object:
        return None if self.session.plane is None else self.session.plane.key[:3]  # type: ignore[index]

    def _same(self, run: Run, way: Way) -> bool:
        session = self.session
        return (
            run.document is session.document
            and run.way.same_as(way)
            and run.source == self._source()
            and (run.model, run.intensity) == (session.model, session.intensity_value())
        )

    def _masks(self) -> list[MaskPatch]:
        """Masks in view that are not kept."""
        session = self.session
        here = session.response is not None and session.plane is not None
        if not here or session.response.plane.key != session.plane.key:  # type: ignore[union-attr]
            return []
        return [patch for patch in session.preview if patch.mask.size]

    def _kept(self, way: Way) -> tuple[int, ...]:
        """Objects that are there: those selected, or all on the plane in view."""
        document = self.session.document
        if self.settings.what == "object":
            return tuple(n for n in self.session.selection if n in document.objects)
        return objects_in_view(document, way)

    def _meant(self, run: Run, way: Way, patch: MaskPatch) -> int | None:
        """The object that a mask corrects: the only one, the selected one, or the one below it."""
        chosen = [n for n in self.session.selection if n in run.ids]
        if len(run.ids) == 1 or len(chosen) == 1:
            return run.ids[0] if len(run.ids) == 1 else chosen[0]
        return object_below(run, way, patch)

    def _request(self, run: Run, way: Way, keys: Mapping[int, "KeyPlane"], *, clear: bool) -> None:
        state, document = run.state, run.document
        run.way, run.clear, run.edits, run.fresh = way, clear, [], {}
        run.keys = {**state.keys, **keys}
        boxes = [document.objects[n].slices for n in run.ids if n in document.objects]
        boxes += [way.region(p, one.region) for p, r in state.made.items() for one in r.objects]
        image, channels = self.find_image()
        self.said = "Starting ..."
        self.pace.begin()
        self.requested.emit(
            PropagateRequest(
                image, channels, run.model, run.intensity, way, self.settings, run.labels,
                self._place_of(boxes, way), run.ids, dict(run.keys), state.made, run.memory,
            )
        )  # fmt: skip

    def _place_of(self, boxes: Sequence[Region], way: Way) -> Region | None:
        """Where objects are drawn, as far as is known; of labels that are not listed: anywhere."""
        if not boxes:
            return None
        if self.session.document.listed is None:
            return enclosing(boxes)
        return enclosing([way.stack(self.settings.first, self.settings.last), *boxes])

    # --- what the job tells ------------------------------------------------------------------

    def set_job(self, *, busy: bool) -> None:
        """Whether the worker is at work."""
        self.busy = busy
        if not busy:
            self.progress = None
        self.progressed.emit()
        self.changed.emit()

    def accept(self, progress: Progress) -> None:
        """Planes are finished, or key planes found: write them."""
        run = self.run
        self.progress, self.said = progress, progress.message
        self.pace.note(progress)
        if run is not None:
            run.keys.update(getattr(progress, "keys", {}))
            run.weights = getattr(progress, "weights", run.weights)
            for result in getattr(progress, "results", ()):
                self._write(run, result)
        self.progressed.emit()

    def _write(self, run: Run, result: "PlaneResult") -> None:
        session, old = self.session, run.state.made.get(result.plane)
        overwrite = session.overwrite and not run.labels.locked
        try:
            edit = write_plane(
                run.labels, run.way, result, () if old is None else old.objects,
                ids=run.ids, overwrite=overwrite,
            )  # fmt: skip
        except (NapariSamError, OSError, MemoryError) as error:
            self._say(f"Plane {result.plane} was not written: {error}")
            return
        run.edits.append(edit)
        run.fresh[result.plane] = result

    def finished(self, result: object) -> None:
        """All planes are done: what was made before and is not found any more goes, too.

        Or the changes of all planes are one, as :attr:`combine_requested` asked.
        """
        run = self.run
        if run is None:
            return
        if run.closing:
            self._keep(run, cast("LabelEdit", result))
            return
        from napari_sam.volume.propagation.result import PlaneResult

        made = run.state.made
        for plane in sorted(set(made) - set(run.fresh)):
            self._write(run, PlaneResult(plane))
        planes = sum(bool(result.objects) for result in run.fresh.values())
        self._close(run, f"{objects_are(run.ids)} on {planes} planes. Ctrl+Z takes them back.")

    def cancelled(self) -> None:
        """The user has stopped: the planes that are done stay."""
        if self.run is None or not self.run.fresh:
            self._say("Stopped.")
        elif self.run.closing:
            self._keep(self.run, as_one(self.run.edits))
        else:
            self._close(self.run, f"Stopped: {len(self.run.fresh)} planes are done and stay.")

    def failed(self, message: str) -> None:
        """The worker has failed: the planes that are done stay."""
        if self.run is not None and self.run.closing:
            self._keep(self.run, as_one(self.run.edits))
        elif self.run is not None and self.run.fresh:
            self._close(self.run, f"Stopped after {len(self.run.fresh)} planes: {message}")
        else:
            self._say(message)

    def _close(self, run: Run, message: str) -> None:
        """Make one step of all that was written; the window would stand still meanwhile."""
        run.closing = message
        self.combine_requested.emit(tuple(run.edits))

    def _keep(self, run: Run, edit: LabelEdit) -> None:
        """One step of all that was written, and what is known from now on."""
        state = run.state
        made = {**state.made, **run.fresh}
        scores = {
            one: min((s for _, s in curve), default=None)
            for one, curve in curves(made, run.ids).items()
        }
        facts = {
            n: {"score": scores[n], "model": run.model.name}
            | ({"kind": self.session.kind} if n in run.new else {})
            for n in run.ids
        }
        before = run.state
        run.document.propagate(edit, facts, axes=run.way.axes, details=run.details, clear=run.clear)
        run.states[run.states.index(before) + 1 :] = [
            State(run.document.history.next_undo, made, dict(run.keys))
        ]
        message, run.closing = run.closing, ""
        run.edits, run.fresh = [], {}
        if run.document is self.session.document:
            self.session.do(lambda _: None)
            if run.new or len(run.ids) <= MOST_SELECTED:
                self.session.select([n for n in run.ids if n in run.document.objects])
        self._say(message)
        self.changed.emit()

    # --- what there is to see ----------------------------------------------------------------

    @property
    def made(self) -> Mapping[int, "PlaneResult"]:
        """What was written, also by a run that goes on."""
        run = self.run
        return {} if run is None else {**run.state.made, **run.fresh}

    @property
    def key_planes(self) -> tuple[int, ...]:
        """Planes of which somebody has said what is there."""
        run = self.run
        return () if run is None else tuple(sorted(run.keys if self.busy else run.state.keys))

    @property
    def curve(self) -> tuple[tuple[int, float], ...]:
        """(plane, lowest score of the objects on it): of the selected ones, or of all."""
        run = self.run
        if run is None:
            return ()
        chosen = [n for n in self.session.selection if n in run.ids] or run.ids
        return worst_scores(self.made, chosen)

    @property
    def weak(self) -> tuple[int, ...]:
        """Planes that want a look, the worst first."""
        known = set(self.key_planes)
        found = sorted((s, p) for p, s in self.curve if s < WEAK and p not in known)
        return tuple(plane for _, plane in found)

    def jump(self, plane: int) -> None:
        """Bring a plane into view."""
        if self.run is not None and 0 <= plane < self.run.way.count:
            self.jump_requested.emit(self.run.way, plane)

    def next_weak(self) -> None:
        """Bring the next plane that wants a look into view."""
        weak, plane = self.weak, self.session.plane
        if not weak or self.run is None or plane is None:
            self._say("No plane has a low score.")
            return
        here = plane.index[self.run.way.axis]
        self.jump(weak[(weak.index(here) + 1) % len(weak)] if here in weak else weak[0])

    def _say(self, message: str) -> None:
        self.said = message
        self.session.say(message)
        self.progressed.emit()

    def close(self) -> None:
        """Disconnect everybody: the window is gone."""
        self.listing.close()
        for name, value in vars(type(self)).items():
            if isinstance(value, Signal):
                getattr(self, name).disconnect()
