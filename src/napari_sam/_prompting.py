"""From prompts to masks in view: requests, answers, candidates, and the preview under the mouse.

The part of a session that asks the model. What is kept of its answers is the session's business.
No Qt, no napari.
"""

from typing import Literal

from psygnal import Signal

from napari_sam._document import Document
from napari_sam._place import PointPrompt, PromptSet, place
from napari_sam._predict import MaskPatch, ModelChoice, Plane, PredictRequest, PredictResponse
from napari_sam._workplace import READY, Workplace, size_note

Tool = Literal[
    "positive", "negative", "box", "scribble", "negative scribble", "lasso", "polygon", "ellipse"
]
LEVELS = ("smallest", "middle one", "largest")  # sub-part, part, whole


class Prompting(Workplace):
    """Prompts and the masks that the model makes of them."""

    tool_changed = Signal()
    prompts_changed = Signal()
    prompts_replaced = Signal(object)  # PromptSet: written by us, the layers must follow
    preview_changed = Signal()
    requested = Signal(object)  # PredictRequest
    plane_changed = Signal()

    def __init__(self, model: ModelChoice | None = None, *, weights_needed: bool = True) -> None:
        super().__init__(model, weights_needed=weights_needed)
        self.tool: Tool = "positive"
        self.each = False
        self.hovering = False
        self.document = Document()
        self.response: PredictResponse | None = None
        self.hover_response: PredictResponse | None = None
        self.candidate = 0
        self.level: int | None = None  # of LEVELS; None: the candidate that the model is surest of
        self.generation = 0
        self._seen = PromptSet()
        self._awaited = 0
        self._hovered = 0
        self._wanted_candidate: int | None = None
        self._commit_wanted = False

    def commit(self) -> None:
        """Keep the masks in view. To be filled in by the session."""

    def set_plane(self, plane: Plane | None, reason: str = "") -> None:
        """The plane in view, or None and the reason why there is none to work on."""
        same = None if self.plane is None else self.plane.key
        if plane is not None and plane.key == same:
            return
        self.plane, self.no_plane = plane, reason
        self._forget_hover()
        self._show(None)
        self.plane_changed.emit()
        if self.prompts or plane is None:
            self.refresh()

    # --- prompts -----------------------------------------------------------------------------

    @property
    def prompts(self) -> PromptSet:
        """The prompts that are not kept yet."""
        return self.document.prompts

    def choose_tool(self, tool: Tool) -> None:
        """What the next click makes. Always emits: choosing again brings the layer to the front."""
        self.tool = tool
        self.tool_changed.emit()

    def set_prompts(self, prompts: PromptSet) -> None:
        """The user has edited prompts in the layers."""
        if prompts == self.prompts:
            return
        self.document.set_prompts(prompts)
        self._seen = prompts
        self._commit_wanted, self._wanted_candidate = False, None
        self.prompts_changed.emit()
        self.refresh()

    def set_each(self, each: bool) -> None:
        """Whether every positive point is an object of its own."""
        if each != self.each:
            self.each = each
            self.prompts_changed.emit()
            self.refresh()

    def refresh(self) -> None:
        """Ask for the masks of the present prompts; whatever is still on its way is outdated."""
        self.generation += 1
        self._hovered = 0
        if self.plane is None:
            self._show(None)
            self.say(self.no_plane)
            return
        placed = place(self.prompts, self.plane, each=self.each)
        if placed.prompts is None:
            self._show(None)
            self.say(placed.note or READY)
        elif not self.weights_here:
            self._show(None)
            self.say(f"The weights of {self.spec.title} are not on this computer: {_HOW_TO_GET}")
        else:
            reduced = "" if self.tiled else size_note(self.plane.size)
            note = " ".join(filter(None, (placed.note, reduced)))
            self.say(note or "Working ...")
            self._awaited = self.generation
            self.requested.emit(
                PredictRequest(
                    self.generation,
                    self.model,
                    self.plane,
                    self.intensity_value(),
                    placed.prompts,
                    note,
                    placed.sketches,
                    placed.twice,
                )
            )

    # --- hover -------------------------------------------------------------------------------

    def set_hovering(self, hovering: bool) -> None:
        """Whether the mask of a click is shown before the click."""
        self.hovering = hovering
        if not hovering:
            self._forget_hover()
        self.prompts_changed.emit()

    def hover(self, position: tuple[float, ...] | None) -> None:
        """The mouse is here, in pixels of the image; None: it has left.

        Nothing is asked while there are prompts: their mask is what counts.
        """
        if not self.hovering or self.prompts or self.plane is None or not self.weights_here:
            return
        asked = PromptSet(() if position is None else (PointPrompt(position),))
        placed = place(asked, self.plane)
        if placed.prompts is None:
            self._forget_hover()
            return
        self.generation += 1
        self._hovered = self.generation
        self.requested.emit(
            PredictRequest(
                self.generation,
                self.model,
                self.plane,
                self.intensity_value(),
                placed.prompts,
                brief=True,
            )
        )

    def _forget_hover(self) -> None:
        if self._hovered:  # its answer is on the way, and of no use
            self.generation += 1
            self._hovered = 0
        if self.hover_response is not None:
            self.hover_response = None
            self.preview_changed.emit()

    # --- masks -------------------------------------------------------------------------------

    def accept(self, response: PredictResponse) -> None:
        """Masks have come; those of an older request are dropped."""
        if response.generation == self._hovered:
            self.hover_response, self._hovered = response, 0
            self.set_runtime(response.runtime)
            self.preview_changed.emit()
            return
        if response.generation != self.generation:
            return
        count = len(response.objects[0]) if response.objects else 0
        wanted, self._wanted_candidate = self._wanted_candidate, None
        best = first_shown(response, self.level)
        self.candidate = wanted if wanted is not None and wanted < count else best
        self.set_runtime(response.runtime)
        self._show(response)
        if all(patch.mask.size == 0 for patch in self.preview):
            self.say("The model found no object there. Move the point, or draw a box.")
        else:
            self.say(response.note or "Enter keeps it; more points refine it.")
        if self._commit_wanted:
            self.commit()

    def fail(self, message: str) -> None:
        """The request in work ended with an error."""
        self._awaited, self._commit_wanted = 0, False
        if self._hovered:  # each move of the mouse would fail again
            self.set_hovering(False)
            message = f"{message} The preview under the mouse is switched off."
        self.say(message)

    def cancelled(self) -> None:
        """The request in work was cancelled by the user."""
        self._awaited, self._commit_wanted = 0, False
        self.say("Cancelled. The prompts are still there: edit one to try again.")

    def cancel(self) -> None:
        """Ask the workers to stop."""
        self.generation += 1
        self.cancel_requested.emit()

    @property
    def preview(self) -> tuple[MaskPatch, ...]:
        """The masks in view, one an object."""
        if self.response is None:
            return ()
        return tuple(c[min(self.candidate, len(c) - 1)] for c in self.response.objects)

    @property
    def shown(self) -> tuple[Plane | None, tuple[MaskPatch, ...]]:
        """What the preview layer shows: the masks in view or, if there are none, the mouse's."""
        if self.response is not None:
            return self.response.plane, self.preview
        hover = self.hover_response
        if hover is None:
            return None, ()
        first = first_shown(hover, self.level)
        return hover.plane, tuple(c[min(first, len(c) - 1)] for c in hover.objects)

    @property
    def scores(self) -> tuple[float, ...]:
        """Scores of the candidates of a single object; empty for several objects."""
        if self.response is None or len(self.response.objects) != 1:
            return ()
        return tuple(patch.score for patch in self.response.objects[0])

    def choose_candidate(self, index: int) -> None:
        """Show another candidate; single clicks that follow begin with the one of this size."""
        response = self.response
        if response is not None and 0 <= index < len(self.scores) and index != self.candidate:
            self.candidate = index
            self.level = None if index == response.best else sizes(response).index(index)
            self.preview_changed.emit()
            if len(self.scores) == len(LEVELS):
                said = "the surest mask" if self.level is None else f"the {LEVELS[self.level]}"
                self.say(f"Candidate {index + 1}. Next clicks show {said} first.")

    def step_candidate(self, step: int = 1) -> None:
        """Show the next candidate, round and round."""
        if len(self.scores) > 1:
            self.choose_candidate((self.candidate + step) % len(self.scores))
        elif self.response is not None:
            self.say("There is one mask only: candidates are for a single click.")

    def _show(self, response: PredictResponse | None) -> None:
        if response is not None or self.response is not None or self.hover_response is not None:
            self.response, self.hover_response = response, None
            self.preview_changed.emit()


def sizes(response: PredictResponse) -> list[int]:
    """Candidates of a single object, the smallest first."""
    (candidates,) = response.objects
    return sorted(range(len(candidates)), key=lambda i: int(candidates[i].mask.sum()))


def first_shown(response: PredictResponse, level: int | None) -> int:
    """The candidate to show first: of the size that was chosen last, or the surest."""
    single = len(response.objects) == 1 and len(response.objects[0]) == len(LEVELS)
    return sizes(response)[level] if single and level is not None else response.best


_HOW_TO_GET = "press Download in the dock, or choose another model."
