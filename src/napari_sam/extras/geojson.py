"""Masks as GeoJSON polygons, as QuPath reads and writes them.

Outlines run along the pixels' edges, so that a polygon has exactly its mask's area: (x, y) with the
image's first pixel from 0 to 1. Holes are inner rings; an object in pieces is a MultiPolygon.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam.core.masks import MaskRecord
from napari_sam.core.outlines import Outline, kinds_of, mask_of_rings
from napari_sam.errors import ImageError

__all__ = ["from_geojson", "outlines_to_geojson", "polygons_of", "to_geojson"]

Ring = list[tuple[int, int]]  # (x, y), the first point again at the end
# Steps along x and y while the object is on the right hand, as seen on the screen (y goes down).
RIGHT, DOWN, LEFT, UP = range(4)
SCORE = "predicted IoU"
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


def outlines_to_geojson(
    outlines: Sequence[Outline],
    axes: str,
    *,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A FeatureCollection of annotations, as JSON values.

    Parameters
    ----------
    outlines
        A feature each. Class, number and review are those of the object.
    axes
        Letters of the image's axes; QuPath knows planes along c, z and t.
    provenance
        How they were made; kept as a member of the collection.

    Raises
    ------
    ImageError
        The image has axes that GeoJSON has no word for.
    """
    if not set(axes) <= set("cztyx"):
        raise ImageError(f"GeoJSON knows planes along c, z and t only; the axes are {axes!r}.")
    return {
        "type": "FeatureCollection",
        "napari-sam": dict(provenance or {}),
        "features": [_outline_feature(one, axes) for one in outlines],
    }


def from_geojson(
    value: Any, shape: tuple[int, ...], axes: str
) -> tuple[list[Outline], dict[str, str], int]:
    """Polygons of a file as outlines.

    Parameters
    ----------
    value
        What the JSON file says: a FeatureCollection, a list of features, or one.
    shape, axes
        Of the image, y and x last; a letter for each axis.

    Returns
    -------
    outlines, kinds, left_out
        ``kinds``: class -> colour. ``left_out``: features that have no pixel of the image.

    Raises
    ------
    ImageError
        It is no GeoJSON.
    """
    features = value.get("features", [value]) if isinstance(value, Mapping) else value
    try:
        found = [_outline(feature, shape, axes) for feature in features]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ImageError(f"this is no GeoJSON: {type(error).__name__} {error}.") from error
    outlines = [one for one in found if one is not None]
    return outlines, kinds_of(outlines), len(found) - len(outlines)


def _outline(feature: Mapping[str, Any], shape: tuple[int, ...], axes: str) -> Outline | None:
    """A feature as an outline; None: it has no pixel of the image."""
    geometry, said = feature["geometry"], feature.get("properties") or {}
    placed = mask_of_rings(list(_rings_in(geometry)), (shape[-2], shape[-1]))
    plane = _plane_of(geometry.get("plane"), axes)
    if placed is None or not all(0 <= i < n for i, n in zip(plane, shape[:-2], strict=True)):
        return None
    kind, colour = _class_of(said.get("classification"))
    ours = said.get("napari-sam") or {}
    number, reviewed = int(ours.get("number", 0)), bool(ours.get("reviewed", False))
    score = _measured(said.get("measurements"))
    return Outline(*placed, number, plane, kind, colour, score, reviewed)


def _feature(number: int, record: MaskRecord) -> dict[str, Any]:
    rows, columns = record.region
    return {
        "type": "Feature",
        "geometry": _geometry(record.patch, (rows.start, columns.start)),
        "properties": {
            "objectType": "annotation",
            "name": f"object {number}",
            "measurements": {
                SCORE: record.score,
                "stability": record.stability,
                "area px": record.area,
            },
        },
    }


def _outline_feature(one: Outline, axes: str) -> dict[str, Any]:
    geometry = _geometry(one.mask, one.offset)
    if one.plane:
        here = dict(zip(axes, one.plane, strict=False))
        geometry["plane"] = {"c": here.get("c", -1), "z": here.get("z", 0), "t": here.get("t", 0)}
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": f"object {one.number}",
        "measurements": {"area px": int(one.mask.sum())}
        | ({} if one.score is None else {SCORE: one.score}),
        "napari-sam": {"number": one.number, "reviewed": one.reviewed},
    }
    if one.kind:
        colour = [int(one.colour[i : i + 2], 16) for i in (1, 3, 5)] if one.colour else [128] * 3
        properties["classification"] = {"name": one.kind, "color": colour}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _geometry(mask: NDArray[np.bool_], offset: tuple[int, int]) -> dict[str, Any]:
    polygons = polygons_of(mask, offset)
    single = len(polygons) == 1
    return {
        "type": "Polygon" if single else "MultiPolygon",
        "coordinates": polygons[0] if single else polygons,
    }


def _rings_in(geometry: Mapping[str, Any]) -> Iterator[Any]:
    """Rings of a polygon, or of all parts of a collection; lines and points have none."""
    match geometry["type"]:
        case "Polygon":
            yield from geometry["coordinates"]
        case "MultiPolygon":
            for polygon in geometry["coordinates"]:
                yield from polygon
        case "GeometryCollection":
            for part in geometry["geometries"]:
                yield from _rings_in(part)


def _class_of(said: Any) -> tuple[str, str]:
    if not said:
        return "", ""
    if isinstance(said, str):
        return said, ""
    name = ": ".join(said["names"]) if "names" in said else str(said["name"])
    colour = said.get("color") or ()
    return name, "#" + "".join(f"{int(part):02x}" for part in colour) if len(colour) == 3 else ""


def _plane_of(said: Mapping[str, Any] | None, axes: str) -> tuple[int, ...]:
    known = said or {}
    return tuple(max(0, int(known.get(axis, 0))) for axis in axes[:-2])


def _measured(said: Any) -> float | None:
    """The score; older versions of QuPath list measurements by name."""
    if isinstance(said, list):
        said = {one["name"]: one["value"] for one in said}
    score = (said or {}).get(SCORE)
    return None if score is None else float(score)


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
