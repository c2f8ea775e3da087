"""GEFF: the graph exchange file format for tracks, a zarr. Needs the extra ``[tracking]``.

A node for each object, with its position in pixels and the scale beside; ``seg_id`` is the label in
the tracked labels, ``tracklet`` the track and ``lineage`` the family. Read by motile_tracker,
Mastodon, TrackMate, inTRACKtive and traccuracy.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.errors import TrackingError, missing_extra
from napari_sam.tracking.lineage import Lineage
from napari_sam.tracking.points import Points, lineage_of
from napari_sam.volume.aside import written_aside

__all__ = ["read_geff", "write_geff"]

_AXES = "tzyx"


def write_geff(lineage: Lineage, path: Path, *, unit: str | None = None) -> None:
    """Write a ``.geff`` folder; it appears when it is complete.

    Parameters
    ----------
    lineage
        What to write.
    path
        Replaced if it is there.
    unit
        Of the spacing, as OME-Zarr names it (such as ``micrometer``); None: pixels.

    Raises
    ------
    MissingExtraError
        The package geff is not installed.
    OSError
        The disk is full or may not be written.
    """
    geff, spec = _require()
    points = Points.of(lineage)
    letters = "t" + _AXES[-len(lineage.spacing) :]
    positions = np.concatenate([points.frame[:, None], points.centre], 1)
    trees = lineage.trees()
    values = dict(zip(letters, positions.T, strict=True)) | {
        "seg_id": points.label,
        "tracklet": points.label,
        "lineage": np.array([trees[one] for one in points.label.tolist()], np.int64),
        "size": points.size,
    }
    steps = (None, *lineage.spacing)
    axes = [_axis(spec, *pair, unit) for pair in zip(letters, steps, strict=True)]
    metadata = spec.GeffMetadata(
        directed=True,
        axes=axes,
        node_props_metadata={},
        edge_props_metadata={},
        track_node_props={"tracklet": "tracklet", "lineage": "lineage"},
        extra={"napari-sam": {"shape": list(lineage.shape)}},
    )
    with written_aside(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zarr, on its way to the next version
        geff.core_io.write_arrays(
            part,
            points.name.astype(np.uint64),
            {name: {"values": array, "missing": None} for name, array in values.items()},
            points.edges.astype(np.uint64),
            {},
            metadata,
        )


def read_geff(path: Path) -> Lineage:
    """Read a ``.geff`` folder, ours or another's; it needs axes of time and space.

    Raises
    ------
    MissingExtraError
        The package geff is not installed.
    TrackingError
        It is no GEFF, has no axes of time and y, x, or its edges do not lead forward in time.
    """
    geff, _ = _require()
    try:
        found = geff.core_io.read_to_memory(path)
    except Exception as error:  # zarr, pydantic and geff have errors of their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrackingError(f"{path} cannot be read as GEFF: {reason}") from error
    metadata, values = found["metadata"], found["node_props"]
    axes = {axis.name: axis for axis in metadata.axes or []}
    letters = [letter for letter in _AXES if letter in axes]
    if letters not in (list("tyx"), list("tzyx")):
        raise TrackingError(
            f"{path} has the axes {', '.join(axes) or 'of nothing'}; wanted are t, [z,] y, x."
        )
    frame, *centre = (np.asarray(values[letter]["values"], np.float64) for letter in letters)
    count = len(frame)
    kept = (metadata.track_node_props or {}).get("tracklet", "")
    points = Points(
        np.asarray(found["node_ids"], np.int64),
        np.rint(frame).astype(np.int64),
        np.stack(centre, 1),
        _whole(values, kept if kept in values else "seg_id", np.arange(1, count + 1)),
        _whole(values, "size", np.zeros(count)),
        np.asarray(found["edge_ids"], np.int64).reshape(-1, 2),
    )
    shape = (metadata.extra.get("napari-sam") or {}).get("shape")
    spacing = [float(axes[letter].scale or 1) for letter in letters[1:]]
    return lineage_of(points, spacing=spacing, shape=tuple(shape) if shape else None)


def _axis(spec: Any, letter: str, step: float | None, unit: str | None) -> Any:
    if letter == "t":
        return spec.Axis(name="t", type="time", unit="frame")
    return spec.Axis(
        name=letter, type="space", unit="pixel", scale=step, scaled_unit=unit or "pixel"
    )


def _whole(values: Any, name: str, otherwise: Any) -> Any:
    return np.asarray(values[name]["values"] if name in values else otherwise, np.int64)


def _require() -> tuple[Any, Any]:
    try:
        import geff
        import geff_spec
    except ImportError as error:
        raise missing_extra("GEFF", "geff", "tracking") from error
    return geff, geff_spec
