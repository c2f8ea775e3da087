"""Masks as a zip of ImageJ ROIs, written and read. Needs the extra ``[imagej]`` (roifile).

Outlines run along the pixels' edges, as those of ImageJ's wand: a ROI has exactly its mask's area.
What is in pieces or has holes is a composite ROI.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.core.outlines import Outline, kinds_of, mask_of_rings
from napari_sam.errors import ImageError, MissingExtraError
from napari_sam.extras.geojson import polygons_of

__all__ = ["read_rois", "require", "write_rois"]

LARGEST_SIDE = 32767  # ROIs have their places in 16 bits
MOVE, LINE, CLOSE = 0.0, 1.0, 4.0  # java.awt.geom.PathIterator
AREAS = ("POLYGON", "FREEHAND", "TRACED", "RECT", "OVAL")


def require() -> Any:
    """The module ``roifile``.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        import roifile
    except ImportError as error:
        raise MissingExtraError(
            'ROIs need roifile: pip install "napari-sam[imagej]", from this repository.'
        ) from error
    return roifile


def write_rois(
    path: Path,
    outlines: Sequence[Outline],
    shape: tuple[int, ...],
    axes: str,
    *,
    kinds: Mapping[str, str],
) -> None:
    """Write a zip with a ROI for each outline.

    Parameters
    ----------
    path
        Of the zip; replaced if it is there.
    outlines
        Class, score, review and number become properties of the ROI, the class its group, too.
    shape, axes
        Of the image, y and x last; a letter for each axis.
    kinds
        Class -> colour.

    Raises
    ------
    MissingExtraError
        roifile is not installed.
    ImageError
        The image is too large for ROIs, or has axes that ImageJ does not have.
    """
    module = require()
    if max(shape[-2:]) > LARGEST_SIDE or not set(axes) <= set("cztyx"):
        raise ImageError(
            f"ROIs are for images of up to {LARGEST_SIDE} pixels a side with axes c, z, t, y, x;"
            f" this one is {shape}, {axes!r}: take .geojson or .tif."
        )
    groups = {kind: number for number, kind in enumerate(kinds, start=1)}
    rois = [_roi(module, one, axes, groups) for one in outlines]
    path.unlink(missing_ok=True)  # roifile adds to a zip that is there
    if rois:
        module.roiwrite(path, rois)
    else:
        path.write_bytes(b"PK\x05\x06" + bytes(18))  # an empty zip


def read_rois(
    path: Path, shape: tuple[int, ...], axes: str
) -> tuple[list[Outline], dict[str, str], int]:
    """Read a zip of ROIs, or a single ROI.

    Parameters
    ----------
    path
        A ``.zip`` or ``.roi``.
    shape, axes
        Of the image, y and x last; a letter for each axis.

    Returns
    -------
    outlines, kinds, left_out
        ``kinds``: class -> colour. ``left_out``: ROIs without an area in the image (points, lines,
        what lies outside).

    Raises
    ------
    MissingExtraError
        roifile is not installed.
    ImageError
        The file cannot be read as ROIs.
    """
    module = require()
    try:
        rois = module.roiread(path)
        rois = rois if isinstance(rois, list) else [rois]
        found = [_outline(roi, shape, axes) for roi in rois]
    except Exception as error:  # each version of ImageJ has surprises of its own
        raise ImageError(f"{path} cannot be read as ImageJ ROIs: {error}") from error
    outlines = [one for one in found if one is not None]
    return outlines, kinds_of(outlines), len(found) - len(outlines)


def _roi(module: Any, one: Outline, axes: str, groups: Mapping[str, int]) -> Any:
    rings = [ring for polygon in polygons_of(one.mask, one.offset) for ring in polygon]
    name = "-".join(f"{i:04d}" for i in (one.number, *one.plane))
    if len(rings) == 1:
        points = np.array(rings[0][:-1], np.int32)
        roi = module.ImagejRoi.frompoints(points, name=name)
        roi.roitype = module.ROI_TYPE.TRACED
    else:
        corners = np.concatenate([np.array(ring) for ring in rings])
        (left, top), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
        path = [value for ring in rings for value in _path(ring)]
        roi = module.ImagejRoi(
            roitype=module.ROI_TYPE.RECT, name=name, left=left, top=top, right=right,
            bottom=bottom, shape_roi_size=len(path), multi_coordinates=np.array(path, np.float32),
        )  # fmt: skip
    roi.version = 228  # with groups and properties
    here = dict(zip(axes, (i + 1 for i in one.plane), strict=False))
    roi.c_position, roi.z_position, roi.t_position = (here.get(axis, 0) for axis in "czt")
    roi.position = one.plane[0] + 1 if len(one.plane) == 1 else 0
    roi.group = min(255, groups.get(one.kind, 0))
    if one.colour:
        roi.stroke_color = b"\xff" + bytes.fromhex(one.colour[1:])
    said = {"number": one.number, "reviewed": "yes" if one.reviewed else "no"}
    said |= {"class": one.kind} if one.kind else {}
    said |= {} if one.score is None else {"score": repr(float(one.score))}
    roi.props = "".join(f"{key}: {value}\n" for key, value in said.items())
    return roi


def _path(ring: Sequence[tuple[int, int]]) -> list[float]:
    """A closed ring as ImageJ writes paths."""
    values: list[float] = []
    for index, (x, y) in enumerate(ring[:-1]):
        values += [LINE if index else MOVE, x, y]
    return [*values, CLOSE]


def _outline(roi: Any, shape: tuple[int, ...], axes: str) -> Outline | None:
    plane = _plane(roi, axes)
    inside = all(0 <= i < n for i, n in zip(plane, shape[:-2], strict=True))
    if not inside or not (roi.composite or roi.roitype.name in AREAS):
        return None
    rings = roi.coordinates(multi=True)
    placed = mask_of_rings(rings if isinstance(rings, list) else [rings], (shape[-2], shape[-1]))
    if placed is None:
        return None
    pairs = (line.partition(":") for line in roi.props.splitlines())
    said = {key.strip(): value.strip() for key, _, value in pairs}
    kind = said.get("class") or (f"group {roi.group}" if roi.group else "")
    colour = f"#{roi.stroke_color[1:].hex()}" if kind and any(roi.stroke_color) else ""
    score = said.get("score")
    return Outline(
        *placed,
        int(said.get("number", 0)),
        plane,
        kind,
        colour,
        None if score is None else float(score),
        said.get("reviewed") == "yes",
    )


def _plane(roi: Any, axes: str) -> tuple[int, ...]:
    """Counted from 0; what is on no plane in particular is on the first."""
    known = {"c": roi.c_position, "z": roi.z_position, "t": roi.t_position}
    places = [known.get(axis, 0) for axis in axes[:-2]]
    if len(places) == 1 and not places[0]:
        places = [roi.position]
    return tuple(max(0, int(place) - 1) for place in places)
