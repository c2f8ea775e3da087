"""Pages: panels of which one is in view, chosen by buttons that are all in view.

A bar of tabs hides what does not fit behind arrows, and a dock is narrow. Pages scroll, so that the
highest of them does not make the window grow; all but the first, which is worked with.
"""

from qtpy.QtCore import Qt
from qtpy.QtCore import Signal as QtSignal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QButtonGroup,
    QGridLayout,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_sam._panels.rows import Scrolled

A_ROW = 4


class Pages(QWidget):
    """Buttons in rows above the page that was chosen last; the first page is in view at first."""

    currentChanged = QtSignal(int)  # noqa: N815  (named as in QTabWidget, as all here)

    def __init__(self) -> None:
        super().__init__()
        self._buttons = QButtonGroup(self)
        self._stack = QStackedWidget()
        self._pages: list[QWidget] = []
        self._grid = QGridLayout()
        self._grid.setSpacing(2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._grid)
        layout.addWidget(self._stack)
        self._buttons.idClicked.connect(self.setCurrentIndex)

    def addTab(self, page: QWidget, title: str) -> int:
        """A page more; its number."""
        number = self._stack.addWidget(Scrolled(page) if self._pages else page)
        self._pages.append(page)
        button = QPushButton(title)
        button.setCheckable(True)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.setChecked(number == 0)
        self._buttons.addButton(button, number)
        self._grid.addWidget(button, number // A_ROW, number % A_ROW)
        return int(number)

    def widget(self, index: int) -> QWidget | None:
        """The page of a number."""
        return self._pages[index] if 0 <= index < len(self._pages) else None

    def currentIndex(self) -> int:
        """The number of the page in view."""
        return int(self._stack.currentIndex())

    def setCurrentWidget(self, page: QWidget) -> None:
        """Show a page."""
        self.setCurrentIndex(self._pages.index(page))

    def setCurrentIndex(self, index: int) -> None:
        """Show the page of a number."""
        if index == self.currentIndex() or self.widget(index) is None:
            return
        self._stack.setCurrentIndex(index)
        button = self._buttons.button(index)
        if button is not None:
            button.setChecked(True)
        self.currentChanged.emit(index)
