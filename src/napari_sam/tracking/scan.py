"""One look at every frame: its objects, and what they share with those of the frames before.

All that linking needs of the pixels, so that links can be made again with other settings at once.
"""

from collections import deque
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import TrackingError
from napari_sam.progress import Progress
from napari_sam.tracking.objects import Objects, describe_frame
from napari_sam.tracking.series import LabelSeries
from napari_sam.volume.overlaps import Overlaps, count_overlaps

__all__ = ["Scan", "check_gap", "scan_labels"]


@dataclass(frozen=True, eq=False)
class Scan:
    """What is known of the objects of a series, without its pixels.

    Attributes
    ----------
    objects
        Of all frames.
    overlaps
        By pair of frames, the earlier first: which rows of ``objects`` share pixels.
    shape
        (t, [z,] y, x).
    spacing
        Size of a voxel ([z,] y, x).
    gap
        Frames up to ``gap + 1`` apart were compared.
    """

    objects: Objects
    overlaps: Mapping[tuple[int, int], Overlaps] = field(repr=False)
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    gap: int


def scan_labels(series: LabelSeries, *, gap: int = 1) -> Generator[Progress, None, Scan]:
    """Read all frames once; ``gap + 2`` of them are in memory at a time.

    Parameters
    ----------
    series
        What to read.
    gap
        How many frames an object may be missing in and still be found again.

    Yields
    ------
    Progress
        After each frame.

    Returns
    -------
    Scan

    Raises
    ------
    ImageError
        A frame cannot be read, or has labels below 0.
    TrackingError
        The gap is below 0.
    """
    check_gap(gap)
    parts: list[Objects] = []
    starts = [0]
    overlaps: dict[tuple[int, int], Overlaps] = {}
    before: deque[tuple[int, NDArray[np.int32]]] = deque(maxlen=gap + 1)
    for time in range(len(series)):
        objects, places = describe_frame(series.frame(time))
        for earlier, there in before:
            found = count_overlaps(there, places)
            overlaps[earlier, time] = Overlaps(
                found.first - 1 + starts[earlier], found.second - 1 + starts[time], found.pixels
            )
        parts.append(objects)
        starts.append(starts[-1] + len(objects))
        before.append((time, places))
        yield Progress(time + 1, len(series), f"frame {time + 1}: {len(objects)} objects")
    return Scan(Objects.of_frames(parts), overlaps, series.shape, series.spacing, gap)


def check_gap(gap: int) -> None:
    """Refuse a gap that cannot be.

    Raises
    ------
    TrackingError
        It is below 0.
    """
    if gap < 0:
        raise TrackingError(f"the gap is {gap} frames; it cannot be below 0.")
