"""The tab Files: save and load objects, and a folder of images."""

from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMenu

from napari_sam._filing import Filing
from napari_sam._formats.files import FORMATS, ZARR
from napari_sam._panels.rows import Section, button, line

ALL = "All files (*)"


class FilesPanel(Section):
    """Save and load the objects."""

    def __init__(self, filing: Filing) -> None:
        super().__init__("Objects in files")
        self._filing = filing
        self.save = button(
            "Save ...",
            "Write labels, classes, scores and what was reviewed.\nThe ending says how: "
            + ", ".join(one.endings[0] for one in FORMATS) + ".",
            self._ask_save,
        )  # fmt: skip
        self.load = button(
            "Load ...",
            "Add the objects of a file to the output; one undo takes them back.\n"
            "Objects that are there keep their pixels, unless 'Overwrite others' is on.",
            lambda: None,
        )
        self.menu = QMenu(self)
        self.menu.addAction("A file ...", self._ask_load)
        self.menu.addAction("An OME-Zarr folder ...", self._ask_folder)
        self.load.setMenu(self.menu)
        self.note = line(
            "The journal keeps everything by itself; files are for other programs and people."
        )
        self.add_wide(self.save, self.load)
        self.add_wide(self.note)

    def _ask_save(self) -> None:
        self.ask(self._filing.save, saving=True)

    def _ask_load(self) -> None:
        self.ask(self._filing.load, saving=False)

    def _ask_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(
            self, "Load OME-Zarr labels", str(self._filing.place)
        )
        if chosen:
            self._filing.load(chosen)

    def ask(self, then: Callable[[Path], None], *, saving: bool) -> None:
        """Let the user choose a file."""
        if saving:
            kinds = [f"{one.title} (*{one.endings[0]})" for one in FORMATS]
            suggested = str(self._filing.suggest(FORMATS[0].endings[0]))
            name, kind = QFileDialog.getSaveFileName(
                self, "Save objects", suggested, ";;".join([*kinds, ALL])
            )
            if name:
                then(with_ending(Path(name), kind))
            return
        endings = " ".join(f"*{e}" for one in FORMATS if one is not ZARR for e in one.endings)
        name, _ = QFileDialog.getOpenFileName(
            self, "Load objects", str(self._filing.place), f"Objects ({endings});;{ALL}"
        )
        if name:
            then(Path(name))


def with_ending(path: Path, kind: str) -> Path:
    """The name that is meant: with the ending of the chosen kind, if it has none of ours."""
    known = [ending for one in FORMATS for ending in one.endings]
    if path.name.lower().endswith(tuple(known)):
        return path
    chosen = next((one.endings[0] for one in FORMATS if kind.startswith(one.title)), "")
    return path.with_name(path.name + chosen)
