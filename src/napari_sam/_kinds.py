"""Classes of objects: names and colours, for semantic work. Knows no objects and no window."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from napari_sam.errors import EditError

Kinds = Mapping[str, str]  # name -> colour "#rrggbb"
NO_KINDS: Kinds = MappingProxyType({})
# Okabe and Ito 2008: told apart by the colour-blind, too.
PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999")
COLOUR = re.compile("#[0-9a-f]{6}")


def with_kind(kinds: Kinds, name: str, colour: str = "") -> Kinds:
    """With one more class, or with another colour of it; the empty name is none."""
    if not name or (name in kinds and not colour):
        return kinds
    chosen = colour.lower() or _next_colour(kinds)
    if not COLOUR.fullmatch(chosen):
        raise EditError(f"A colour is written as #rrggbb; it was {colour!r}.")
    return {**kinds, name: chosen}


def renamed(kinds: Kinds, old: str, new: str) -> Kinds:
    """With another name for a class, in its place.

    Raises
    ------
    EditError
        There is no such class, or the name is empty or taken.
    """
    if old not in kinds:
        raise EditError(f"There is no class {old!r}.")
    if not new or new in kinds:
        raise EditError(f"A class needs a name that no other has; it was {new!r}.")
    return {new if name == old else name: colour for name, colour in kinds.items()}


def without(kinds: Kinds, name: str) -> Kinds:
    """Without a class.

    Raises
    ------
    EditError
        There is no such class.
    """
    if name not in kinds:
        raise EditError(f"There is no class {name!r}.")
    return {one: colour for one, colour in kinds.items() if one != name}


def _next_colour(kinds: Kinds) -> str:
    used = list(kinds.values())
    return min(PALETTE, key=used.count)
