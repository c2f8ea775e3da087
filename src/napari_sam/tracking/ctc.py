"""Folders of the Cell Tracking Challenge: a mask a frame, and a table of tracks.

As in "Naming and file content conventions" of celltrackingchallenge.net: 16-bit TIFF files with
the track's number in each pixel, and a text file with a line ``L B E P`` for each track: its
number, first and last frame (from 0), and the number of its parent, 0 for none. A track there is in
all frames from its first to its last; what was missing in between is therefore a child of itself.
"""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_sam.errors import TrackingError
from napari_sam.progress import Progress
from napari_sam.tracking.folder import FrameFolder
from napari_sam.tracking.lineage import Lineage, Track
from napari_sam.tracking.relabel import Relabelled
from napari_sam.tracking.scan import scan_labels
from napari_sam.tracking.series import LabelSeries
from napari_sam.volume.aside import written_aside

__all__ = ["RESULT", "TRUTH", "Naming", "is_ctc", "read_ctc", "write_ctc"]

_MOST = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Naming:
    """What the files are called.

    Attributes
    ----------
    table
        The text file.
    mask
        What the masks begin with; then comes the number of the frame, and ``.tif``.
    """

    table: str
    mask: str


RESULT = Naming("res_track.txt", "mask")
TRUTH = Naming("man_track.txt", "man_track")


def write_ctc(
    labels: Relabelled, folder: Path, *, naming: Naming = RESULT
) -> Generator[Progress, None, None]:
    """Write a folder such as ``01_RES`` (or ``01_GT/TRA``); it appears when it is complete.

    Ids stay as they are if all fit into 16 bits; else tracks are numbered anew, from 1.

    Parameters
    ----------
    labels
        By track.
    folder
        Replaced if it is there.
    naming
        Of results or of the truth.

    Yields
    ------
    Progress
        After each frame.

    Raises
    ------
    TrackingError
        More than 65535 tracks.
    OSError
        The disk is full or may not be written.
    """
    lineage = _small_ids(labels.lineage.without_gaps())
    whole = Relabelled(labels.series, lineage)
    frames = whole.shape[0]
    digits = max(3, len(str(frames - 1)))
    with written_aside(folder) as part:
        part.mkdir()
        for time in range(frames):
            path = part / f"{naming.mask}{time:0{digits}d}.tif"
            tifffile.imwrite(path, whole.frame(time).astype(np.uint16), compression="zlib")
            yield Progress(time + 1, frames, "writing masks")
        lines = [f"{t.id} {t.begin} {t.end} {(t.parents or (0,))[0]}\n" for t in lineage.tracks]
        (part / naming.table).write_text("".join(lines), encoding="ascii")


def is_ctc(folder: Path) -> bool:
    """Whether it is such a folder."""
    return _naming(folder) is not None


def read_ctc(
    folder: Path, *, spacing: tuple[float, ...] | None = None
) -> Generator[Progress, None, tuple[LabelSeries, Lineage]]:
    """Read such a folder, results or truth.

    A track whose only child begins after a gap goes on as that child, so that what
    :func:`write_ctc` has cut is whole again.

    Parameters
    ----------
    folder
        With masks and a table.
    spacing
        Size of a voxel ([z,] y, x); the files do not tell.

    Yields
    ------
    Progress
        After each frame.

    Raises
    ------
    TrackingError
        Table and masks do not fit together, or the table is wrong: says where.
    ImageError
        A mask cannot be read.
    """
    naming = _naming(folder)
    if naming is None:
        raise TrackingError(f"{folder} has neither {RESULT.table} nor {TRUTH.table} in it.")
    table = _read_table(folder / naming.table)
    paths = sorted(folder.glob(f"{naming.mask}[0-9]*.tif"))
    if not paths:
        raise TrackingError(f"{folder} has no masks ({naming.mask}000.tif and so on) in it.")
    frames = FrameFolder(tuple(paths))
    axes = {3: "tyx", 4: "tzyx"}.get(len(frames.shape))
    series = LabelSeries.open(frames, axes=axes, spacing=spacing)
    scan = yield from scan_labels(series, gap=0)
    _check_masks(scan.objects.frame, scan.objects.label, table, folder / naming.table)
    again = _joined(table)
    track = np.array([again[label] for label in scan.objects.label.tolist()], np.int64)
    graph = {one.id: [again[p] for p in one.parents] for one in table if again[one.id] == one.id}
    shape, size = scan.shape, scan.spacing
    return series, Lineage.of_tracks(scan.objects, track, graph, shape=shape, spacing=size)


def _naming(folder: Path) -> Naming | None:
    return next((one for one in (RESULT, TRUTH) if (folder / one.table).is_file()), None)


def _small_ids(lineage: Lineage) -> Lineage:
    """Ids that fit into 16 bits."""
    ids = [one.id for one in lineage.tracks]
    if len(ids) > _MOST:
        raise TrackingError(
            f"there are {len(ids)} tracks; a Cell Tracking Challenge folder holds {_MOST}. Leave"
            " out short ones, or export GEFF."
        )
    return lineage if max(ids, default=0) <= _MOST else lineage.renumbered()


def _read_table(path: Path) -> list[Track]:
    tracks = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            label, begin, end, parent = (int(word) for word in line.split())
        except ValueError:
            raise TrackingError(
                f"{path}, line {number}: {line!r} is not four whole numbers (L B E P)."
            ) from None
        tracks.append(Track(label, begin, end, (parent,) if parent else ()))
    known = {one.id for one in tracks}
    if len(known) < len(tracks):
        raise TrackingError(f"{path} names a track twice.")
    missing = {p for one in tracks for p in one.parents} - known
    if missing:
        raise TrackingError(f"{path} names {min(missing)} as a parent, but has no such track.")
    return tracks


def _check_masks(frame: Any, label: Any, table: list[Track], path: Path) -> None:
    """Each track is in all of its frames, and nothing else is there."""
    told = {(one.id, t) for one in table for t in range(one.begin, one.end + 1)}
    seen = set(zip(label.tolist(), frame.tolist(), strict=True))
    for one, time in sorted(told - seen)[:1]:
        raise TrackingError(f"{path} has track {one} in frame {time}, the mask has not.")
    for one, time in sorted(seen - told)[:1]:
        raise TrackingError(f"the mask of frame {time} has the label {one}, {path} has not.")


def _joined(table: list[Track]) -> dict[int, int]:
    """Number of each track -> that of the one it goes on from after a gap, or its own."""
    known = {one.id: one for one in table}
    children: dict[int, int] = {}
    for one in table:
        for parent in one.parents:
            children[parent] = children.get(parent, 0) + 1
    again: dict[int, int] = {}
    for one in sorted(table, key=lambda track: track.begin):
        (parent,) = one.parents or (0,)
        gap = parent and children[parent] == 1 and one.begin > known[parent].end + 1
        again[one.id] = again.get(parent, one.id) if gap else one.id
    return again
