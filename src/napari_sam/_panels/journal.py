"""Where the journal of this image is, and the folder that the user chooses for journals."""

from pathlib import Path

from qtpy.QtWidgets import QFileDialog

from napari_sam._keeper import Keeper
from napari_sam._panels.rows import Section, button, line


class JournalPanel(Section):
    """The folder of the journal; another one."""

    def __init__(self, keeper: Keeper) -> None:
        super().__init__("Journal")
        self._keeper = keeper
        self.said = line()
        self.choose = button(
            "Choose folder ...",
            "Keep the journals of all images in a folder of yours, and restore from there.\n"
            "For good: Preferences > napari-sam.",
            self._ask,
        )
        self.beside = button(
            "Beside the image",
            "Keep each journal in a folder beside its image.",
            lambda: keeper.session.set_projects(None),
        )
        self.add_wide(self.said)
        self.add_wide(self.choose, self.beside)
        keeper.place_changed.connect(self._show)
        self._show()

    def _ask(self) -> None:
        before = self._keeper.session.projects or self._keeper.folder.parent
        chosen = QFileDialog.getExistingDirectory(self, "A folder for journals", str(before))
        if chosen:
            self._keeper.session.set_projects(Path(chosen))

    def _show(self) -> None:
        folder = self._keeper.folder
        self.said.setText(f"In {folder.parent.name}/{folder.name}")
        self.said.setToolTip(str(folder))
        self.beside.setEnabled(self._keeper.session.projects is not None)
