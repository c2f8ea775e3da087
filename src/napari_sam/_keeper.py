"""Gives each document of a session its journal, and offers what an earlier sitting has left.

Talks to the session; the files are the journal's business. No Qt, no napari. All methods are called
in the window's thread; what is slow leaves as a request.
"""

from collections.abc import Generator
from pathlib import Path

import numpy as np
from psygnal import Signal

from napari_sam._chunked_labels import empty_labels
from napari_sam._document import Document
from napari_sam._journal import DAMAGED_SUFFIX, Journal, Lines, Source, newest, restore
from napari_sam._label_edit import enclosing
from napari_sam._session import Session
from napari_sam.errors import NapariSamError
from napari_sam.progress import Progress

AT_ONCE = 1 << 26  # pixels that are brought back in one piece


class Keeper:
    """Journals of one dock.

    Parameters
    ----------
    session
        The session of the same dock.
    """

    offer_changed = Signal()
    place_changed = Signal()
    look_requested = Signal(object, object)  # Source, Path or None
    restore_requested = Signal(object)  # Lines
    sync_requested = Signal(object)  # Journal

    def __init__(self, session: Session) -> None:
        self.session = session
        self.offer: Lines | None = None
        self._source = Source("image")
        self._journals: list[Journal] = []
        session.on_document = self._on_document
        session.document_changed.connect(self._on_labels)
        session.objects_changed.connect(self._on_change)
        session.prompts_changed.connect(self._on_change)
        session.source_changed.connect(self._on_source)
        session.projects_changed.connect(self._on_projects)
        self._on_document(session.document)

    @property
    def journal(self) -> Journal | None:
        """The one of the document at hand."""
        recorder = self.session.document.recorder
        return recorder if isinstance(recorder, Journal) else None

    def _on_document(self, document: Document) -> None:
        if document.recorder is None:
            document.recorder = Journal(
                self._source, on_failure=self.session.say, chosen=self.session.projects
            )
            self._journals.append(document.recorder)

    def _on_labels(self) -> None:
        """Labels that were there before are what the journal starts from."""
        document, journal = self.session.document, self.journal
        if document.labels is not None and journal is not None and journal.labels is None:
            journal.labels = document.labels
            if document.objects:
                journal.base(document.labels)

    def _on_change(self) -> None:
        journal = self.journal
        if journal is not None and journal.lines:
            self.sync_requested.emit(journal)
            if journal.lines == 1:
                self.place_changed.emit()

    # --- what was left -----------------------------------------------------------------------

    def _on_source(self, source: Source) -> None:
        """Look whether anybody has worked on this image before."""
        self._source = source
        journal = self.journal
        if journal is not None and not journal.lines:
            journal.source = source
        self._let_go()
        self._offer(None)
        self.look_requested.emit(source, self.session.projects)
        self.place_changed.emit()

    def _on_projects(self) -> None:
        """Journals belong elsewhere from now on; one that is begun stays where it is."""
        for journal in self._journals:
            if not journal.lines:
                journal.chosen = self.session.projects
        chosen = self.session.projects
        begun = self.journal is not None and self.journal.lines > 0
        if self.session.image is not None:
            where = "beside the image" if chosen is None else f"to {chosen}"
            self.session.say(f"Journals go {where}{', from the next image on' * begun}.")
            if not begun:
                self.look_requested.emit(self._source, chosen)
        self.place_changed.emit()

    @property
    def folder(self) -> Path:
        """Where the journal of this image is, or will be."""
        journal = self.journal
        if journal is not None and journal.path is not None:
            return journal.path.parent
        return self._source.folder(self.session.projects)

    def _let_go(self) -> None:
        """Close the journals of what is not worked on any more: it can be restored from now on."""
        documents = (self.session.document, *self.session.documents)
        in_use = [id(document.recorder) for document in documents]
        for journal in [one for one in self._journals if id(one) not in in_use]:
            journal.close()
            self._journals.remove(journal)

    def found(self, answer: tuple[Source, Lines | None]) -> None:
        """What an earlier sitting has left of an image, if anything."""
        source, lines = answer
        if source == self._source:
            self._offer(lines)

    def dismiss(self) -> None:
        """Not now: the journal stays on disk."""
        self._offer(None)

    def request_restore(self) -> None:
        """Bring back what is offered."""
        if self.offer is not None:
            self.restore_requested.emit(self.offer)

    def restored(self, answer: tuple[Lines, Document]) -> None:
        """The document is there again: show it in a new output, and go on with its journal."""
        lines, document = answer
        if lines != self.offer:
            return
        session = self.session
        journal = Journal(lines.source, lines.path, on_failure=session.say)
        try:
            journal.open_again(lines)
        except (NapariSamError, OSError) as error:
            session.say(f"Not restored: {error}")
            return
        labels = session.new_labels()
        if labels is None:
            journal.close()
            return
        assert document.labels is not None
        if document.objects:
            regions = [record.slices for record in document.objects.values()]
            whole = enclosing(regions)
            small = np.prod([part.stop - part.start for part in whole], dtype=float) <= AT_ONCE
            for region in [whole] if small else regions:
                labels.write(region, document.labels.read(region))
        document.labels = journal.labels = labels
        document.recorder = journal
        self._journals.append(journal)
        self._offer(None)
        session.load(document)
        said = f"Restored: {len(document.objects)} objects, and all steps can be undone."
        if lines.damaged:
            said += f" A damaged line and {lines.lost} after it are not: they are kept in"
            said += f" {lines.path.with_suffix(DAMAGED_SUFFIX)}."
        session.say(said)

    def close(self) -> None:
        """The window is gone."""
        for journal in self._journals:
            journal.close()
        self._journals.clear()
        for name, value in vars(type(self)).items():
            if isinstance(value, Signal):
                getattr(self, name).disconnect()

    def _offer(self, lines: Lines | None) -> None:
        if lines != self.offer:
            self.offer = lines
            self.offer_changed.emit()


def look(
    source: Source, chosen: Path | None = None
) -> Generator[Progress, None, tuple[Source, Lines | None]]:
    """Look for a journal of an image; ``chosen``: also in this folder for many images. A job."""
    yield Progress(0, 0, "Looking for earlier work ...")
    return source, newest(source, chosen)


def bring_back(lines: Lines) -> Generator[Progress, None, tuple[Lines, Document]]:
    """Do again what a journal says, in memory. A job.

    Raises
    ------
    JournalError
        The journal is damaged.
    """
    yield Progress(0, 0, "Restoring ...")
    return lines, restore(lines, empty_labels(lines.source.shape))


def sync(journal: Journal) -> Generator[Progress, None, None]:
    """Wait until the disk has all lines. A job."""
    yield Progress(0, 0, "")
    journal.sync()
