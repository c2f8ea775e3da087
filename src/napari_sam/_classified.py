"""Classes of an annotation and the review of its objects, each change as one step.

Knows no pixels, no window and no model.
"""

from collections.abc import Iterable

from napari_sam._kinds import renamed, with_kind, without
from napari_sam._ledger import Ledger


class Classified(Ledger):
    """What objects are, and whether somebody has looked at them."""

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
