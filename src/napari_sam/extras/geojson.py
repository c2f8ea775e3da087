"""Mask records as GeoJSON polygons, as QuPath reads them.

Outlines run along the pixels' edges, so that a polygon has exactly its mask's area: (x, y) with the
image's first pixel from 0 to 1. Holes are inner rings; an object in pieces is a MultiPolygon.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam.core.masks import MaskRecord

__all__ = ["polygons_of", "to_geojson"]

Ring = list[tuple[int, int]]  # (x, y), the first point again at the end
# Steps along x and y while the object is on the right hand, as seen on the screen (y goes down).
RIGHT, DOWN, LEFT, UP = range(4)
STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def to_geojson(
    records: Sequence[MaskRecord], *, provenance: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A FeatureCollection of annotations, as JSON values.

    Parameters
    ----------
    records
        A feature each, in their order; empty ones are left out.
    provenance
        How they were made; kept as a member of the collection.
    """
    return {
        "type": "FeatureCollection",
        "napari-sam": dict(provenance or {}),
        "features": [
            _feature(number, record)
            for number, record in enumerate(records, start=1)
            if record.area
        ],
    }


def _feature(number: int, record: MaskRecord) -> dict[str, Any]:
    rows, columns = record.region
    polygons = polygons_of(record.patch, (rows.start, columns.start))
    single = len(polygons) == 1
    return {
        "type": "Feature",
        "geometry": {
            "type": "Polygon" if single else "MultiPolygon",
            "coordinates": polygons[0] if single else polygons,
        },
        "properties": {
            "objectType": "annotation",
            "name": f"object {number}",
            "measurements": {
                "predicted IoU": record.score,
                "stability": record.stability,
                "area px": record.area,
            },
        },
    }


def polygons_of(mask: NDArray[np.bool_], offset: tuple[int, int] = (0, 0)) -> list[list[Ring]]:
    """Polygons of a mask: of each the outer ring, then its holes.

    Parameters
    ----------
    mask
        (h, w) bool.
    offset
        (y, x) of its first pixel.

    Returns
    -------
    list
        One polygon for each piece (pixels that meet at a corner only are two pieces). Outer rings
        have a positive area in (x, y), holes a negative one. Only corners are given.
    """
    pieces, _ = ndimage.label(mask)
    polygons = []
    for number, where in enumerate(ndimage.find_objects(pieces), start=1):
        y, x = (start + side.start for start, side in zip(offset, where, strict=True))
        rings = _rings(pieces[where] == number)
        rings.sort(key=_doubled_area, reverse=True)  # the outer ring is the only positive one
        polygons.append([[(px + x, py + y) for px, py in ring] for ring in rings])
    return polygons


def _rings(piece: NDArray[np.bool_]) -> list[Ring]:
    """All closed outlines of a piece whose pixels are connected by their sides."""
    edges = _edges(piece)
    leaving = defaultdict(list)
    for x, y, heading in edges:
        leaving[x, y].append(heading)
    rings = []
    while edges:
        start = at = edges.pop()
        ring: Ring = []
        while True:
            x, y, heading = at
            x, y = x + STEPS[heading][0], y + STEPS[heading][1]
            turned = _turn(leaving[x, y], heading)
            if turned != heading:
                ring.append((x, y))
            at = (x, y, turned)
            if at == start:
                break
            edges.remove(at)
        rings.append([*ring, ring[0]])
    return rings


def _turn(choices: list[int], heading: int) -> int:
    """The edge to follow. Where two pixels meet at a corner, to the left: across to the other one.

    Both belong to one piece, so that the two pixels beside them are apart: going across keeps each
    of those in a ring of its own, and no ring touches itself.
    """
    return choices[0] if len(choices) == 1 else (heading - 1) % 4


def _edges(piece: NDArray[np.bool_]) -> set[tuple[int, int, int]]:
    """Sides of pixels between object and background: where each starts (x, y), and its heading."""
    around = np.pad(piece, 1)
    inside = around[1:-1, 1:-1]
    beyond = {
        RIGHT: (around[:-2, 1:-1], (0, 0)),  # above: along the upper side, from its left end
        DOWN: (around[1:-1, 2:], (0, 1)),
        LEFT: (around[2:, 1:-1], (1, 1)),
        UP: (around[1:-1, :-2], (1, 0)),
    }
    edges: set[tuple[int, int, int]] = set()
    for heading, (neighbour, (dy, dx)) in beyond.items():
        rows, columns = np.nonzero(inside & ~neighbour)
        starts = zip((columns + dx).tolist(), (rows + dy).tolist(), strict=True)
        edges.update((x, y, heading) for x, y in starts)
    return edges


def _doubled_area(ring: Ring) -> int:
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring))
