"""What the next click means, and taking prompts back."""

from qtpy.QtWidgets import QButtonGroup, QPushButton

from napari_sam._panels.rows import Section, button, check_box, side_by_side
from napari_sam._session import Session, Tool

TOOLS: tuple[tuple[Tool, str, str], ...] = (
    ("positive", "+ Point", "Click on the object. Alt or Ctrl + click: a negative point. Key T."),
    ("negative", "- Point", "Click on what does not belong to the object. Key T."),
    ("box", "Box", "Drag a box around the object; several boxes are several objects."),
    ("scribble", "+ Scribble", "Draw a line on the object. Alt or Ctrl: not the object. Key T."),
    ("negative scribble", "- Scribble", "Draw a line on what does not belong to it. Key T."),
    ("lasso", "Lasso", "Draw around the object, roughly; several are several objects."),
    (
        "polygon",
        "Polygon",
        "Click from corner to corner around it; Enter or a double-click ends it.",
    ),
    ("ellipse", "Ellipse", "Drag an ellipse over the object; several are several objects."),
)
ROWS = (slice(0, 3), slice(3, 5), slice(5, 8))  # of tools


class PromptPanel(Section):
    """Tools for all kinds of prompts, undo, redo, clear."""

    def __init__(self, session: Session) -> None:
        super().__init__("Prompts")
        self._session = session
        self.tools: dict[Tool, QPushButton] = {}
        group = QButtonGroup(self)
        for tool, text, tooltip in TOOLS:
            self.tools[tool] = made = button(text, tooltip, lambda t=tool: session.choose_tool(t))  # type: ignore[misc]
            made.setCheckable(True)
            group.addButton(made)
        self.each = check_box(
            "Each point an object",
            "Every positive point is an object of its own, negative points are beside all of them;"
            " Enter keeps them all.",
            session.set_each,
        )
        self.hover = check_box(
            "Show before the click",
            "Show the mask that a click under the mouse would give. Key H",
            session.set_hovering,
        )
        self.undo = button(
            "Undo", "Take back the last thing, whatever it was. Ctrl+Z", session.undo
        )
        self.redo = button("Redo", "Do again what was undone. Ctrl+Shift+Z", session.redo)
        self.clear = button("Clear", "Drop all prompts. Escape", session.clear)
        for row in ROWS:
            self.add_wide(side_by_side(*list(self.tools.values())[row]))
        self.add_wide(self.each)
        self.add_wide(self.hover)
        self.add_wide(self.undo, self.redo, self.clear)
        session.tool_changed.connect(self._show)
        session.prompts_changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        self.tools[self._session.tool].setChecked(True)
        session = self._session
        self.each.setChecked(session.each)
        self.hover.setChecked(session.hovering)
        self.undo.setEnabled(session.can_undo)
        self.redo.setEnabled(session.can_redo)
        self.clear.setEnabled(bool(session.prompts) or session.document.draft.opened is not None)
