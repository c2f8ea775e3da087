"""Tables as TrackMate exports them: ``spots.csv`` and ``edges.csv`` in a folder.

Four lines of headers (names, long names, short names, units), then a line for each spot or edge.
Positions are in units of length; TRACK_ID is the family (all that have an ancestor in common, as
TrackMate means it), LABEL our track.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.errors import TrackingError
from napari_sam.tracking.lineage import Lineage
from napari_sam.tracking.points import Points, lineage_of
from napari_sam.volume.aside import written_aside

__all__ = ["read_trackmate", "write_trackmate"]

SPOTS, EDGES = "spots.csv", "edges.csv"


@dataclass(frozen=True)
class _Column:
    name: str
    long: str
    short: str
    unit: str = ""


_SPOT_COLUMNS = (
    _Column("LABEL", "Label", "Label"),
    _Column("ID", "Spot ID", "Spot ID"),
    _Column("TRACK_ID", "Track ID", "Track ID"),
    _Column("QUALITY", "Quality", "Quality", "(quality)"),
    _Column("POSITION_X", "X", "X", "length"),
    _Column("POSITION_Y", "Y", "Y", "length"),
    _Column("POSITION_Z", "Z", "Z", "length"),
    _Column("POSITION_T", "T", "T", "(frame)"),
    _Column("FRAME", "Frame", "Frame"),
    _Column("RADIUS", "Radius", "R", "length"),
    _Column("VISIBILITY", "Visibility", "Visibility"),
)
_EDGE_COLUMNS = (
    _Column("LABEL", "Label", "Label"),
    _Column("TRACK_ID", "Track ID", "Track ID"),
    _Column("SPOT_SOURCE_ID", "Source spot ID", "Source ID"),
    _Column("SPOT_TARGET_ID", "Target spot ID", "Target ID"),
)


def write_trackmate(lineage: Lineage, folder: Path, *, unit: str | None = None) -> None:
    """Write a folder with both tables; it appears when it is complete.

    Parameters
    ----------
    lineage
        What to write.
    folder
        Replaced if it is there.
    unit
        Of the spacing; None: pixels.

    Raises
    ------
    OSError
        The disk is full or may not be written.
    """
    points, trees = Points.of(lineage), lineage.trees()
    tree = [trees[one] for one in points.label.tolist()]
    edges = [(f"{a} -> {b}", tree[a], a, b) for a, b in sorted(map(tuple, points.edges.tolist()))]
    with written_aside(folder) as part:
        part.mkdir()
        length = f"({unit or 'pixel'})"
        _write(part / SPOTS, _SPOT_COLUMNS, _spots(lineage, points, tree), length)
        _write(part / EDGES, _EDGE_COLUMNS, edges, length)


def read_trackmate(folder: Path, *, spacing: Sequence[float]) -> Lineage:
    """Read ``spots.csv`` and ``edges.csv`` of a folder, ours or TrackMate's.

    Parameters
    ----------
    folder
        With both tables.
    spacing
        Size of a voxel ([z,] y, x): the tables have positions in units of length. Two numbers
        leave out z.

    Raises
    ------
    TrackingError
        A table is missing, or lacks a column or a number: says which.
    """
    spots, edges = _read(folder / SPOTS), _read(folder / EDGES)
    letters = "ZYX"[-len(spacing) :]
    place = np.stack([_numbers(folder / SPOTS, spots, f"POSITION_{axis}") for axis in letters], 1)
    name, frame = (_numbers(folder / SPOTS, spots, one) for one in ("ID", "FRAME"))
    radius = _numbers(folder / SPOTS, spots, "RADIUS")
    ball = np.pi * radius**2 if len(spacing) == 2 else np.pi * 4 / 3 * radius**3
    labels = [row.get("LABEL", "") for row in spots]
    ends = [_numbers(folder / EDGES, edges, f"SPOT_{one}_ID") for one in ("SOURCE", "TARGET")]
    points = Points(
        name.astype(np.int64),
        frame.astype(np.int64),
        place / np.asarray(spacing, np.float64),
        np.array([_label(text, row) for row, text in enumerate(labels, 1)], np.int64),
        np.rint(ball / np.prod(spacing)).astype(np.int64),
        np.stack(ends, 1).astype(np.int64),
    )
    return lineage_of(points, spacing=spacing)


def _spots(lineage: Lineage, points: Points, tree: list[int]) -> Iterator[tuple[Any, ...]]:
    rows, objects = lineage.rows(), lineage.objects
    positions = points.centre * lineage.spacing
    for index, row in enumerate(rows.tolist()):
        x, y, z = (*positions[index, ::-1].tolist(), 0.0)[:3]
        radius = objects.diameter(row, lineage.spacing) / 2
        frame, label = int(points.frame[index]), int(points.label[index])
        yield label, index, tree[index], 1.0, x, y, z, float(frame), frame, radius, 1


def _write(
    path: Path, columns: Sequence[_Column], rows: Iterable[tuple[Any, ...]], length: str
) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([one.name for one in columns])
        writer.writerow([one.long for one in columns])
        writer.writerow([one.short for one in columns])
        writer.writerow([length if one.unit == "length" else one.unit for one in columns])
        writer.writerows(rows)


def _read(path: Path) -> list[dict[str, str]]:
    """Lines of a table by column, without the headers that TrackMate adds."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError) as error:
        raise TrackingError(f"{path} cannot be read: {error}") from error
    first = next((i for i, row in enumerate(rows) if _is_number(row.get("TRACK_ID"))), len(rows))
    return rows[first:]


def _numbers(path: Path, rows: list[dict[str, str]], column: str) -> Any:
    try:
        return np.array([float(row[column]) for row in rows], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise TrackingError(f"{path}: the column {column} is not all numbers: {error}.") from error


def _label(text: str, row: int) -> int:
    return int(text) if text.isdigit() and int(text) else row


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True
