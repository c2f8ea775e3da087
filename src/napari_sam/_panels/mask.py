"""The candidates of the present object with their scores, and keeping one."""

from qtpy.QtWidgets import QButtonGroup, QPushButton

from napari_sam._panels.rows import Section, button, side_by_side
from napari_sam._session import Session

CANDIDATES = 3


class MaskPanel(Section):
    """Candidate masks, commit, undo of the last commit."""

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
        self.commit = button("Keep (Enter)", "Write the mask as a new label. Enter", session.commit)
        self.undo = button(
            "Undo keep",
            "Take the last object out of the labels; its prompts come back."
            " Ctrl+Z when there is no prompt.",
            session.undo_commit,
        )
        self.add_wide(side_by_side(*self.candidates))
        self.add_wide(self.commit, self.undo)
        session.preview_changed.connect(self._show)
        session.prompts_changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        session, scores = self._session, self._session.scores
        for index, made in enumerate(self.candidates):
            there = index < len(scores)
            made.setText(f"{index + 1}:  {scores[index]:.2f}" if there else f"{index + 1}:  -")
            made.setEnabled(there)
            made.setChecked(there and index == session.candidate)
        self.commit.setEnabled(bool(session.prompts))
        self.undo.setEnabled(session.can_undo_commit)
