"""The keys, for reading."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QGroupBox, QLabel

KEYS = (
    ("Click", "on the object"),
    ("Alt / Ctrl + click", "not this"),
    ("T", "points, scribbles: + or -"),
    ("H", "mask under the mouse"),
    ("C", "next candidate"),
    ("M", "new, add, subtract ..."),
    ("K", "next class"),
    ("Enter", "keep as label"),
    ("Escape", "clear prompts"),
    ("Ctrl+Z", "undo anything"),
    ("Ctrl+Shift+Z", "redo"),
    ("3, then drag", "move a point"),
    ("Delete", "remove a point"),
    ("S", "select the object here"),
    ("Shift+S", "select one more"),
    ("O", "open it: prompts again"),
    ("U", "begin with its shape"),
    ("X", "delete the selected"),
    ("N / Shift+N", "go through the review"),
    ("R", "accept, and next"),
    ("PageUp / PageDown", "through a series"),
)


class KeysPanel(QGroupBox):
    """A small table of the keys that our prompt layers have."""

    def __init__(self) -> None:
        super().__init__("Keys (while a prompt layer is selected)")
        grid = QGridLayout(self)
        grid.setContentsMargins(6, 6, 6, 6)
        grid.setVerticalSpacing(1)
        for row, (key, meaning) in enumerate(KEYS):
            for column, text in enumerate((f"<b>{key}</b>", meaning)):
                label = QLabel(text)
                label.setTextFormat(Qt.TextFormat.RichText)  # plain text sits some pixels higher
                label.setWordWrap(column == 1)  # the dock is narrow
                grid.addWidget(label, row, column)
        grid.setColumnStretch(1, 1)
