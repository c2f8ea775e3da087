"""One annotation sitting: its state, and events when it changes. Knows no Qt and no napari.

Panels and layers talk to the session and never to each other. All methods are called in the
window's thread; what a worker needs leaves as a frozen ``PredictRequest``.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from psygnal import Signal

from napari_sam._place import PromptSet, place
from napari_sam._predict import (
    MaskPatch,
    ModelChoice,
    Plane,
    PredictRequest,
    PredictResponse,
)
from napari_sam.core.intensity import Intensity
from napari_sam.core.registry import ModelSpec, get_spec
from napari_sam.core.weights import find
from napari_sam.progress import Progress

Tool = Literal["positive", "negative", "box"]
IntensityChoice = Literal["percentile", "contrast limits", "as_is"]
COMMITS_KEPT = 100
LARGE_SIDE = 4096  # pixels
READY = "Click on an object, or draw a box around it."


@dataclass(frozen=True)
class LayerRef:
    """A layer as the panels see it: a token that stays and a name that may change."""

    token: str
    name: str


@dataclass(frozen=True, eq=False)
class Commit:
    """Objects to be written to the output, and after that how to take them back.

    ``prompts`` come back with the undo; None: it has none and leaves the present ones alone.
    ``edit`` is whatever the layers need for the undo; it is None until they have written.
    """

    plane: Plane
    patches: tuple[MaskPatch, ...]
    prompts: PromptSet | None
    edit: Any = None


class Session:
    """State of one dock. Each dock has its own; none is shared."""

    layers_changed = Signal()
    model_changed = Signal()
    intensity_changed = Signal()
    tool_changed = Signal()
    prompts_changed = Signal()
    prompts_replaced = Signal(object)  # PromptSet: written by us, the layers must follow
    preview_changed = Signal()
    message_changed = Signal(str)
    job_changed = Signal()
    requested = Signal(object)  # PredictRequest
    commit_requested = Signal(object)  # Commit
    undo_commit_requested = Signal(object)  # Commit
    cancel_requested = Signal()
    download_requested = Signal(object)  # ModelSpec
    picture_requested = Signal(object, object)  # Plane, Intensity

    def __init__(self, model: ModelChoice | None = None, *, weights_needed: bool = True) -> None:
        self.images: tuple[LayerRef, ...] = ()
        self.outputs: tuple[LayerRef, ...] = ()
        self.image: str | None = None
        self.output: str | None = None
        self.model = model or ModelChoice()
        self.runtime = ""
        self.intensity: IntensityChoice = "percentile"
        self.contrast_limits: tuple[float, float] | None = None
        self.tool: Tool = "positive"
        self.plane: Plane | None = None
        self.no_plane = READY
        self.prompts = PromptSet()
        self.response: PredictResponse | None = None
        self.candidate = 0
        self.generation = 0
        self.message = READY
        self.busy = False
        self.progress: Progress | None = None
        self._history: list[PromptSet] = []
        self._commits: list[Commit] = []
        self._awaited = 0
        self._commit_wanted = False
        self._weights_needed = weights_needed

    # --- what to work on ---------------------------------------------------------------------

    def set_layers(self, images: tuple[LayerRef, ...], outputs: tuple[LayerRef, ...]) -> None:
        """The layers that can be chosen now; a chosen one that is gone is given up."""
        self.images, self.outputs = images, outputs
        if self.image not in {ref.token for ref in images}:
            self.image = images[-1].token if images else None
        if self.output not in {ref.token for ref in outputs}:
            self.output = None
        self.layers_changed.emit()

    def choose_image(self, token: str | None) -> None:
        """Work on another image layer; prompts of the old one are dropped."""
        if token != self.image:
            self.image = token
            self.output = None
            self._drop_prompts()
            self.layers_changed.emit()

    def choose_output(self, token: str | None) -> None:
        """Commit to this Labels layer; None makes a new one at the first commit."""
        if token != self.output:
            self.output = token
            self.layers_changed.emit()

    def set_plane(self, plane: Plane | None, reason: str = "") -> None:
        """The plane in view, or None and the reason why there is none to work on."""
        same = None if self.plane is None else self.plane.key
        if plane is not None and plane.key == same:
            return
        self.plane, self.no_plane = plane, reason
        self._show(None)
        if self.prompts or plane is None:
            self.refresh()

    def choose_model(self, choice: ModelChoice) -> None:
        """Use another model from the next prediction on."""
        if choice != self.model:
            self.model, self.runtime = choice, ""
            self.model_changed.emit()
            self.refresh()

    @property
    def spec(self) -> ModelSpec:
        """Registry entry of the chosen model."""
        return get_spec(self.model.name)

    @property
    def weights_here(self) -> bool:
        """Whether the model can run without a download."""
        if not self._weights_needed or self.model.weights is not None:
            return True
        return find(self.spec) is not None

    def request_download(self) -> None:
        """Fetch the chosen model's weights: only ever on the user's word."""
        self.download_requested.emit(self.spec)

    def downloaded(self) -> None:
        """The weights have come: go on with what waits for them."""
        self.say(f"{self.spec.title} is ready.")
        self.model_changed.emit()
        self.refresh()

    def choose_intensity(self, choice: IntensityChoice) -> None:
        """Change how pixel values become what the model sees."""
        if choice not in get_args(IntensityChoice):
            raise ValueError(f"intensity is {choice!r}; it must be of {get_args(IntensityChoice)}.")
        if choice != self.intensity:
            self.intensity = choice
            self.intensity_changed.emit()
            self.refresh()

    def intensity_value(self) -> Intensity:
        """The choice as core takes it. Colour images have no contrast limits: percentiles then."""
        if self.intensity == "contrast limits":
            return self.contrast_limits or "percentile"
        return self.intensity

    def request_picture(self) -> None:
        """Ask for a layer that shows what the model sees."""
        if self.plane is None:
            self.say(self.no_plane)
        else:
            self.picture_requested.emit(self.plane, self.intensity_value())

    # --- prompts -----------------------------------------------------------------------------

    def choose_tool(self, tool: Tool) -> None:
        """What the next click makes. Always emits: choosing again brings the layer to the front."""
        self.tool = tool
        self.tool_changed.emit()

    def set_prompts(self, prompts: PromptSet) -> None:
        """The user has edited prompts in the layers."""
        if prompts == self.prompts:
            return
        self._history.append(self.prompts)
        self.prompts = prompts
        self._commit_wanted = False
        self.prompts_changed.emit()
        self.refresh()

    def undo_prompt(self) -> None:
        """Take back the last edit of a prompt."""
        if not self._history:
            self.say("There is no prompt to undo.")
            return
        self._replace(self._history.pop())

    def clear(self) -> None:
        """Drop all prompts and the preview; one undo brings them back."""
        if self.prompts:
            self._history.append(self.prompts)
            self._replace(PromptSet())
            self.say(READY)

    @property
    def can_undo_prompt(self) -> bool:
        """Whether there is an edit of a prompt to take back."""
        return bool(self._history)

    def refresh(self) -> None:
        """Ask for the masks of the present prompts; whatever is still on its way is outdated."""
        self.generation += 1
        if self.plane is None:
            self._show(None)
            self.say(self.no_plane)
            return
        placed = place(self.prompts, self.plane)
        if placed.prompts is None:
            self._show(None)
            self.say(placed.note or READY)
        elif not self.weights_here:
            self._show(None)
            self.say(f"The weights of {self.spec.title} are not on this computer: {_HOW_TO_GET}")
        else:
            note = " ".join(filter(None, (placed.note, size_note(self.plane.size))))
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
                )
            )

    # --- masks -------------------------------------------------------------------------------

    def accept(self, response: PredictResponse) -> None:
        """Masks have come; those of an older request are dropped."""
        if response.generation != self.generation:
            return
        self.candidate = response.best
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
        self.say(message)

    def cancelled(self) -> None:
        """The request in work was cancelled by the user."""
        self._awaited, self._commit_wanted = 0, False
        self.say("Cancelled. The prompts are still there: edit one to try again.")

    @property
    def preview(self) -> tuple[MaskPatch, ...]:
        """The masks in view, one an object."""
        if self.response is None:
            return ()
        return tuple(c[min(self.candidate, len(c) - 1)] for c in self.response.objects)

    @property
    def scores(self) -> tuple[float, ...]:
        """Scores of the candidates of a single object; empty for several objects."""
        if self.response is None or len(self.response.objects) != 1:
            return ()
        return tuple(patch.score for patch in self.response.objects[0])

    def choose_candidate(self, index: int) -> None:
        """Show another candidate."""
        if 0 <= index < len(self.scores) and index != self.candidate:
            self.candidate = index
            self.preview_changed.emit()

    def step_candidate(self, step: int = 1) -> None:
        """Show the next candidate, round and round."""
        if len(self.scores) > 1:
            self.choose_candidate((self.candidate + step) % len(self.scores))
        elif self.response is not None:
            self.say("There is one mask only: candidates are for a single click.")

    # --- commit ------------------------------------------------------------------------------

    def commit(self) -> None:
        """Write the masks in view to the output; waits for the answer if it is on its way."""
        waiting = self._awaited == self.generation and self.generation > 0
        current = self.response is not None and self.response.generation == self.generation
        if waiting and not current:
            self._commit_wanted = True
            self.say("Will be kept as soon as the mask is there ...")
            return
        self._commit_wanted = False
        patches = tuple(patch for patch in self.preview if patch.mask.size)
        if not patches or self.response is None:
            self.say("There is no mask to keep yet. " + READY)
            return
        self.commit_requested.emit(Commit(self.response.plane, patches, self.prompts))

    def committed(self, commit: Commit, *, message: str) -> None:
        """The layers have written a commit: on to the next object."""
        self._commits.append(commit)
        del self._commits[:-COMMITS_KEPT]
        if commit.prompts is None:
            self.prompts_changed.emit()  # they have not, but what can be undone has
        else:
            self._drop_prompts()
        self.say(message)

    @property
    def can_undo_commit(self) -> bool:
        """Whether there is a commit to take back."""
        return bool(self._commits)

    def undo_commit(self) -> None:
        """Take the last commit out of the output again; its prompts come back."""
        if not self._commits:
            self.say("There is no commit to undo.")
            return
        commit = self._commits.pop()
        self.undo_commit_requested.emit(commit)
        if commit.prompts is None:
            self.prompts_changed.emit()
            self.say("The last objects are out of the labels again.")
        else:
            self._history.clear()
            self._replace(commit.prompts)

    def undo(self) -> None:
        """Take back the last edit of a prompt or, where there is none, the last commit."""
        if self._history:
            self.undo_prompt()
        else:
            self.undo_commit()

    # --- jobs and messages -------------------------------------------------------------------

    def set_job(self, *, busy: bool, progress: Progress | None = None) -> None:
        """What the workers report."""
        self.busy, self.progress = busy, progress if busy else None
        self.job_changed.emit()

    def cancel(self) -> None:
        """Ask the workers to stop."""
        self.generation += 1
        self.cancel_requested.emit()

    def set_runtime(self, line: str) -> None:
        """What the model has run on."""
        if line != self.runtime:
            self.runtime = line
            self.model_changed.emit()

    def say(self, message: str) -> None:
        """Tell the user."""
        self.message = message
        self.message_changed.emit(message)

    def close(self) -> None:
        """Disconnect everybody: the window is gone."""
        for name, value in vars(type(self)).items():
            if isinstance(value, Signal):
                getattr(self, name).disconnect()

    def _show(self, response: PredictResponse | None) -> None:
        if response is not None or self.response is not None:
            self.response = response
            self.preview_changed.emit()

    def _replace(self, prompts: PromptSet) -> None:
        self.prompts = prompts
        self.prompts_replaced.emit(prompts)
        self.prompts_changed.emit()
        self.refresh()

    def _drop_prompts(self) -> None:
        self._history.clear()
        self._replace(PromptSet())


_HOW_TO_GET = "press Download in the dock, or choose another model."


def size_note(size: tuple[int, int]) -> str:
    """What to know about a plane that the model can only see much reduced."""
    if max(size) <= LARGE_SIDE:
        return ""
    return (
        f"This image is {size[0]} x {size[1]}: the model sees it much reduced, small objects may be"
        " missed. A crop works better."
    )


def with_edit(commit: Commit, edit: Any) -> Commit:
    """The commit as written."""
    return replace(commit, edit=edit)
