"""What panels are made of: a titled section, a narrow combo, a button that takes no focus."""

from collections.abc import Callable, Sequence
from typing import cast

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

LARGEST_NUMBER = 1e9
EDGE = 4  # pixels: more than themes put around a scrolled widget


class Section(QGroupBox):
    """A titled part of the dock with labelled rows."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._form = QFormLayout(self)
        self._form.setContentsMargins(6, 6, 6, 6)
        self._form.setVerticalSpacing(4)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)

    def add(self, label: str, widget: QWidget) -> None:
        """Add a row with a label."""
        self._form.addRow(label, widget)

    def add_wide(self, *widgets: QWidget) -> QWidget:
        """Add a row over the whole width, the widgets side by side."""
        row = widgets[0] if len(widgets) == 1 else side_by_side(*widgets)
        self._form.addRow(row)
        return row

    def show_row(self, widget: QWidget, shown: bool) -> None:
        """Show or hide the row of a widget, with its label."""
        self._form.setRowVisible(widget, shown)


def side_by_side(*widgets: QWidget) -> QWidget:
    """Widgets in one row, as wide as each other."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for widget in widgets:
        layout.addWidget(widget, 1)
    return row


def column(*widgets: QWidget) -> QWidget:
    """Widgets above each other, as high as they need."""
    made = QWidget()
    layout = QVBoxLayout(made)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    layout.addStretch(1)
    return made


class Scrolled(QScrollArea):
    """A widget that may be higher than its place, but is never cut at its side.

    A dock must not make the window grow. How wide the widget must be is known only once napari's
    theme has come to it.
    """

    def __init__(self, widget: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(widget)

    def minimumSizeHint(self) -> QSize:
        """As wide as the widget and a bar, and as low as Qt takes it."""
        widget, bar = self.widget(), self.verticalScrollBar()
        width = 0 if widget is None else widget.minimumSizeHint().width()
        taken = 0 if bar is None else bar.sizeHint().width()
        return QSize(width + taken + EDGE, super().minimumSizeHint().height())

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """The widget wants another size: so do we."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))


class Combo(QComboBox):
    """A combo of (value, text) that may be narrower than its longest text.

    Parameters
    ----------
    tooltip
        What is chosen.
    on_chosen
        Gets the value that the user has chosen.
    on_open
        Called before the list opens: it may have to be filled anew.
    """

    def __init__(
        self,
        tooltip: str,
        on_chosen: Callable[[object], None],
        *,
        on_open: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._on_open = on_open
        self.setToolTip(tooltip)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(10)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.activated.connect(lambda index: on_chosen(self.itemData(index)))

    def showPopup(self) -> None:
        """Open the list, as Qt does on a click or a key."""
        if self._on_open is not None:
            self._on_open()
        super().showPopup()

    def fill(self, entries: Sequence[tuple[object, str]], chosen: object) -> None:
        """Show these entries, one of them chosen. Does not call back."""
        self.clear()
        for value, text in entries:
            self.addItem(text, value)
            self.setItemData(self.count() - 1, text, Qt.ItemDataRole.ToolTipRole)
        values = [value for value, _ in entries]
        self.setCurrentIndex(values.index(chosen) if chosen in values else -1)

    def disable(self, value: object, reason: str) -> None:
        """Show an entry as one that cannot be chosen; the reason is its tooltip."""
        item = cast(QStandardItemModel, self.model()).item(self.findData(value))
        if item is not None:
            item.setEnabled(False)
            item.setToolTip(reason)


def button(text: str, tooltip: str, on_click: Callable[[], None]) -> QPushButton:
    """A button that does not take the keyboard from the canvas, so that the keys go on working."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    made.clicked.connect(lambda *_: on_click())
    return made


def check_box(text: str, tooltip: str, on_toggled: Callable[[bool], None]) -> QCheckBox:
    """A check box that does not take the keyboard from the canvas."""
    made = QCheckBox(text)
    made.setToolTip(tooltip)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    made.clicked.connect(lambda on: on_toggled(bool(on)))
    return made


def number_box(tooltip: str, on_changed: Callable[[float], None]) -> QDoubleSpinBox:
    """A number of any size, told when it is complete."""
    made = QDoubleSpinBox()
    made.setToolTip(tooltip)
    made.setRange(-LARGEST_NUMBER, LARGEST_NUMBER)
    made.setDecimals(3)
    made.setKeyboardTracking(False)
    made.setMinimumWidth(60)
    made.valueChanged.connect(on_changed)
    return made


def line(text: str = "") -> QLabel:
    """Text that wraps."""
    label = QLabel(text)
    label.setWordWrap(True)
    return label
