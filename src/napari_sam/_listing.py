"""The objects of the plane in view, of labels that are too large to be listed at once.

No Qt, no napari. A plane is read in a worker: of labels on disk that may take a while.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass

from psygnal import Signal

from napari_sam._annotated import ObjectRecord
from napari_sam._document import Document
from napari_sam._label_edit import LabelImage, Region
from napari_sam._session import Session
from napari_sam._survey import survey_region
from napari_sam.progress import Progress

Place = tuple[int, ...]  # of a plane on each axis; -1 on its own two


@dataclass(frozen=True, eq=False)
class ListRequest:
    """A plane to look through.

    Attributes
    ----------
    document, version
        Whose labels, and which step it was at.
    labels, region, axes
        What is read; the axes of the plane.
    place
        Of the plane.
    """

    document: Document
    version: int
    labels: LabelImage
    region: Region
    axes: tuple[int, int]
    place: Place


@dataclass(frozen=True, eq=False)
class Listed:
    """What was found."""

    request: ListRequest
    records: Mapping[int, ObjectRecord]


class Listing:
    """Has the plane in view listed.

    Parameters
    ----------
    session
        Of the same dock.
    """

    requested = Signal(object)  # ListRequest

    def __init__(self, session: Session) -> None:
        self.session = session
        self._asked: tuple[Document, Place] | None = None
        for signal in (session.document_changed, session.plane_changed, session.objects_changed):
            signal.connect(self.look)

    @property
    def waiting(self) -> bool:
        """Whether the plane in view is yet to be listed."""
        document, place = self.session.document, self._place()
        return document.listed is not None and place is not None and place not in document.listed

    def look(self) -> None:
        """Ask for the plane in view, unless that is under way or done."""
        session, place = self.session, self._place()
        document = session.document
        if not self.waiting or place is None or self._asked == (document, place):
            return
        assert session.plane is not None
        assert document.labels is not None
        self._asked = (document, place)
        region = tuple(
            slice(0, n) if i < 0 else slice(i, i + 1)
            for i, n in zip(place, document.labels.shape, strict=True)
        )
        self.requested.emit(
            ListRequest(
                document, document.version, document.labels, region, session.plane.axes, place
            )
        )

    def accept(self, found: Listed) -> None:
        """The worker has read the plane; if somebody has drawn since, it does so again."""
        request, self._asked = found.request, None
        document = request.document
        if request.version == document.version and request.labels is document.labels:
            document.enlist(request.place, found.records)
        if document is self.session.document:
            self.session.objects_changed.emit()

    def ended(self) -> None:
        """The worker has failed, or was stopped: the next change asks again."""
        self._asked = None

    def close(self) -> None:
        """Disconnect everybody: the window is gone."""
        self.requested.disconnect()

    def _place(self) -> Place | None:
        plane, labels = self.session.plane, self.session.document.labels
        if plane is None or labels is None or len(labels.shape) != len(plane.index):
            return None
        return tuple(-1 if a in plane.axes else i for a, i in enumerate(plane.index))


def list_plane(request: ListRequest) -> Generator[Progress, None, Listed]:
    """Look through a plane. A job."""
    yield Progress(0, 0, "Listing the objects of this plane ...")
    return Listed(request, survey_region(request.labels, request.region, request.axes))
