"""A folder of images, one after the other, each with its own journal. No Qt, no napari.

Talks to the session, to its files and to its journals; whoever has the viewer opens the images.
"""

import re
from pathlib import Path

from psygnal import Signal

from napari_sam._filing import Filing
from napari_sam._image_files import READABLE
from napari_sam._keeper import Keeper
from napari_sam._workplace import READY

RESULTS = ("_labels", "_mask", "_masks")  # ends of names that are no images to annotate


class Series:
    """The images of a folder and which of them is open.

    Parameters
    ----------
    keeper, filing
        Of the same dock.

    Attributes
    ----------
    files
        The images, in the order in which people count.
    index
        Which of them is open; -1: none.
    save_as
        Ending of the files in which labels are saved when the next image is opened; empty: none.
    restore
        Whether earlier work comes back without asking. What was done in this sitting always does.
    """

    changed = Signal()
    open_requested = Signal(object)  # Path

    def __init__(self, keeper: Keeper, filing: Filing) -> None:
        self.keeper = keeper
        self.filing = filing
        self.session = filing.session
        self.files: tuple[Path, ...] = ()
        self.index = self._before = -1
        self.save_as = ""
        self.restore = False
        self._visited: set[Path] = set()
        keeper.offer_changed.connect(self._on_offer)

    @property
    def here(self) -> Path | None:
        """The image that is open."""
        return self.files[self.index] if 0 <= self.index < len(self.files) else None

    @property
    def title(self) -> str:
        """Which of how many, for the user."""
        if self.here is None:
            return "No folder is open."
        return f"{self.index + 1} of {len(self.files)}: {self.here.name}"

    def open_folder(self, folder: str | Path) -> None:
        """Take the images of a folder, and open the first."""
        found = images_in(Path(folder))
        if not found:
            endings = ", ".join(READABLE)
            self.session.say(f"There is no image in {folder}: looked for {endings}.")
            return
        if not self._may_leave():
            return
        self._leave()
        self.files, self.index, self._visited = found, -1, set()
        self._open(0)

    def go(self, index: int) -> None:
        """Open an image by its place, from 0; the labels of the one before are kept."""
        if not 0 <= index < len(self.files) or index == self.index:
            return
        if self._may_leave():
            self._leave()
            self._open(index)

    def set_up(self, *, restore: bool, save_as: str) -> None:
        """How images are opened and left."""
        self.restore, self.save_as = restore, save_as
        self.changed.emit()

    def step(self, by: int = 1) -> None:
        """Open the next image; -1: the one before."""
        if self.here is None:
            self.session.say("Open a folder of images first: tab Files.")
        elif not 0 <= self.index + by < len(self.files):
            self.session.say(f"This is the {'last' if by > 0 else 'first'} image of the series.")
        else:
            self.go(self.index + by)

    def close(self) -> None:
        """Disconnect everybody: the window is gone."""
        for signal in (self.changed, self.open_requested):
            signal.disconnect()

    def failed(self, path: Path, reason: str) -> None:
        """The viewer could not open it: the one before is still there."""
        self.index = self._before
        self.session.say(f"{path.name} cannot be opened: {reason}")

    def _may_leave(self) -> bool:
        """Not while something would be lost."""
        journal, document = self.keeper.journal, self.session.document
        if journal is not None and journal.failed and document.objects:
            self.session.say(
                "The journal of this image is not written: save its objects first (Save ...),"
                " then close its layers."
            )
            return False
        return True

    def _leave(self) -> None:
        here = self.here
        if here is not None:
            self._visited.add(here)
            if self.save_as and self.session.document.objects:
                self.filing.save(self.filing.suggest(self.save_as))

    def _open(self, index: int) -> None:
        self._before, self.index = self.index, index
        assert self.here is not None
        self.session.say(f"{self.title}. {READY}")
        self.open_requested.emit(self.here)
        self.changed.emit()

    def _on_offer(self) -> None:
        offer = self.keeper.offer
        if offer is None or self.here is None or Path(offer.source.path) != self.here:
            return
        if self.restore or self.here in self._visited:
            self.keeper.request_restore()


def images_in(folder: Path) -> tuple[Path, ...]:
    """Images of a folder as people count: 2 before 10. Not what looks like results of ours."""
    if not folder.is_dir():
        return ()
    found = (
        path
        for path in folder.iterdir()
        if path.suffix.lower() in READABLE
        and not path.name.startswith(".")
        and not path.name.split(".")[0].endswith(RESULTS)
    )
    return tuple(sorted(found, key=_counting))


def _counting(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
