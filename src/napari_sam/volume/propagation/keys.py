"""Keys: all that is known beforehand, by plane and object. Knows shapes; asks no model."""

from collections.abc import Mapping
from dataclasses import dataclass

from napari_sam.volume.propagation.claim import Claim
from napari_sam.volume.propagation.shapes import Shape

__all__ = ["Keys"]


@dataclass(frozen=True, eq=False)
class Keys:
    """Shapes of objects on their key planes.

    Attributes
    ----------
    drawn
        Plane -> object -> shape.
    gone
        Plane -> objects that are not there.
    claims
        (plane, object) -> the model's claim, of those that it made of prompts.
    first, last
        Bounds of the propagation, both inclusive.
    """

    drawn: Mapping[int, Mapping[int, Shape]]
    gone: Mapping[int, frozenset[int]]
    claims: Mapping[tuple[int, int], Claim]
    first: int
    last: int

    @property
    def planes(self) -> tuple[int, ...]:
        """On which something is known, ascending."""
        return tuple(sorted({*self.drawn, *self.gone}))

    @property
    def lowest(self) -> int:
        """First plane on which an object is drawn."""
        return min(self.drawn)

    @property
    def highest(self) -> int:
        """Last plane on which an object is drawn."""
        return max(self.drawn)

    def order(self, direction: str) -> range:
        """Planes of a pass: from the first one drawn to the bound."""
        if direction == "forward":
            return range(self.lowest, self.last + 1)
        return range(self.highest, self.first - 1, -1)

    def shapes(self, plane: int) -> Mapping[int, Shape]:
        """Objects drawn on a plane."""
        return self.drawn.get(plane, {})

    def absent(self, plane: int) -> frozenset[int]:
        """Objects known not to be on a plane."""
        return self.gone.get(plane, frozenset())

    def score(self, plane: int, one: int) -> float:
        """Predicted IoU of an object on its key plane; 1 where it was drawn."""
        claim = self.claims.get((plane, one))
        return 1.0 if claim is None else claim.score

    def says(self, plane: int, one: int) -> bool:
        """Whether something is known of an object on a plane."""
        return one in self.shapes(plane) or one in self.absent(plane)

    def ahead(self, plane: int, direction: str) -> bool:
        """Whether an object is drawn farther on."""
        return plane < self.highest if direction == "forward" else plane > self.lowest

    def around(self, plane: int, one: int) -> tuple[int | None, int | None]:
        """Nearest planes below and above on which something is known of an object."""
        own = [p for p in self.planes if self.says(p, one)]
        below = max((p for p in own if p < plane), default=None)
        above = min((p for p in own if p > plane), default=None)
        return below, above
