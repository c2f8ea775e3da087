"""Undo and redo of any number of steps, in the order in which they happened.

A :class:`Step` is what changed in a document, both ways: prompts, the object that is open, records
of objects, labels. Knows nothing of who made it.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_sam._annotated import ObjectRecord
from napari_sam._kinds import Kinds
from napari_sam._label_edit import NO_EDIT, LabelEdit
from napari_sam._prompt_set import NO_PROMPTS, PromptSet

STEPS_KEPT = 1000


@dataclass(frozen=True)
class Draft:
    """What is being drawn: prompts not yet kept, and the object that they will replace, if any."""

    prompts: PromptSet = NO_PROMPTS
    opened: int | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """One thing that the user did.

    Attributes
    ----------
    name
        What it was, a word for the journal and for "undo ...".
    draft
        Before and after.
    objects
        Records that changed: number -> (before, after), None where there is none.
    edit
        Pixels that changed.
    details
        JSON values: all that is needed to do the same again, with another model.
    kinds
        Classes before and after; None: no other than before.
    """

    name: str
    draft: tuple[Draft, Draft]
    objects: Mapping[int, tuple[ObjectRecord | None, ObjectRecord | None]] = field(
        default_factory=dict
    )
    edit: LabelEdit = NO_EDIT
    details: Mapping[str, Any] = field(default_factory=dict)
    kinds: tuple[Kinds, Kinds] | None = None


class History:
    """Steps that can be undone, and undone ones that can be redone."""

    def __init__(self, kept: int | None = STEPS_KEPT) -> None:
        self._done: deque[Step] = deque(maxlen=kept)
        self._undone: list[Step] = []

    def push(self, step: Step) -> None:
        """Something has been done: what was undone before is gone for good."""
        self._done.append(step)
        self._undone.clear()

    def undo(self) -> Step | None:
        """The step to take back, which can then be redone; None if there is none."""
        if not self._done:
            return None
        self._undone.append(self._done.pop())
        return self._undone[-1]

    def redo(self) -> Step | None:
        """The step to do again; None if there is none."""
        if not self._undone:
            return None
        self._done.append(self._undone.pop())
        return self._done[-1]

    @property
    def next_undo(self) -> Step | None:
        """The step that an undo takes back."""
        return self._done[-1] if self._done else None

    @property
    def next_redo(self) -> Step | None:
        """The step that a redo does again."""
        return self._undone[-1] if self._undone else None

    def __len__(self) -> int:
        return len(self._done)

    def __iter__(self) -> Iterator[Step]:
        return iter(self._done)
