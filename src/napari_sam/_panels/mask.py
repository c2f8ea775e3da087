"""The candidates of the present object with their scores, and keeping one."""

from qtpy.QtWidgets import QButtonGroup, QPushButton

from napari_sam._panels.rows import Combo, Section, button, check_box, side_by_side
from napari_sam._session import MODE_TITLES, Session

CANDIDATES = 3


class MaskPanel(Section):
    """Candidate masks, what keeping does, keep."""

    def __init__(self, session: Session) -> None:
        super().__init__("Mask")
        self._session = session
        self.candidates: list[QPushButton] = []
        group = QButtonGroup(self)
        for index in range(CANDIDATES):
            made = button("-", "", lambda i=index: session.choose_candidate(i))  # type: ignore[misc]
            made.setCheckable(True)
            made.setToolTip(
                f"Candidate {index + 1} and the IoU that the model expects of it."
                " Key C: next, Shift+C: previous."
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
        self.add_wide(side_by_side(*self.candidates))
        self.add_wide(self.mode)
        self.add_wide(self.overwrite)
        self.add_wide(self.commit)
        session.preview_changed.connect(self._show)
        session.prompts_changed.connect(self._show)
        session.selection_changed.connect(self._show)
        self._show()

    def _show(self) -> None:
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
        self.commit.setText("Keep (Enter)" if opened is None else f"Replace {opened} (Enter)")
        self.commit.setEnabled(bool(session.prompts))
