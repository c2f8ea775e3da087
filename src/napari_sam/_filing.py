"""Saving and loading objects in a sitting: what is asked of a worker, and what its answer changes.

Talks to the session; formats are the business of ``_formats``. No Qt, no napari. The jobs at the
end run in a worker; all methods are called in the window's thread.
"""

from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_sam._document import Document
from napari_sam._formats.files import format_of, read, write
from napari_sam._formats.object_set import Facts, ObjectSet
from napari_sam._journal import Source
from napari_sam._kinds import Kinds, with_kind
from napari_sam._label_edit import LabelImage, distinct
from napari_sam._operations import Drawing
from napari_sam._orders import Order, Prepared, prepare
from napari_sam._session import Session
from napari_sam.errors import ImageError, NapariSamError
from napari_sam.progress import Progress

COPIED_AT_ONCE = 1 << 23  # pixels; more are read by the worker: slower, but nobody waits
TRIES = 5


@dataclass(frozen=True, eq=False)
class SaveRequest:
    """What is saved where.

    Attributes
    ----------
    objects
        All but the labels, where those are large.
    labels
        Where the worker reads them; None: they are in ``objects``.
    version
        Tells a document's states apart: a number that grows with each step.
    """

    path: Path
    objects: ObjectSet
    labels: LabelImage | None = None
    version: Callable[[], int] = lambda: 0


@dataclass(frozen=True, eq=False)
class LoadRequest:
    """What is loaded for which labels."""

    path: Path
    document: Document
    image: str
    before: NDArray[Any]
    taken: frozenset[int]
    first: int
    overwrite: bool


@dataclass(frozen=True, eq=False)
class Loaded:
    """What a file says, and what it would change."""

    request: LoadRequest
    objects: ObjectSet
    prepared: Prepared


_filings: WeakSet["Filing"] = WeakSet()


def object_set_of(data: Any) -> ObjectSet | None:
    """What a sitting knows of the array of a Labels layer, the labels too; None: nothing."""
    for filing in list(_filings):
        for document in filing.session.documents:
            layer = getattr(document.labels, "layer", None)
            if document.labels is not None and layer is not None and layer.data is data:
                return replace(
                    filing.object_set(document, document.labels), labels=whole(document.labels)
                )
    return None


class Filing:
    """Files of one dock.

    Parameters
    ----------
    session
        The session of the same dock.
    space_of
        Axes, scale and unit of labels, as :class:`ObjectSet` has them.
    """

    save_requested = Signal(object)  # SaveRequest
    load_requested = Signal(object)  # LoadRequest
    saved = Signal(object)  # Path

    def __init__(
        self,
        session: Session,
        space_of: Callable[[LabelImage], Mapping[str, Any]] = lambda labels: {},
    ) -> None:
        self.session = session
        self.source = Source("image")
        self._space_of = space_of
        self._waiting: deque[SaveRequest] = deque()
        self._at_work: SaveRequest | None = None
        session.source_changed.connect(self._on_source)
        _filings.add(self)

    def _on_source(self, source: Source) -> None:
        self.source = source

    @property
    def place(self) -> Path:
        """Where files are likely to go: the folder of the image, or the home folder."""
        path = Path(self.source.path) if self.source.path else None
        return path.parent if path is not None and path.parent.is_dir() else Path.home()

    def suggest(self, ending: str) -> Path:
        """A name for the labels of the image."""
        stem = (Path(self.source.path or self.source.name).name or "image").split(".")[0]
        return self.place / f"{stem}_labels{ending}"

    # --- save --------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Save the objects; the ending says how."""
        document = self.session.document
        try:
            format_of(Path(path))
            request = self._save_request(Path(path), document)
        except (NapariSamError, MemoryError) as error:
            self.session.say(f"Not saved: {error}")
            return
        self.session.say(f"Saving {request.path.name} ...")
        self._waiting.append(request)
        self._save_next()

    def _save_next(self) -> None:
        """One after the other: none is dropped for a newer one."""
        if self._at_work is None and self._waiting:
            self._at_work = self._waiting.popleft()
            self.save_requested.emit(self._at_work)

    def _save_request(self, path: Path, document: Document) -> SaveRequest:
        labels = document.labels
        if labels is None:
            raise ImageError("there are no objects yet.")
        objects = self.object_set(document, labels)
        if np.prod(labels.shape, dtype=float) <= COPIED_AT_ONCE:
            return SaveRequest(path, replace(objects, labels=whole(labels)))
        return SaveRequest(path, objects, labels, lambda: document.version)

    def object_set(self, document: Document, labels: LabelImage) -> ObjectSet:
        """All but the labels: those are empty."""
        return ObjectSet(
            np.zeros((0,) * len(labels.shape), np.uint32),
            {n: Facts(one.kind, one.score, one.reviewed) for n, one in document.objects.items()},
            {n: one.covered for n, one in document.objects.items() if one.covered is not None},
            dict(document.kinds),
            image=Path(self.source.path).name or self.source.name,
            provenance={"model": self.session.model.name},
            **self._space_of(labels),
        )

    def saved_to(self, path: Path) -> None:
        """The worker has written it."""
        self.session.say(f"Saved: {path}")
        self.saved.emit(path)
        self.save_ended()

    def save_ended(self) -> None:
        """A file was written, or could not be: the next one."""
        self._at_work = None
        self._save_next()

    def cancelled(self) -> None:
        """The user has cancelled."""
        self._waiting.clear()
        self._at_work = None
        self.session.say("Cancelled. A file that was complete already stays.")

    # --- load --------------------------------------------------------------------------------

    def load(self, path: str | Path) -> None:
        """Add the objects of a file to the output, as one step that can be undone."""
        session = self.session
        if not session.has_output():
            session.say(f"Not loaded: {session.message}")
            return
        document, labels = session.document, session.document.labels
        assert labels is not None
        session.say(f"Loading {Path(path).name} ...")
        self.load_requested.emit(
            LoadRequest(
                Path(path),
                document,
                Path(self.source.path).name or self.source.name,
                whole(labels),
                frozenset(document.objects),
                document.next_number,
                session.overwrite and not labels.locked,
            )
        )

    def loaded(self, answer: Loaded) -> None:
        """The worker has read it: write, unless the labels have changed meanwhile."""
        request, session = answer.request, self.session
        if request.document is not session.document:
            session.say("Not loaded: another output or image has been chosen meanwhile.")
            return
        written: list[bool] = []
        if session.do(lambda document: written.append(_bring_in(document, answer))):
            if written[0]:
                session.say(_sentence(answer))
            else:  # somebody has drawn there meanwhile
                self.load(request.path)

    def close(self) -> None:
        """Disconnect everybody: the window is gone."""
        _filings.discard(self)
        for signal in (self.save_requested, self.load_requested, self.saved):
            signal.disconnect()


