"""What an annotation has come to: the draft, the objects, the labels, and how they came about.

All that changes goes through here as a :class:`~napari_sam._history.Step`, so that everything can
be undone in the order in which it happened, and told to a journal. Knows no window and no model.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from napari_sam import _operations as operations
from napari_sam._annotated import ObjectRecord
from napari_sam._history import STEPS_KEPT, Draft, History, Step
from napari_sam._kinds import NO_KINDS, Kinds, renamed, with_kind, without
from napari_sam._label_edit import LabelEdit, LabelImage
from napari_sam._operations import Drawing, Mode, Position, Reshape
from napari_sam._orders import Prepared
from napari_sam._place import NO_PROMPTS, PromptSet
from napari_sam.errors import EditError


class Recorder(Protocol):
    """Who is told of everything that happens; a journal on disk."""

    def step(self, step: Step) -> None:
        """Something was done."""
        ...

    def turn(self, direction: Literal["undo", "redo"]) -> None:
        """The last step was taken back, or done again."""
        ...


@dataclass(frozen=True)
class Made:
    """How a mask came about: goes into the record of its object."""

    score: float | None = None
    candidate: int = 0
    prompts: PromptSet = NO_PROMPTS
    model: str = ""


class Document:
    """One output and its history.

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

    @property
    def prompts(self) -> PromptSet:
        """The prompts that are not kept yet."""
        return self.draft.prompts

    @property
    def next_number(self) -> int:
        """The label that a new object gets."""
        return max(self._labels().highest(), *self.objects, 0, 0) + 1

    def attach(self, labels: LabelImage, *, survey: bool = True) -> None:
        """Draw on these labels; objects that are there already are listed."""
        self.labels = labels
        if survey:
            self.objects = operations.survey(labels, self._axes())

    # --- the draft ---------------------------------------------------------------------------

    def set_prompts(self, prompts: PromptSet) -> None:
        """The prompts have been edited."""
        if prompts != self.draft.prompts:
            self._push("prompts", draft=replace(self.draft, prompts=prompts))

    def clear(self) -> None:
        """Drop the draft."""
        if self.draft != Draft():
            self._push("clear", draft=Draft())

    def open(self, number: int) -> None:
        """Go back to an object: its prompts are the draft, and the next commit replaces it.

        Raises
        ------
        EditError
            There is no such object, or no prompts of it are known.
        """
        record = self._record(number)
        if not record.prompts:
            raise EditError(
                f"Object {number} has no prompts to go back to: it was drawn by hand, or with"
                " others at once. Select it, and add to it or subtract from it."
            )
        self._push("open", {"number": number}, draft=Draft(record.prompts, number))

    # --- objects -----------------------------------------------------------------------------

    def commit(
        self,
        drawing: Drawing,
        made: Sequence[Made],
        *,
        mode: Mode = "new",
        target: int | None = None,
        overwrite: bool = False,
        axes: tuple[int, int] | None = None,
        clear: bool = True,
        kind: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """Keep masks as labels. An object that is open is replaced, whatever the mode says.

        Parameters
        ----------
        drawing
            Masks 1 to n.
        made
            How each of them came about.
        mode, target
            As new objects, or added to, subtracted from or in place of the object ``target``.
        overwrite
            Whether other objects may lose pixels; never where the labels are locked.
        axes
            Of the plane that was drawn on.
        clear
            Whether the draft is done with.
        kind
            Class of new objects; empty: none.
        details
            For the journal, beside what it is told anyway.

        Returns
        -------
        list of int
            Labels that were given.

        Raises
        ------
        EditError
            There is no such object, nothing is left of it, or there is no room for a label.
        """
        labels = self._labels()
        overwrite = overwrite and not labels.locked
        if self.draft.opened is not None and clear:
            mode, target = "replace", self.draft.opened
        facts: dict[int, Made] = {}
        if mode == "new":
            edit, numbers = operations.put_new(
                labels, drawing, self.next_number, overwrite=overwrite
            )
            facts = {label: made[one - 1] for one, label in numbers.items()}
        else:
            record = self._record(target)
            edit = operations.put_on(labels, drawing, record, mode, overwrite=overwrite)
            if mode == "replace":
                facts = {record.number: made[0]}
        said = {"mode": mode, "target": target, "overwrite": overwrite, "kind": kind}
        self._push(
            "commit",
            {**said, **(details or {})},
            draft=Draft() if clear else self.draft,
            edit=edit,
            facts={
                number: {**vars(fact), **({"kind": kind} if mode == "new" else {})}
                for number, fact in facts.items()
            },
            axes=axes,
            kinds=with_kind(self.kinds, kind if mode == "new" else ""),
        )
        return list(facts) if mode == "new" else [self._record(target).number]

    def put(
        self,
        prepared: Prepared,
        name: str,
        *,
        facts: Mapping[int, Mapping[str, Any]],
        kinds: Kinds | None = None,
        details: Mapping[str, Any] | None = None,
        axes: tuple[int, int] | None = None,
    ) -> bool:
        """Write what a worker has prepared, as one step.

        Returns False, and writes nothing, if the labels there are others by now.
        """
        labels = self._labels()
        if not np.array_equal(labels.read(prepared.region), prepared.before):
            return False
        labels.write(prepared.region, prepared.after)
        self._push(
            name, details, edit=prepared.edit, facts=facts, axes=axes, kinds=kinds, written=True
        )
        return True

    def stroke(self, edit: LabelEdit, axes: tuple[int, int] | None = None) -> None:
        """Brush or eraser have already written this."""
        if edit:
            self._push("stroke", edit=edit, axes=axes, written=True)

    def delete(self, numbers: Iterable[int]) -> None:
        """Take objects out of the labels."""
        records = self._records(numbers)
        edit = operations.replace_labels(self._labels(), records, 0)
        self._push("delete", {"numbers": [one.number for one in records]}, edit=edit)

    def merge(self, numbers: Iterable[int]) -> int:
        """Make one object of several; the first lends its number, its prompts do not stay.

        Raises
        ------
        EditError
            Fewer than two objects.
        """
        records = self._records(numbers)
        if len(records) < 2:
            raise EditError("Select two or more objects to merge them.")
        into = records[0].number
        edit = operations.replace_labels(self._labels(), records, into)
        said = {"numbers": [one.number for one in records]}
        self._push("merge", said, edit=edit, facts={into: vars(Made())})
        return into

    def split(self, points: Sequence[Position]) -> list[int]:
        """Split the object under the first point that lies on one: a part for each point.

        Raises
        ------
        EditError
            No point lies on an object, or not two on the same.
        """
        number = next((n for n in map(self.at, points) if n), 0)
        if not number:
            raise EditError("Put two or more points on one object, then split it.")
        record, first = self._record(number), self.next_number
        edit = operations.split(self._labels(), record, points, first)
        parts = {one.after for one in edit.changes}
        facts = {n: {**vars(Made()), "kind": record.kind} for n in (number, *parts)}
        said = {"points": [list(point) for point in points]}
        self._push("split", said, draft=Draft(), edit=edit, facts=facts)
        return sorted({number, *parts})

    def reshape(
        self, numbers: Iterable[int], how: Reshape, amount: int = 1, *, overwrite: bool = False
    ) -> None:
        """Fill holes, drop islands, smooth, grow, shrink.

        Raises
        ------
        EditError
            Nothing would be left of an object.
        """
        records = self._records(numbers)
        labels = self._labels()
        overwrite = overwrite and not labels.locked
        edit = operations.reshape(labels, records, how, amount, overwrite=overwrite)
        if edit:
            chosen = [one.number for one in records]
            said = {"numbers": chosen, "how": how, "amount": amount, "overwrite": overwrite}
            self._push("reshape", said, edit=edit)

    def renumber(self, number: int, new: int) -> None:
        """Give an object another label.

        Raises
        ------
        EditError
            The label is taken, or the labels cannot hold it.
        """
        record, labels = self._record(number), self._labels()
        if new in self.objects:
            raise EditError(f"There is an object {new} already: merge them, or take another label.")
        if not 0 < new <= labels.largest:
            raise EditError(f"A label is a number from 1 to {labels.largest}; it was {new}.")
        edit = operations.replace_labels(labels, [record], new)
        kept = {key: value for key, value in vars(record).items() if key in _FACTS}
        self._push("renumber", {"number": number, "new": new}, edit=edit, facts={new: kept})

    def describe(
        self, numbers: Iterable[int], *, kind: str | None = None, reviewed: bool | None = None
    ) -> None:
        """Set class or review of objects."""
        said = {"kind": kind, "reviewed": reviewed}
        changes = {key: value for key, value in said.items() if value is not None}
        records = self._records(numbers)
        facts = {one.number: changes for one in records if one.changed(**changes) != one}
        if facts:
            chosen = [one.number for one in records]
            kinds = with_kind(self.kinds, kind or "")
            self._push("describe", {"numbers": chosen, **changes}, facts=facts, kinds=kinds)

    def set_kind(self, name: str, colour: str = "") -> None:
        """Have a class, or give it another colour.

        Raises
        ------
        EditError
            The colour is not written as ``#rrggbb``.
        """
        kinds = with_kind(self.kinds, name, colour)
        if kinds != self.kinds:
            self._push("classes", {"name": name, "colour": kinds[name]}, kinds=kinds)

    def rename_kind(self, old: str, new: str) -> None:
        """Give a class and all its objects another name.

        Raises
        ------
        EditError
            There is no such class, or the name is empty or taken.
        """
        said, facts = {"name": old, "new": new}, self._of_kind(old, new)
        self._push("classes", said, kinds=renamed(self.kinds, old, new), facts=facts)

    def remove_kind(self, name: str) -> None:
        """Forget a class; its objects have none.

        Raises
        ------
        EditError
            There is no such class.
        """
        said, facts = {"name": name, "new": ""}, self._of_kind(name, "")
        self._push("classes", said, kinds=without(self.kinds, name), facts=facts)

    def _of_kind(self, old: str, new: str) -> dict[int, dict[str, str]]:
        """Facts of the objects of a class that get another."""
        return {n: {"kind": new} for n, record in self.objects.items() if record.kind == old}

    def at(self, position: Position) -> int:
        """The label at a position in pixels; 0 outside."""
        if self.labels is None:
            return 0
        pixel = [round(value) for value in position]
        shape = self.labels.shape
        if not all(0 <= i < n for i, n in zip(pixel, shape, strict=True)):
            return 0
        return int(self.labels.read(tuple(slice(i, i + 1) for i in pixel)).item())

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

    def _push(
        self,
        name: str,
        details: Mapping[str, Any] | None = None,
        *,
        draft: Draft | None = None,
        edit: LabelEdit | None = None,
        facts: Mapping[int, Mapping[str, Any]] | None = None,
        axes: tuple[int, int] | None = None,
        kinds: Kinds | None = None,
        written: bool = False,
    ) -> None:
        """Do something: write the pixels, set the records, remember, tell."""
        self.version += 1
        edit = edit or LabelEdit()
        records: dict[int, ObjectRecord | None] = {}
        if edit:
            if not written:
                edit.apply(self._labels())
            records = operations.measure(self._labels(), edit, self.objects, axes or self._axes())
        for number, fact in (facts or {}).items():
            record = records.get(number, self.objects.get(number))
            if record is not None:
                records[number] = record.changed(**fact)
        before = {number: self.objects.get(number) for number in records}
        self._set(records)
        drafts = (self.draft, self._still_open(draft or self.draft))
        self.draft = drafts[1]
        pairs = {n: (before[n], after) for n, after in records.items() if before[n] != after}
        classes = None if kinds is None or kinds == self.kinds else (self.kinds, kinds)
        if classes is not None:
            self.kinds = classes[1]
        step = Step(name, drafts, pairs, edit, details or {}, classes)
        self.history.push(step)
        if self.recorder is not None:
            self.recorder.step(step)

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


_FACTS = ("score", "kind", "reviewed", "prompts", "candidate", "model")
