"""What the next click means, and taking prompts back."""

from qtpy.QtWidgets import QButtonGroup, QPushButton

from napari_sam._panels.rows import Section, button, side_by_side
from napari_sam._session import Session, Tool

TOOLS: tuple[tuple[Tool, str, str], ...] = (
    ("positive", "+ Point", "Click on the object. Alt or Ctrl + click: a negative point. Key T."),
    ("negative", "- Point", "Click on what does not belong to the object. Key T."),
    ("box", "Box", "Drag a box around the object; several boxes are several objects."),
)


class PromptPanel(Section):
    """Tools for points and boxes, undo, clear."""

    def __init__(self, session: Session) -> None:
        super().__init__("Prompts")
        self._session = session
        self.tools: dict[Tool, QPushButton] = {}
        group = QButtonGroup(self)
        for tool, text, tooltip in TOOLS:
            self.tools[tool] = made = button(text, tooltip, lambda t=tool: session.choose_tool(t))  # type: ignore[misc]
            made.setCheckable(True)
            group.addButton(made)
        self.undo = button("Undo prompt", "Take back the last prompt. Ctrl+Z", session.undo_prompt)
        self.clear = button("Clear", "Drop all prompts. Escape", session.clear)
        self.add_wide(side_by_side(*self.tools.values()))
        self.add_wide(self.undo, self.clear)
        session.tool_changed.connect(self._show)
        session.prompts_changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        self.tools[self._session.tool].setChecked(True)
        self.undo.setEnabled(self._session.can_undo_prompt)
        self.clear.setEnabled(bool(self._session.prompts))
