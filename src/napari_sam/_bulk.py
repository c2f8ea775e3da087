"""Many objects kept in one step: a worker finds what changes, the window only writes.

Talks to the session. No Qt, no napari. The job at the end runs in a worker; all methods are called
in the window's thread.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_sam._covered import Covered
from napari_sam._document import Document, Made
from napari_sam._drawing import in_all_axes
from napari_sam._operations import Drawing
from napari_sam._orders import Order, Prepared, prepare
from napari_sam._predict import Origin, Plane
from napari_sam._session import Session
from napari_sam.core.regions import Region
from napari_sam.progress import Progress

AT_ONCE = 1 << 16  # pixels: less is not worth a worker


class Masks(Protocol):
    """Objects of a plane that are drawn when somebody has the time."""

    @property
    def plane(self) -> Plane:
        """Where they lie."""
        ...

    @property
    def region(self) -> Region:
        """Rows and columns of the plane that they touch."""
        ...

    @property
    def scores(self) -> Sequence[float]:
        """Of the objects 1 to n."""
        ...

    @property
    def origin(self) -> Origin:
        """What they were made by; the session's model may be another by now."""
        ...

    def canvas(self) -> NDArray[Any]:
        """The region (h, w) with numbers 1 to n. May be slow."""
        ...

    def beneath(self, canvas: NDArray[Any]) -> Mapping[int, NDArray[np.bool_]]:
        """Of each object (h, w) the pixels on which others of them lie. May be slow."""
        ...


@dataclass(frozen=True, eq=False)
class BulkRequest:
    """What is kept, and the labels that were there."""

    masks: Masks
    document: Document
    before: NDArray[Any]
    first: int
    overwrite: bool
    overlaps: bool
    then: Callable[[list[int]], None]


class Bulk:
    """Keeps many objects at once, for one dock.

    Parameters
    ----------
    session
        The session of the same dock.
    """

    requested = Signal(object)  # BulkRequest

    def __init__(self, session: Session) -> None:
        self.session = session

    def keep(self, masks: Masks, then: Callable[[list[int]], None], *, overwrite: bool) -> None:
        """Write objects as new labels, as one step; the draft stays.

        ``then`` is told their labels, unless it was refused: the session has said why.
        """
        session = self.session
        if not session.has_output():
            return
        document, labels = session.document, session.document.labels
        assert labels is not None
        height, width = (part.stop - part.start for part in masks.region)
        start, empty = in_all_axes(
            masks.plane, _offset(masks.region), np.empty((height, width), bool)
        )
        region = tuple(slice(at, at + n) for at, n in zip(start, empty.shape, strict=True))
        request = BulkRequest(
            masks, document, labels.read(region), document.next_number,
            overwrite and not labels.locked, session.keep_overlaps, then,
        )  # fmt: skip
        if height * width <= AT_ONCE:
            session.do(lambda _: self.accept(_finish(keep_all(request))), "")
        else:
            session.say("Keeping ...")
            self.requested.emit(request)

    def accept(self, answer: tuple[BulkRequest, Prepared]) -> None:
        """The worker has found what changes: write it, unless the labels have changed."""
        request, prepared = answer
        session = self.session
        if request.document is not session.document:
            session.say("Not kept: another output or image has been chosen meanwhile.")
            return
        written: list[bool] = []
        if not session.do(lambda document: written.append(self._write(document, answer))):
            return
        if written[0]:
            request.then(list(prepared.numbers.values()))
        else:
            self.keep(request.masks, request.then, overwrite=request.overwrite)

    def cancelled(self) -> None:
        """The user has cancelled."""
        self.session.say("Cancelled: nothing was kept.")

    def close(self) -> None:
        """Disconnect everybody: the window is gone."""
        self.requested.disconnect()

    def _write(self, document: Document, answer: tuple[BulkRequest, Prepared]) -> bool:
        request, prepared = answer
        session, masks, plane = self.session, request.masks, request.masks.plane
        facts = {
            label: {
                **vars(Made(score=_known(masks.scores[one - 1]), model=masks.origin.model)),
                "kind": session.kind,
                "covered": prepared.covered.get(one),
            }
            for one, label in prepared.numbers.items()
        }
        return document.put(
            prepared,
            "commit",
            facts=facts,
            kind=session.kind,
            overlaps=request.overlaps,
            axes=plane.axes,
            details={"each": False, **session.provenance(plane, masks.origin)},
        )


def keep_all(
    request: BulkRequest,
) -> Generator[Progress, None, tuple[BulkRequest, Prepared]]:
    """Draw the objects and find what changes. A job.

    Raises
    ------
    EditError
        The labels have no room for so many.
    """
    masks = request.masks
    yield Progress(0, 2, "Drawing ...")
    canvas = masks.canvas()
    yield Progress(1, 2, "Keeping ...")
    offset, drawn = in_all_axes(masks.plane, _offset(masks.region), canvas)
    order = Order(
        Drawing(offset, drawn), request.before, None, request.first, request.overwrite,
        request.overlaps, _among(masks, canvas) if request.overlaps else {},
    )  # fmt: skip
    return request, prepare(order)


def _among(masks: Masks, canvas: NDArray[Any]) -> dict[int, Covered]:
    """Of each object its pixels on which others of the same lot lie."""
    found = {}
    for number, mask in masks.beneath(canvas).items():
        offset, drawn = in_all_axes(masks.plane, _offset(masks.region), mask)
        covered = Covered.of(drawn, offset)
        if covered is not None:
            found[number] = covered
    return found


def _known(score: float) -> float | None:
    """A score; None for what is not a number: labels of tiles have none."""
    return None if math.isnan(score) else score


def _offset(region: Region) -> tuple[int, int]:
    return (region[0].start, region[1].start)


def _finish(job: Generator[Progress, None, Any]) -> Any:
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value
