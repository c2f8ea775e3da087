"""The candidates of the present object with their scores, and keeping one."""

from qtpy.QtCore import QSize
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QButtonGroup, QComboBox, QPushButton, QSizePolicy

from napari_sam._panels.rows import Combo, Section, button, check_box, side_by_side
from napari_sam._panels.shapes import SIZE, pictures
from napari_sam._predict import PredictResponse
from napari_sam._session import MODE_TITLES, Session

CANDIDATES = 3


class MaskPanel(Section):
    """Candidate masks, what keeping does, keep."""

    def __init__(self, session: Session) -> None:
        super().__init__("Mask")
        self._session = session
        self._pictured: PredictResponse | None = None
        self.candidates: list[QPushButton] = []
        group = QButtonGroup(self)
        for index in range(CANDIDATES):
            made = button("-", "", lambda i=index: session.choose_candidate(i))  # type: ignore[misc]
            made.setCheckable(True)
            made.setIconSize(QSize(SIZE[1], SIZE[0]))
            made.setToolTip(
                f"Candidate {index + 1} and the IoU that the model expects of it."
                " The picture shows it before all three. Key C: next, Shift+C: previous."
            )
            group.addButton(made)
            self.candidates.append(made)
        self.commit = button("Keep (Enter)", "Write the mask to the labels. Enter", session.commit)
        self.mode = Combo(
            "What keeping does. A selected object is changed by the last three. Key M",
            lambda mode: session.set_mode(mode),  # type: ignore[arg-type]
        )
        self.mode.fill(list(MODE_TITLES.items()), session.mode)
        self.overwrite = check_box(
            "Overwrite others",
            "Off: pixels of other objects stay theirs. On: the newest object takes them.",
            session.set_overwrite,
        )
        self.kind = QComboBox()
        self.kind.setEditable(True)
        self.kind.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.kind.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.kind.setToolTip(
            "Class of new objects: choose one, or write a new one and press Enter. Key K: the next."
        )
        edit = self.kind.lineEdit()
        assert edit is not None
        edit.setPlaceholderText("no class")
        edit.editingFinished.connect(self._on_kind)
        self.kind.activated.connect(self._on_kind)
        self.add("Class", self.kind)
        self.add_wide(side_by_side(*self.candidates))
        self.add_wide(self.mode)
        self.overlaps = check_box(
            "Keep overlaps",
            "An object remembers its pixels on which others lie. The Labels layer shows one object"
            " in each pixel; files have them all, and deleting the upper one shows the lower.",
            session.set_keep_overlaps,
        )
        self.add_wide(self.overwrite, self.overlaps)
        self.add_wide(self.commit)
        session.objects_changed.connect(self._show)
        session.preview_changed.connect(self._show)
        session.prompts_changed.connect(self._show)
        session.selection_changed.connect(self._show)
        self._show()

    def _on_kind(self, *_: object) -> None:
        if self.kind.currentText() != self._session.kind:
            self._session.set_kind(self.kind.currentText())

    def _show_kinds(self) -> None:
        session, edit = self._session, self.kind.lineEdit()
        writing = edit is not None and edit.hasFocus()
        text = self.kind.currentText() if writing else session.kind
        wanted = ["", *session.document.kinds]
        if session.kind not in wanted:
            wanted.append(session.kind)
        if [self.kind.itemText(i) for i in range(self.kind.count())] != wanted:
            self.kind.clear()
            self.kind.addItems(wanted)
        self.kind.setCurrentText(text)

    def _show_pictures(self) -> None:
        """Drawn once an answer, not at each change of the document."""
        response = self._session.response
        if response is self._pictured:
            return
        self._pictured = response
        one = response is not None and len(response.objects) == 1
        icons = pictures(response.objects[0]) if response is not None and one else []
        for index, made in enumerate(self.candidates):
            made.setIcon(icons[index] if index < len(icons) else QIcon())

    def _show(self) -> None:
        self._show_kinds()
        self._show_pictures()
        session, scores = self._session, self._session.scores
        for index, made in enumerate(self.candidates):
            there = index < len(scores)
            made.setText(f"{index + 1}:  {scores[index]:.2f}" if there else f"{index + 1}:  -")
            made.setEnabled(there)
            made.setChecked(there and index == session.candidate)
        opened = session.document.draft.opened
        self.mode.fill(list(MODE_TITLES.items()), session.mode)
        self.mode.setEnabled(opened is None)
        self.overwrite.setChecked(session.overwrite)
        self.overlaps.setChecked(session.keep_overlaps)
        self.commit.setText("Keep (Enter)" if opened is None else f"Replace {opened} (Enter)")
        self.commit.setEnabled(bool(session.prompts))
