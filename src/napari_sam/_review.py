"""The tab Objects: which objects are listed, what is done to the chosen ones, and the review.

Talks to the session, which has the document and the selection. No Qt, no napari. All methods are
called in the window's thread.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

from psygnal import Signal

from napari_sam._annotated import Filter, ObjectRecord
from napari_sam._drawing import in_all_axes
from napari_sam._operations import Reshape
from napari_sam._prompt_set import MaskPrompt
from napari_sam._session import Session

ALL_SEEN = "All objects are reviewed."


class Review:
    """State of the tab Objects of one dock.

    Parameters
    ----------
    session
        The session of the same dock.
    """

    list_changed = Signal()
    goto_requested = Signal(object)  # ObjectRecord

    def __init__(self, session: Session) -> None:
        self.session = session
        self.filter = Filter()
        self.by_kind = False  # objects are shown in the colours of their classes
        session.objects_changed.connect(self.list_changed.emit)
        session.document_changed.connect(self.list_changed.emit)

    # --- the list ----------------------------------------------------------------------------

    def set_filter(self, **changes: Any) -> None:
        """List other objects."""
        wanted = replace(self.filter, **changes)
        if wanted != self.filter:
            self.filter = wanted
            self.list_changed.emit()

    @property
    def rows(self) -> tuple[ObjectRecord, ...]:
        """The objects that are listed."""
        document = self.session.document
        if document.labels is None:
            return ()
        return self.filter.pick(document.objects.values(), document.labels.shape)

    @property
    def kinds(self) -> list[str]:
        """The classes that there are."""
        document = self.session.document
        used = {one.kind for one in document.objects.values() if one.kind}
        return [*document.kinds, *sorted(used - set(document.kinds))]

    @property
    def kind_rows(self) -> list[tuple[str, str, int]]:
        """Of each class its name, its colour and how many objects it has."""
        document = self.session.document
        counts = Counter(one.kind for one in document.objects.values())
        return [(name, document.kinds.get(name, ""), counts[name]) for name in self.kinds]

    @property
    def count(self) -> str:
        """How many there are and how many are reviewed, for the user."""
        objects = self.session.document.objects.values()
        reviewed = sum(one.reviewed for one in objects)
        return f"{len(self.rows)} of {len(objects)} objects, {reviewed} reviewed"

    # --- going there -------------------------------------------------------------------------

    def select_at(self, position: tuple[float, ...], *, more: bool = False) -> int:
        """Select the object at a position in pixels; ``more``: beside those that are selected.

        Returns the object's number, 0 if there is none.
        """
        number = self.session.document.at(position)
        if number and number in self.session.document.objects:
            already = self.session.selection if more else ()
            self.session.select((*already, number))
            self.session.say(f"Object {', '.join(map(str, self.session.selection))} is selected.")
            return number
        if not more:
            self.session.select(())
        self.session.say("There is no object under the mouse.")
        return 0

    def open_at(self, position: tuple[float, ...]) -> None:
        """Go back to the object at a position: its prompts come back."""
        if self.select_at(position):
            self.session.open_object()

    def refine(self) -> None:
        """Begin with the selected object as it is on the plane in view: its shape is a prompt."""
        session, plane = self.session, self.session.plane
        patch = next(iter(session.outlines), None)
        if plane is None or patch is None or not patch.mask.any():
            session.say("Select an object that is in view: key S over it, or a row of the table.")
            return
        number = session.selection[0]
        offset, mask = in_all_axes(plane, patch.offset, patch.mask)
        session.do(
            lambda document: document.refine(number, MaskPrompt.of(mask, offset)),
            f"Object {number} is the prompt: add points, Enter replaces it.",
        )

    def go_to(self, number: int) -> None:
        """Select an object and bring it into view."""
        self.session.select([number])
        record = self.session.document.objects.get(number)
        if record is not None:
            self.goto_requested.emit(record)

    def step(self, by: int = 1) -> None:
        """Go to the next object that is not reviewed (-1: the one before), round and round."""
        numbers = [one.number for one in self.rows if not one.reviewed]
        if not numbers:
            self.session.say(ALL_SEEN)
            return
        here = self.session.selection[0] if self.session.selection else 0
        after = [n for n in numbers if n > here] if by > 0 else [n for n in numbers if n < here]
        numbers = after or numbers
        self.go_to(numbers[0] if by > 0 else numbers[-1])

    def accept(self) -> None:
        """Mark the selected objects as reviewed and go to the next."""
        chosen = self.session.selection
        if chosen and self.session.do(lambda document: document.describe(chosen, reviewed=True)):
            self.session.say(f"Object {', '.join(map(str, chosen))} is accepted.")
        self.step()

    # --- what is done to the chosen ones -----------------------------------------------------

    def delete(self) -> None:
        """Take the selected objects out of the labels."""
        chosen = self.session.selection
        self.session.do(
            lambda document: document.delete(chosen),
            f"Object {', '.join(map(str, chosen))} is deleted.",
        )

    def merge(self) -> None:
        """Make one object of the selected ones."""
        chosen = self.session.selection
        self.session.do(
            lambda document: document.merge(chosen),
            f"Merged into object {', '.join(map(str, chosen[:1]))}.",
        )

    def split(self) -> None:
        """Split the object on which the positive points lie: a part for each."""
        points = [one.position for one in self.session.prompts.points if one.positive]
        self.session.do(lambda document: document.split(points), "Split: a part for each point.")

    def reshape(self, how: Reshape, amount: int = 1) -> None:
        """Change the shape of the selected objects."""
        chosen, overwrite = self.session.selection, self.session.overwrite
        self.session.do(
            lambda document: document.reshape(chosen, how, amount, overwrite=overwrite),
            f"{how.capitalize()}: done.",
        )

    def renumber(self, new: int) -> None:
        """Give the selected object another number."""
        chosen = self.session.selection[0] if self.session.selection else -1
        if self.session.do(
            lambda document: document.renumber(chosen, new), f"Object {chosen} is now {new}."
        ):
            self.session.select([new])

    def set_kind(self, kind: str) -> None:
        """Give the selected objects a class; empty: none."""
        chosen = self.session.selection
        self.session.do(
            lambda document: document.describe(chosen, kind=kind.strip()),
            f"Class: {kind.strip() or 'none'}.",
        )

    # --- classes -----------------------------------------------------------------------------

    def add_kind(self, name: str, colour: str = "") -> None:
        """Have a class, or give it another colour; new objects are of it from now on."""
        name = name.strip()
        if name and self.session.do(lambda document: document.set_kind(name, colour)):
            self.session.set_kind(name)

    def rename_kind(self, old: str, new: str) -> None:
        """Give a class another name."""
        new = new.strip()
        if new != old and self.session.do(lambda document: document.rename_kind(old, new)):
            if self.session.kind == old:
                self.session.set_kind(new)
            self.session.say(f"Class {old} is now {new}.")
        self.list_changed.emit()

    def remove_kind(self, name: str) -> None:
        """Forget a class; its objects stay, without one."""
        if self.session.do(lambda document: document.remove_kind(name)):
            if self.session.kind == name:
                self.session.set_kind("")
            self.session.say(f"Class {name} is removed; its objects have none.")

    def select_kind(self, name: str) -> None:
        """Select all objects of a class."""
        objects = self.session.document.objects.values()
        self.session.select(one.number for one in objects if one.kind == name)

    def set_by_kind(self, by_kind: bool) -> None:
        """Whether objects are shown in the colours of their classes."""
        self.by_kind = by_kind
        self.list_changed.emit()

    def step_kind(self, by: int = 1) -> None:
        """The next class for new objects, round and round; none is one of them."""
        names = ["", *self.kinds]
        here = names.index(self.session.kind) if self.session.kind in names else 0
        self.session.set_kind(names[(here + by) % len(names)])
        self.session.say(f"New objects: {self.session.kind or 'no class'}.")

    def close(self) -> None:
        """Disconnect everybody: the window is gone."""
        for signal in (self.list_changed, self.goto_requested):
            signal.disconnect()