def whole(labels: LabelImage) -> NDArray[Any]:
    """A copy of all labels."""
    return labels.read(tuple(slice(0, n) for n in labels.shape))


def _bring_in(document: Document, answer: Loaded) -> bool:
    """Write what was loaded; False: the labels are others by now."""
    prepared, objects = answer.prepared, answer.objects
    facts = {
        label: {
            **vars(objects.facts.get(number, Facts())),
            "covered": objects.covered.get(number),
        }
        for number, label in prepared.numbers.items()
    }
    kinds: Kinds = document.kinds
    for name in dict.fromkeys([*objects.kinds, *(str(one["kind"]) for one in facts.values())]):
        kinds = kinds if name in kinds else with_kind(kinds, name, objects.kinds.get(name, ""))
    details = {"path": str(answer.request.path), "overwrite": answer.request.overwrite}
    return document.put(prepared, "load", facts=facts, kinds=kinds, details=details)


def _sentence(answer: Loaded) -> str:
    """What has become of a file, for the user."""
    count, found = len(answer.prepared.numbers), len(answer.objects.numbers)
    said = [f"Loaded {count} object{'s' * (count != 1)} of {answer.request.path.name}."]
    if count < found:
        said.append(f"{found - count} lie wholly on objects that are there: left out.")
    moved = sum(number != label for number, label in answer.prepared.numbers.items())
    if moved:
        said.append(f"{moved} got another number: theirs was taken.")
    return " ".join([*said, answer.objects.notes, "Undo takes them back."]).replace("  ", " ")


# --- jobs ----------------------------------------------------------------------------------------


def save(request: SaveRequest) -> Generator[Progress, None, Path]:
    """Write a file. A job.

    Raises
    ------
    NapariSamError
        The format cannot hold the objects, or an extra is missing.
    ImageError
        The labels were changed all the time, or the disk cannot be written.
    """
    yield Progress(0, 0, f"Saving {request.path.name} ...")
    objects = request.objects
    if request.labels is not None:
        objects = replace(objects, labels=_steady(request.labels, request.version))
        yield Progress(1, 2, f"Saving {request.path.name} ...")
    try:
        write(request.path, objects)
    except OSError as error:
        raise ImageError(f"{request.path} cannot be written: {error}") from error
    return request.path


def _steady(labels: LabelImage, version: Callable[[], int]) -> NDArray[Any]:
    """A copy of labels that the window may change meanwhile: all of one moment."""
    for _ in range(TRIES):
        before = version()
        values = whole(labels)
        if version() == before:
            return values
    raise ImageError("the labels change all the time: save again when you pause.")


def load(request: LoadRequest) -> Generator[Progress, None, Loaded]:
    """Read a file, and find what it would change. A job.

    Raises
    ------
    NapariSamError
        The file cannot be read or does not fit, or an extra is missing.
    """
    yield Progress(0, 0, f"Loading {request.path.name} ...")
    objects = read(request.path, request.before.shape, image=request.image)
    yield Progress(1, 2, f"Loading {request.path.name} ...")
    numbers = _free_numbers(objects.numbers, request)
    largest = int(np.iinfo(request.before.dtype).max)
    if max(numbers.values(), default=0) > largest:
        raise ImageError(f"{request.path} has labels above {largest}, the most of this layer.")
    drawing = Drawing((0,) * objects.labels.ndim, objects.labels)
    order = Order(drawing, request.before, numbers, request.first, request.overwrite)
    prepared = prepare(order)
    seen = set(distinct(objects.labels.ravel())[0].tolist())
    hidden = {number: numbers[number] for number in objects.covered if number not in seen}
    return Loaded(request, objects, replace(prepared, numbers={**prepared.numbers, **hidden}))


def _free_numbers(numbers: list[int], request: LoadRequest) -> dict[int, int]:
    """Their own where that is free, else the next above all."""
    free = max([request.first - 1, *numbers])
    chosen = {}
    for number in numbers:
        if number in request.taken:
            free += 1
            chosen[number] = free
        else:
            chosen[number] = number
    return chosen
