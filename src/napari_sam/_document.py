"""What can be done in an annotation, each as one step: prompts, objects, what a brush has drawn.

Knows no window and no model. How steps are kept, undone and told is the ledger's business.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from napari_sam import _operations as operations
from napari_sam._annotated import ObjectRecord
from napari_sam._classified import Classified
from napari_sam._covered import Covered, both
from napari_sam._history import Draft
from napari_sam._kinds import Kinds, with_kind
from napari_sam._label_edit import LabelEdit
from napari_sam._ledger import Facts
from napari_sam._operations import Drawing, Mode, Position, Reshape
from napari_sam._orders import Prepared
from napari_sam._overlaps import beneath, changed_cover, losses, reveal
from napari_sam._prompt_set import NO_PROMPTS, MaskPrompt, PromptSet
from napari_sam.errors import EditError


@dataclass(frozen=True)
class Made:
    """How a mask came about: goes into the record of its object."""

    score: float | None = None
    candidate: int = 0
    prompts: PromptSet = NO_PROMPTS
    model: str = ""


class Document(Classified):
    """One output and its history."""

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

    def refine(self, number: int, mask: MaskPrompt) -> None:
        """Begin with an object as it is: its shape is a prompt, and the next commit replaces it.

        Raises
        ------
        EditError
            There is no such object.
        """
        draft = Draft(PromptSet(mask=mask), self._record(number).number)
        self._push("refine", {"number": number}, draft=draft)

    # --- objects -----------------------------------------------------------------------------

    def commit(
        self,
        drawing: Drawing,
        made: Sequence[Made],
        *,
        mode: Mode = "new",
        target: int | None = None,
        overwrite: bool = False,
        first: int | None = None,
        axes: tuple[int, int] | None = None,
        clear: bool = True,
        kind: str = "",
        overlaps: bool = False,
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
        first
            The label of the first new object, if it and the next ones are free; None: after all.
        axes
            Of the plane that was drawn on.
        clear
            Whether the draft is done with.
        kind
            Class of new objects; empty: none.
        overlaps
            Whether who does not get a pixel remembers it.
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
        overwrite = overwrite and not self._labels().locked
        if self.draft.opened is not None and clear:
            mode, target = "replace", self.draft.opened
        how = {"mode": mode, "target": target, "overwrite": overwrite, "overlaps": overlaps}
        said = {**how, "kind": kind, **(details or {})}
        draft = Draft() if clear else self.draft
        own = None if mode == "new" else target
        hidden: dict[int, Covered] = {}
        if overlaps and mode == "new":
            hidden.update(drawing.among)
        if overlaps and not overwrite:
            below = beneath(self._labels().read(drawing.region), drawing, own)
            hidden |= {n: both(hidden.get(n), one) or one for n, one in below.items()}
        if mode == "new":
            begin = self._first(first, len(made))
            edit, facts = self._as_new(drawing, made, begin, hidden, overwrite=overwrite, kind=kind)
        else:
            record = self._record(target)
            edit, facts = self._upon(record, drawing, made[0], mode, hidden, overwrite=overwrite)
        given = list(facts)
        if overlaps and overwrite:
            lost = losses(edit, self.objects)
            facts |= {n: {**facts.get(n, {}), "covered": one} for n, one in lost.items()}
        kinds = with_kind(self.kinds, kind) if mode == "new" else None
        self._push("commit", said, draft=draft, edit=edit, facts=facts, axes=axes, kinds=kinds)
        return given

    def _as_new(
        self,
        drawing: Drawing,
        made: Sequence[Made],
        first: int,
        hidden: Mapping[int, Covered],
        *,
        overwrite: bool,
        kind: str,
    ) -> tuple[LabelEdit, dict[int, dict[str, Any]]]:
        """New labels from ``first`` on, and what their records say."""
        edit, numbers = operations.put_new(
            self._labels(), drawing, first, overwrite=overwrite, beneath=hidden
        )
        return edit, {
            label: {**vars(made[one - 1]), "kind": kind, "covered": hidden.get(one)}
            for one, label in numbers.items()
        }

    def _upon(
        self,
        record: ObjectRecord,
        drawing: Drawing,
        made: Made,
        mode: Mode,
        hidden: Mapping[int, Covered],
        *,
        overwrite: bool,
    ) -> tuple[LabelEdit, dict[int, dict[str, Any]]]:
        """Another shape of an object, and what its record says."""
        covered = changed_cover(record, drawing, hidden, mode)
        stays = covered is not None
        edit = operations.put_on(
            self._labels(), drawing, record, mode, overwrite=overwrite, beneath=stays
        )
        told = vars(made) if mode == "replace" else {}
        return edit, {record.number: {**told, "covered": covered}}

    def _first(self, wanted: int | None, count: int) -> int:
        """The label that the first of some new objects gets."""
        free = wanted is not None and self.objects.keys().isdisjoint(range(wanted, wanted + count))
        return wanted if free and wanted is not None else self.next_number

    def put(
        self,
        prepared: Prepared,
        name: str,
        *,
        facts: Facts,
        kinds: Kinds | None = None,
        kind: str = "",
        overlaps: bool = False,
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
        lost = losses(prepared.edit, self.objects) if overlaps else {}
        facts = {**facts, **{n: {**facts.get(n, {}), "covered": one} for n, one in lost.items()}}
        wanted = with_kind(self.kinds if kinds is None else kinds, kind)
        edit = prepared.edit
        self._push(name, details, edit=edit, facts=facts, axes=axes, kinds=wanted, written=True)
        return True

    def propagate(
        self,
        edit: LabelEdit,
        facts: Facts,
        *,
        axes: tuple[int, int],
        details: Mapping[str, Any],
        clear: bool,
    ) -> None:
        """Objects that were carried through a stack: one step, its pixels are there already.

        Parameters
        ----------
        edit
            What has changed on all planes.
        facts
            What the records of the objects say from now on.
        axes
            Of the planes.
        details
            For the journal.
        clear
            Whether the draft is done with.
        """
        draft = Draft() if clear else None
        kinds = with_kind(self.kinds, next((str(f.get("kind", "")) for f in facts.values()), ""))
        self._push(
            "propagate", details, draft=draft, edit=edit, facts=facts, axes=axes, kinds=kinds,
            written=True,
        )  # fmt: skip

    def stroke(self, edit: LabelEdit, axes: tuple[int, int] | None = None) -> None:
        """Brush or eraser have already written this."""
        if edit:
            self._push("stroke", edit=edit, axes=axes, written=True)

    def delete(self, numbers: Iterable[int]) -> None:
        """Take objects out of the labels."""
        records = self._records(numbers)
        edit = operations.replace_labels(self._labels(), records, 0)
        gone = [one.number for one in records]
        staying = [one for number, one in self.objects.items() if number not in gone]
        edit, left = reveal(self._labels(), edit, staying)
        facts = {number: {"covered": one} for number, one in left.items()}
        self._push("delete", {"numbers": gone}, edit=edit, named=records, facts=facts)

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
        covered = reduce(both, (one.covered for one in records))
        facts = {into: {**vars(Made()), "covered": covered}}
        self._push("merge", said, edit=edit, named=records, facts=facts)
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
        said = {"number": number, "new": new}
        self._push("renumber", said, edit=edit, named=[record], facts={new: kept})

    def at(self, position: Position) -> int:
        """The label at a position in pixels; 0 outside."""
        if self.labels is None:
            return 0
        pixel = [round(value) for value in position]
        shape = self.labels.shape
        if not all(0 <= i < n for i, n in zip(pixel, shape, strict=True)):
            return 0
        return int(self.labels.read(tuple(slice(i, i + 1) for i in pixel)).item())


_FACTS = ("score", "kind", "reviewed", "prompts", "candidate", "model", "covered")
