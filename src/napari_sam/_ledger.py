"""Draft, objects and labels of a document, and the steps that led there: done, undone, told.

The part of a document that knows no operation by name. All that changes goes through ``_push``, so
that everything can be undone in the order in which it happened, and told to a journal.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, Protocol

from napari_sam import _operations as operations
from napari_sam._annotated import ObjectRecord
from napari_sam._history import STEPS_KEPT, Draft, History, Step
from napari_sam._kinds import NO_KINDS, Kinds
from napari_sam._label_edit import LabelEdit, LabelImage
from napari_sam._prompt_set import PromptSet
from napari_sam._survey import joined
from napari_sam._survey import survey as objects_in
from napari_sam.errors import EditError

Facts = Mapping[int, Mapping[str, Any]]  # number -> what its record says from now on


class Recorder(Protocol):
    """Who is told of everything that happens; a journal on disk."""

    def step(self, step: Step) -> None:
        """Something was done."""
        ...

    def turn(self, direction: Literal["undo", "redo"]) -> None:
        """The last step was taken back, or done again."""
        ...


class Ledger:
    """What a document is and was.

    Parameters
    ----------
    labels
        What is drawn on; may come later (:meth:`attach`), but before the first object.
    kept
        How many steps can be undone; None: all.
    """

    def __init__(self, labels: LabelImage | None = None, *, kept: int | None = STEPS_KEPT) -> None:
        self.labels = labels
        self.draft = Draft()
        self.objects: dict[int, ObjectRecord] = {}
        self.kinds = NO_KINDS
        self.history = History(kept)
        self.recorder: Recorder | None = None
        self.version = 0  # grows with each step, also with one that is taken back
        self.listed: set[tuple[int, ...]] | None = None  # planes, of labels not listed at once

    @property
    def prompts(self) -> PromptSet:
        """The prompts that are not kept yet."""
        return self.draft.prompts

    @property
    def next_number(self) -> int:
        """The label that a new object gets."""
        return max(self._labels().highest(), *self.objects, 0, 0) + 1

    def attach(self, labels: LabelImage, *, survey: bool = True, by_plane: bool = False) -> None:
        """Draw on these labels; objects that are there already are listed.

        With ``by_plane`` they are not: each plane is listed when it comes into view
        (:meth:`enlist`).
        """
        self.labels = labels
        self.listed = set() if by_plane else None
        if survey and not by_plane:
            self.objects = objects_in(labels, self._axes())

    def enlist(self, plane: tuple[int, ...], records: Mapping[int, ObjectRecord]) -> None:
        """Objects that are on a plane (its place on each axis; -1 on its own two). No step."""
        if self.listed is None or plane in self.listed:
            return
        self.listed.add(plane)
        for number, found in records.items():
            old = self.objects.get(number)
            if old is None:
                self.objects[number] = found
            elif not _holds(old, found):  # else a step has counted these pixels
                self.objects[number] = joined(old, found)

    # --- undo --------------------------------------------------------------------------------

    def undo(self) -> Step | None:
        """Take the last step back; None if there is none."""
        step = self.history.undo()
        if step is not None:
            self._go(step, 0, step.edit.inverse())
            self._tell("undo")
        return step

    def redo(self) -> Step | None:
        """Do the last undone step again; None if there is none."""
        step = self.history.redo()
        if step is not None:
            self._go(step, 1, step.edit)
            self._tell("redo")
        return step

    def apply(self, step: Step) -> None:
        """Do a step that was done before, as a journal has it."""
        self.history.push(step)
        self._go(step, 1, step.edit)

    def _tell(self, direction: Literal["undo", "redo"]) -> None:
        if self.recorder is not None:
            self.recorder.turn(direction)

    def _go(self, step: Step, side: int, edit: LabelEdit) -> None:
        self.version += 1
        if edit:
            edit.apply(self._labels())
            self.listed = None if self.listed is None else set()
        self.draft = step.draft[side]
        if step.kinds is not None:
            self.kinds = step.kinds[side]
        self._set({number: both[side] for number, both in step.objects.items()})

    def _set(self, records: Mapping[int, ObjectRecord | None]) -> None:
        for number, record in records.items():
            if record is None:
                self.objects.pop(number, None)
            else:
                self.objects[number] = record

    # --- a new step --------------------------------------------------------------------------

    def _push(
        self,
        name: str,
        details: Mapping[str, Any] | None = None,
        *,
        draft: Draft | None = None,
        edit: LabelEdit | None = None,
        named: Iterable[ObjectRecord] = (),
        facts: Facts | None = None,
        axes: tuple[int, int] | None = None,
        kinds: Kinds | None = None,
        written: bool = False,
    ) -> None:
        """Do something: write the pixels, set the records, remember, tell.

        ``named`` are looked at, whether the edit touches them or not; ``written``: the pixels are
        there already. What nobody sees any more is gone, unless ``facts`` say that it lies beneath
        others.
        """
        self.version += 1
        edit = edit or LabelEdit()
        if edit and not written:
            edit.apply(self._labels())
        records = self._measured(edit, named, axes)
        for number, fact in (facts or {}).items():
            record = records.get(number, self.objects.get(number))
            if record is None and fact.get("covered") is not None:
                record = self.objects.get(number) or _unknown(number, axes or self._axes())
                record = replace(record, area=0)
            if record is not None:
                records[number] = _placed(record.changed(**fact))
        before = {number: self.objects.get(number) for number in records}
        self._set(records)
        drafts = (self.draft, self._still_open(draft or self.draft))
        self.draft = drafts[1]
        pairs = {n: (before[n], after) for n, after in records.items() if before[n] != after}
        classes = None if kinds is None or kinds == self.kinds else (self.kinds, kinds)
        self.kinds = self.kinds if classes is None else classes[1]
        step = Step(name, drafts, pairs, edit, details or {}, classes)
        self.history.push(step)
        if self.recorder is not None:
            self.recorder.step(step)

    def _measured(
        self, edit: LabelEdit, named: Iterable[ObjectRecord], axes: tuple[int, int] | None
    ) -> dict[int, ObjectRecord | None]:
        numbers = [record.number for record in named]
        if not edit and not numbers:
            return {}
        own = axes or self._axes()
        return operations.measure(self._labels(), edit, self.objects, own, named=numbers)

    def _still_open(self, draft: Draft) -> Draft:
        """An object that is gone cannot be replaced any more."""
        gone = draft.opened is not None and draft.opened not in self.objects
        return replace(draft, opened=None) if gone else draft

    def _labels(self) -> LabelImage:
        if self.labels is None:
            raise EditError("There are no labels yet: keep an object first.")
        return self.labels

    def _axes(self) -> tuple[int, int]:
        ndim = len(self._labels().shape)
        return (ndim - 2, ndim - 1)

    def _record(self, number: int | None) -> ObjectRecord:
        if number is None:
            raise EditError("Select an object first: key S over it, or a row of the table.")
        if number not in self.objects:
            raise EditError(f"There is no object {number} (any more).")
        return self.objects[number]

    def _records(self, numbers: Iterable[int]) -> list[ObjectRecord]:
        records = [self._record(number) for number in dict.fromkeys(numbers)]
        if not records:
            raise EditError("Select an object first: key S over it, or a row of the table.")
        return records


def _holds(record: ObjectRecord, part: ObjectRecord) -> bool:
    pairs = zip(record.region, part.region, strict=True)
    return bool(record.area) and all(a[0] <= b[0] and b[1] <= a[1] for a, b in pairs)


def _unknown(number: int, axes: tuple[int, int]) -> ObjectRecord:
    return ObjectRecord(number, 0, (), axes)


def _placed(record: ObjectRecord) -> ObjectRecord:
    """An object that lies wholly beneath others is where these pixels are."""
    if record.area or record.covered is None:
        return record
    return replace(record, region=tuple((part.start, part.stop) for part in record.covered.region))
