"""The tool "Everything": its settings, its candidates, and which of them stay. No Qt, no napari.

Panel and layers talk to this state; it talks to the session (plane, model, messages) and leaves the
prompts of the other tools alone. All methods are called in the window's thread.
"""

from collections.abc import Hashable
from typing import Any

from psygnal import Signal

from napari_sam._session import Session, size_note
from napari_sam._sweep import (
    ChooseRequest,
    Found,
    LabelsToWrite,
    Selection,
    Settings,
    SweepRequest,
    name_of,
)
from napari_sam.core.masks import MaskRecord
from napari_sam.core.params import AutomaticParams

HOW_TO_GO_ON = "Click one to drop it or to take it back; Enter commits all that stay."
NONE_PASSES = "Nothing passes: lower the predicted IoU or the stability, or ask more points."
AS_BEFORE = "The candidates in view are as before; commit or a slider tries once more."


class Everything:
    """State of the tool of one dock.

    Parameters
    ----------
    session
        The session of the same dock.
    """

    settings_changed = Signal()
    selection_changed = Signal()
    shown = Signal()  # the user turns to the candidates
    sweep_requested = Signal(object)  # SweepRequest
    choose_requested = Signal(object)  # ChooseRequest
    commit_requested = Signal(object)  # LabelsToWrite

    def __init__(self, session: Session) -> None:
        self.session = session
        self.defaults = Settings(AutomaticParams.for_model(session.spec))
        self.settings = self.defaults
        self.found: Found | None = None
        self.selection: Selection | None = None
        self.dropped: frozenset[Hashable] = frozenset()
        self._generation = 0
        self._image = session.image
        self._asked: ChooseRequest | None = None
        self._to_announce = False
        self._commit_wanted = False
        session.model_changed.connect(self._on_model)
        session.intensity_changed.connect(self.settings_changed.emit)
        session.layers_changed.connect(self._on_layers)

    # --- settings ----------------------------------------------------------------------------

    def change(self, **changes: Any) -> None:
        """Set something by its name; the candidates follow, as far as no new run is needed."""
        self._set(self.settings.changed(**changes))

    def reset(self) -> None:
        """Back to the model's defaults."""
        self._set(self.defaults)

    @property
    def is_outdated(self) -> bool:
        """Whether settings, model or intensity ask for other candidates than the last run found."""
        if self.found is None:
            return False
        least, asked = self.found.candidates.least_score or 0.0, self.found.request
        return (
            self.settings.params.pred_iou_thresh < least
            or asked.settings.grid != self.settings.grid
            or asked.model != self.session.model
            or asked.intensity != self.session.intensity_value()
        )

    def _set(self, settings: Settings) -> None:
        if settings != self.settings:
            self.settings = settings
            self.settings_changed.emit()
            self._choose()

    def _on_model(self) -> None:
        """Another model has other defaults; what the user has set by hand stays."""
        before = self.defaults
        self.defaults = Settings(AutomaticParams.for_model(self.session.spec))
        if self.settings == before:
            self._set(self.defaults)
        self.settings_changed.emit()  # the candidates may be another model's by now

    def _on_layers(self) -> None:
        if self.session.image != self._image:
            self._image = self.session.image
            self.clear()

    # --- candidates --------------------------------------------------------------------------

    def run(self) -> None:
        """Ask the model about the whole plane in view."""
        session = self.session
        if session.plane is None:
            session.say(session.no_plane)
        elif not session.weights_here:
            session.say(f"The weights of {session.spec.title} are not here: press Download first.")
        else:
            self._generation += 1
            session.say(" ".join(("Working ...", size_note(session.plane.size))).strip())
            self.sweep_requested.emit(
                SweepRequest(
                    self._generation,
                    session.model,
                    session.plane,
                    session.intensity_value(),
                    self.settings,
                )
            )

    def accept_found(self, found: Found) -> None:
        """The model has answered; the answer to an older request is dropped."""
        if found.request.generation != self._generation:
            return
        self.found, self.dropped, self._to_announce = found, frozenset(), True
        self.session.set_runtime(found.runtime)
        self._choose()

    def accept_selection(self, selection: Selection) -> None:
        """Thresholds have been applied; what belongs to older candidates is dropped."""
        if selection.request.found is not self.found:
            return
        self.selection = selection
        self.selection_changed.emit()
        if self._to_announce:
            self._to_announce = False
            said = f"{self.count}. {HOW_TO_GO_ON}" if selection.records else NONE_PASSES
            self.session.say(said)
            self.shown.emit()
        if self._commit_wanted and selection.request is self._asked:
            self.commit()

    def choose_failed(self, message: str) -> None:
        """Thresholds could not be applied, and why; nothing waits for them any more."""
        self._asked, self._commit_wanted = None, False
        self.session.say(f"{message} {AS_BEFORE}")

    def choose_cancelled(self) -> None:
        """The user has cancelled while thresholds were applied."""
        self.choose_failed("Cancelled.")

    def toggle(self, y: float, x: float) -> None:
        """Drop the candidate on top at a point of the plane, or take it back."""
        record = None if self.selection is None else self.selection.at(y, x)
        if record is not None:
            self.dropped = self.dropped ^ {name_of(record)}
            self._choose()

    def clear(self) -> None:
        """Forget all candidates, also those on their way."""
        self._generation += 1
        self.found, self._asked, self.dropped = None, None, frozenset()
        self._commit_wanted = False
        if self.selection is not None:
            self.selection = None
            self.selection_changed.emit()

    @property
    def count(self) -> str:
        """How many stay, for the user."""
        if self.selection is None or self.found is None:
            return "No candidates yet"
        return f"{len(self.selection.kept)} of {len(self.found.candidates)} candidates"

    def show(self) -> None:
        """The user turns to this tool."""
        self.shown.emit()

    def cancelled(self) -> None:
        """The run was cancelled."""
        self.session.say("Cancelled. Earlier candidates and the prompts are still there.")

    def _choose(self) -> None:
        if self.found is None:
            return
        self._asked = ChooseRequest(self.found, self.settings, self.dropped, self._known_records())
        self.choose_requested.emit(self._asked)

    def _known_records(self) -> tuple[MaskRecord, ...] | None:
        """What passes, where the selection in view already says it."""
        selection = self.selection
        if selection is None:
            return None
        request = selection.request
        same = request.found is self.found and request.settings == self.settings
        return selection.records if same else None

    # --- commit ------------------------------------------------------------------------------

    def commit(self) -> None:
        """Write all candidates that stay to the output, as one edit; waits for the sliders."""
        selection = self.selection
        if selection is not None and selection.request is not self._asked:
            self._commit_wanted = True
            if self._asked is None:  # nobody is at work on it
                self._choose()
            return
        self._commit_wanted = False
        if selection is None or not selection.kept:
            self.session.say("There are no candidates to commit: press Run.")
        else:
            self.commit_requested.emit(LabelsToWrite.of(selection))

    def close(self) -> None:
        """Disconnect everybody: the window is gone."""
        for name, value in vars(type(self)).items():
            if isinstance(value, Signal):
                getattr(self, name).disconnect()
