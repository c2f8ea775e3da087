"""Expected: what an object should look like on a plane, by what is known on others.

Between two key planes it goes over from one shape to the other; towards a plane on which it is said
to be absent it tapers; elsewhere it is as it was on the plane before. Knows keys and shapes.
"""

import math

from napari_sam.volume.propagation.keys import Keys
from napari_sam.volume.propagation.shapes import Shape, blend, shrunk

__all__ = ["expected_on"]


def expected_on(
    keys: Keys, plane: int, one: int, last: Shape, spacing: tuple[float, float, float]
) -> Shape:
    """The shape that an object should have on a plane.

    Parameters
    ----------
    keys
        What is known.
    plane, one
        The plane, the object.
    last
        Its shape on the plane before.
    spacing
        (plane, row, column).
    """
    below, above = keys.around(plane, one)
    if below is None or above is None:
        return last
    flat = (spacing[1], spacing[2])
    ends = [keys.shapes(p).get(one) for p in (below, above)]
    share = (plane - below) / (above - below)
    if ends[0] is not None and ends[1] is not None:
        return blend(ends[0], ends[1], share, flat)
    drawn = ends[0] if ends[0] is not None else ends[1]
    if drawn is None:
        return last
    gone = share if ends[1] is None else 1 - share
    tapered = shrunk(drawn, 1 - math.sqrt(1 - gone**2), flat)
    return tapered if tapered.area else last
