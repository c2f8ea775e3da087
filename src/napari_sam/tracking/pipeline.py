"""Tracking as a job: labels in, a proposal out. Knows which methods there are."""

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum

from napari_sam.progress import Progress
from napari_sam.tracking.lap import LapParams, link_by_laptrack, require
from napari_sam.tracking.overlap import OverlapParams, link_by_ids, link_by_overlap
from napari_sam.tracking.proposal import Proposal
from napari_sam.tracking.scan import Scan, check_gap, scan_labels
from napari_sam.tracking.series import LabelSeries

__all__ = ["Method", "TrackParams", "link", "track_labels"]


class Method(StrEnum):
    """How objects of frames are linked."""

    OVERLAP = "overlap"
    LAPTRACK = "laptrack"
    IDS = "ids"


@dataclass(frozen=True)
class TrackParams:
    """What tracking may set.

    Attributes
    ----------
    method
        ``overlap``: by shared pixels; ``laptrack``: by distance, for objects that move by more
        than their size; ``ids``: labels are tracks already.
    gap
        How many frames an object may be missing in.
    iou, covered
        As :class:`OverlapParams`; not for ``laptrack``.
    max_distance
        As :class:`LapParams`; for ``laptrack`` only.

    Raises
    ------
    TrackingError
        A value is out of its range.
    """

    method: Method = Method.OVERLAP
    gap: int = 1
    iou: float = OverlapParams.iou
    covered: float = OverlapParams.covered
    max_distance: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work, before anything is read."""
        check_gap(self.gap)
        OverlapParams(self.iou, self.covered)
        LapParams(self.max_distance)


def track_labels(
    series: LabelSeries, params: TrackParams | None = None
) -> Generator[Progress, None, Proposal]:
    """Read all frames once and link their objects.

    Parameters
    ----------
    series
        Labels of single frames.
    params
        None takes the defaults.

    Yields
    ------
    Progress
        After each frame.

    Returns
    -------
    Proposal
        ``accept()`` or ``decide(...)`` makes it a lineage.

    Raises
    ------
    ImageError
        A frame cannot be read.
    MissingExtraError
        LapTrack is wanted and not installed.
    """
    params = params or TrackParams()
    if params.method is Method.LAPTRACK:
        require()  # before, not after all frames were read
    scan = yield from scan_labels(series, gap=params.gap)
    yield Progress(len(series), len(series), "linking")
    return link(scan, params)


def link(scan: Scan, params: TrackParams) -> Proposal:
    """Link objects again, without reading anything: for settings that are tried out.

    Raises
    ------
    MissingExtraError
        LapTrack is wanted and not installed.
    """
    if params.method is Method.LAPTRACK:
        return link_by_laptrack(scan, LapParams(params.max_distance))
    by_overlap = OverlapParams(params.iou, params.covered)
    if params.method is Method.IDS:
        return link_by_ids(scan, by_overlap)
    return link_by_overlap(scan, by_overlap)
