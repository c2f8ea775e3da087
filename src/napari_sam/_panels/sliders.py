"""A slider that shows its value, which need not be a whole number nor evenly spaced."""

from collections.abc import Callable, Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSlider, QWidget


class Slider(QWidget):
    """Chooses one of some values, in their order.

    Parameters
    ----------
    values
        From left to right.
    on_moved
        Called with the value at every step of the user's hand; never by :meth:`show_value`.
    text
        How a value is written at the right of the slider.
    """

    def __init__(
        self,
        values: Sequence[float],
        tooltip: str,
        on_moved: Callable[[float], None],
        *,
        text: Callable[[float], str] = "{:.2f}".format,
    ) -> None:
        super().__init__()
        self._values = list(values)
        self._text = text
        self._on_moved = on_moved
        self._showing = False
        self.setToolTip(tooltip)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keys are for the canvas
        self.slider.setRange(0, len(self._values) - 1)
        self.label = QLabel()
        widest = max((text(value) for value in self._values), key=len)
        self.label.setMinimumWidth(self.label.fontMetrics().horizontalAdvance(widest + " "))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.slider, 1)
        layout.addWidget(self.label)
        self.slider.valueChanged.connect(self._moved)

    @property
    def value(self) -> float:
        """What is chosen."""
        return self._values[self.slider.value()]

    def show_value(self, value: float) -> None:
        """Go to the nearest of the values, and write this one."""
        nearest = min(range(len(self._values)), key=lambda i: abs(self._values[i] - value))
        self._showing = True
        try:
            self.slider.setValue(nearest)
        finally:
            self._showing = False
        self.label.setText(self._text(value))

    def _moved(self, position: int) -> None:
        if not self._showing:
            self.label.setText(self._text(self._values[position]))
            self._on_moved(self._values[position])
