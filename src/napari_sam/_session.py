"""One annotation sitting: prompts, masks, objects, and events when they change. No Qt, no napari.

Panels and layers talk to the session and never to each other. All methods are called in the
window's thread; what a worker needs leaves as a frozen ``PredictRequest``. What was done is kept by
a ``Document``, one for each output; this class asks the model and tells everybody.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

import numpy as np
from psygnal import Signal

from napari_sam._document import Document, Made
from napari_sam._drawing import drawing_of
from napari_sam._history import Step
from napari_sam._label_edit import LabelEdit, LabelImage
from napari_sam._operations import Mode
from napari_sam._predict import MaskPatch, ModelChoice, Origin, Plane
from napari_sam._prompt_set import PromptSet
from napari_sam._prompting import Prompting, Tool
from napari_sam._workplace import READY, IntensityChoice, LayerRef, size_note
from napari_sam.errors import NapariSamError

__all__ = [
    "MODE_TITLES",
    "READY",
    "IntensityChoice",
    "LayerRef",
    "Session",
    "Tool",
    "drawing_of",
    "size_note",
]

MODE_TITLES: dict[Mode, str] = {
    "new": "New object",
    "add": "Add to selected",
    "subtract": "Subtract from selected",
    "replace": "Replace selected",
}
STEP_TITLES = {
    "prompts": "the prompt",
    "clear": "clearing",
    "open": "going back to the object",
    "refine": "beginning with the object",
    "commit": "keeping",
    "stroke": "the brush stroke",
    "delete": "deleting",
    "merge": "merging",
    "split": "splitting",
    "reshape": "the change of shape",
    "renumber": "the new number",
    "describe": "class or review",
    "classes": "the change of classes",
    "load": "loading",
    "propagate": "the propagation",
}


class Session(Prompting):
    """State of one dock. Each dock has its own; none is shared."""

    objects_changed = Signal()
    selection_changed = Signal()
    document_changed = Signal()  # another document, or its first labels
    output_requested = Signal()  # to be answered by ``adopt``

    def __init__(self, model: ModelChoice | None = None, *, weights_needed: bool = True) -> None:
        super().__init__(model, weights_needed=weights_needed)
        self.mode: Mode = "new"
        self.overwrite = False
        self.kind = ""  # of new objects
        self.keep_overlaps = False
        self.selection: tuple[int, ...] = ()
        self.on_document: Callable[[Document], None] | None = None
        self._documents: dict[str, Document] = {}
        self._adopted = False

    # --- documents ---------------------------------------------------------------------------

    @property
    def documents(self) -> tuple[Document, ...]:
        """Of all outputs of this image."""
        return tuple(self._documents.values())

    def _begin_image(self) -> None:
        self.output = None
        self._documents.clear()
        self._work_on(Document())
        self._follow()

    def _begin_output(self) -> None:
        gone = set(self._documents) - {ref.token for ref in self.outputs}
        for token in gone:
            self._documents.pop(token)
        prompts = self.prompts
        known = None if self.output is None else self._documents.get(self.output)
        self._work_on(known or Document())
        self.document.set_prompts(prompts)
        if self.output is not None:
            self._documents[self.output] = self.document
        self._follow()

    def _work_on(self, document: Document) -> None:
        self.document, self.selection = document, ()
        if self.on_document is not None:
            self.on_document(document)
        self.document_changed.emit()

    def adopt(
        self, token: str, labels: LabelImage, *, survey: bool = True, by_plane: bool = False
    ) -> None:
        """The output is there: the chosen layer, or a new one. See :meth:`Document.attach`."""
        self._adopted = True
        if self.document.labels is None:
            self.document.attach(labels, survey=survey, by_plane=by_plane)
            self._documents[token] = self.document
            if self.output != token:
                self.output = token
                self.layers_changed.emit()
            self.document_changed.emit()
            self.objects_changed.emit()

    def new_labels(self) -> LabelImage | None:
        """A new output and its empty labels; None: there is no image."""
        if self.output is None:
            self._begin_output()
        else:
            self.choose_output(None)
        return self.document.labels if self.has_output() else None

    def load(self, document: Document) -> None:
        """Go on with a document that was restored; its labels are the chosen output's."""
        self._work_on(document)
        if self.output is not None:
            self._documents[self.output] = document
        self._follow()

    def forget(self, token: str) -> None:
        """An output has other pixels by now: begin anew with it. Its journal stays on disk."""
        self._documents.pop(token, None)
        if token == self.output:
            self._begin_output()

    def has_output(self) -> bool:
        """Whether there are labels to draw on; asks for them where there are none."""
        self._adopted = False
        self.output_requested.emit()
        return self._adopted and self.document.labels is not None

    def clear(self) -> None:
        """Drop all prompts and the preview; one undo brings them back."""
        if self.prompts or self.document.draft.opened is not None:
            self.document.clear()
            self._follow()
            self.say(READY)

    # --- keep --------------------------------------------------------------------------------

    def set_mode(self, mode: Mode) -> None:
        """What Enter does with the mask: a new object, or a change of the selected one."""
        if mode not in get_args(Mode):
            raise ValueError(f"mode is {mode!r}; it must be of {get_args(Mode)}.")
        self.mode = mode
        self.prompts_changed.emit()

    def step_mode(self) -> None:
        """The next of the modes, round and round."""
        modes = get_args(Mode)
        self.set_mode(modes[(modes.index(self.mode) + 1) % len(modes)])
        self.say(f"Enter: {MODE_TITLES[self.mode].lower()}.")

    def set_keep_overlaps(self, keep: bool) -> None:
        """Whether an object remembers its pixels on which others lie."""
        self.keep_overlaps = keep
        self.prompts_changed.emit()

    def set_kind(self, kind: str) -> None:
        """The class of new objects from now on; empty: none."""
        self.kind = kind.strip()
        self.prompts_changed.emit()

    def set_overwrite(self, overwrite: bool) -> None:
        """Whether a mask may take pixels of other objects."""
        self.overwrite = overwrite
        self.prompts_changed.emit()

    def commit(self) -> None:
        """Write the masks in view to the output; waits for the answer if it is on its way."""
        waiting = self._awaited == self.generation and self.generation > 0
        current = self.response is not None and self.response.generation == self.generation
        if waiting and not current:
            self._commit_wanted = True
            self.say("Will be kept as soon as the mask is there ...")
            return
        self._commit_wanted = False
        patches = [patch for patch in self.preview if patch.mask.size]
        if not patches or self.response is None:
            self.say("There is no mask to keep yet. " + READY)
        elif self.has_output():
            self._attempt(lambda: self._keep(patches))

    def _keep(self, patches: Sequence[MaskPatch]) -> str:
        assert self.response is not None
        plane = self.response.plane
        single = len(patches) == 1
        made = [
            Made(
                score=patch.score,
                candidate=self.candidate if single else 0,
                prompts=self.prompts if single else PromptSet(),
                model=self.model.name,
            )
            for patch in patches
        ]
        opened = self.document.draft.opened is not None
        numbers = self.document.commit(
            drawing_of(plane, patches),
            made,
            mode=self.mode,
            target=self.selection[0] if self.selection else None,
            overwrite=self.overwrite,
            axes=plane.axes,
            kind=self.kind,
            overlaps=self.keep_overlaps,
            details={"each": self.each, "candidate": self.candidate, **self.provenance(plane)},
        )
        if not numbers:
            return (
                "Nothing is kept: all of it is labelled already. Overwrite others or keep overlaps."
            )
        what = ", ".join(map(str, numbers))
        if not any(self.document.objects[n].area for n in numbers):
            return f"Kept as label {what}, wholly beneath others."
        return (
            f"Label {what} is changed."
            if opened or self.mode != "new"
            else f"Kept as label {what}."
        )

    def provenance(self, plane: Plane, origin: Origin | None = None) -> dict[str, Any]:
        """What it takes to ask the same of a model again; None: who has answered the prompts."""
        if origin is None:
            weights = "" if self.response is None else self.response.weights
            origin = Origin(self.model.name, weights, self.intensity_value())
        return {
            **origin.to_json(),
            "plane": {"axes": list(plane.axes), "index": list(plane.index)},
            **({} if self.channels is None else {"channels": self.channels}),
        }

    # --- objects -----------------------------------------------------------------------------

    def select(self, numbers: Iterable[int]) -> None:
        """Choose objects: what can be done to objects is done to these."""
        chosen = tuple(n for n in dict.fromkeys(numbers) if n in self.document.objects)
        if chosen != self.selection:
            self.selection = chosen
            self.selection_changed.emit()

    @property
    def outlines(self) -> list[MaskPatch]:
        """The selected objects on the plane in view."""
        plane, labels = self.plane, self.document.labels
        if plane is None or labels is None:
            return []
        patches = []
        for number in self.selection:
            record = self.document.objects[number]
            region = list(record.whole)
            hidden = [axis for axis in range(len(region)) if axis not in plane.axes]
            if all(region[a].start <= plane.index[a] < region[a].stop for a in hidden):
                for axis in hidden:
                    region[axis] = slice(plane.index[axis], plane.index[axis] + 1)
                values = labels.read(tuple(region))
                mask = values == number
                if record.covered is not None:
                    mask |= record.covered.on(tuple(region)) & (values != 0)
                mask = np.squeeze(mask, tuple(hidden))
                y, x = (region[axis].start for axis in plane.axes)
                patches.append(MaskPatch((y, x), mask, 0.0))
        return patches

    def do(self, what: Callable[[Document], Any], message: str = "") -> bool:
        """Do something to the document and tell everybody; an error becomes a sentence."""

        def act() -> str:
            what(self.document)
            return message or self.message

        return self._attempt(act)

    def stroke(self, edit: LabelEdit) -> None:
        """Brush or eraser have changed the output."""
        axes = None if self.plane is None else self.plane.axes
        self.document.stroke(edit, axes)
        self._follow()

    def open_object(self, number: int | None = None) -> None:
        """Go back to an object, or to the selected one: its prompts can be edited again."""
        chosen = number if number is not None else next(iter(self.selection), None)
        if chosen is None:
            self.say("Select an object first: key S over it, or a row of the table.")
            return
        record = self.document.objects.get(chosen)
        self._wanted_candidate = None if record is None else record.candidate
        self.do(lambda document: document.open(chosen))
        self._wanted_candidate = None if self._idle else self._wanted_candidate
        if record is not None and self.document.draft.opened == chosen:
            self.select([chosen])

    def undo(self) -> None:
        """Take back the last thing that was done, whatever it was."""
        step = self.document.undo()
        if step is not None and step.name == "commit":
            self._wanted_candidate = step.details.get("candidate")
        self._turned(step, "undo", "Undone")

    def redo(self) -> None:
        """Do again what was undone last."""
        self._turned(self.document.redo(), "redo", "Done again")

    def _turned(self, step: Step | None, word: str, done: str) -> None:
        self._commit_wanted = False
        if step is None:
            self.say(f"There is nothing to {word}.")
            return
        self._follow()
        if self._idle:
            self._wanted_candidate = None
            self.say(f"{done}: {STEP_TITLES.get(step.name, step.name)}.")

    @property
    def _idle(self) -> bool:
        """Whether no mask is on its way."""
        here = self.response is not None and self.response.generation == self.generation
        return here or self._awaited != self.generation

    @property
    def can_undo(self) -> bool:
        """Whether there is something to take back."""
        return self.document.history.next_undo is not None

    @property
    def can_redo(self) -> bool:
        """Whether there is something to do again."""
        return self.document.history.next_redo is not None

    def _attempt(self, act: Callable[[], str]) -> bool:
        try:
            message = act()
        except (NapariSamError, MemoryError) as error:
            self.say(f"Not done: {error}")
            return False
        self._follow()
        self.say(message)
        return True

    def _follow(self) -> None:
        """The document has changed: tell everybody, and ask for the masks of other prompts."""
        self.select(self.selection)
        self.objects_changed.emit()
        if self.prompts != self._seen:
            self._seen = self.prompts
            self.prompts_replaced.emit(self.prompts)
            self.prompts_changed.emit()
            self.refresh()
        else:
            self.prompts_changed.emit()
