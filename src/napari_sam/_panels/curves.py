"""Lines over an axis, painted by ourselves: loss over seconds, scores over planes.

Knows Qt and numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtCore import Signal as QtSignal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

HEIGHT = 110
LEFT, RIGHT, TOP, BOTTOM = 34, 8, 18, 16
DOT = 2.5


@dataclass(frozen=True)
class Curve:
    """One line.

    Attributes
    ----------
    name, colour
        For the legend; ``#rrggbb``.
    points
        (x, y) from left to right; what is not a number is a gap.
    dots
        Whether each point is marked.
    """

    name: str
    colour: str
    points: tuple[tuple[float, float], ...]
    dots: bool = False


class CurvePlot(QWidget):
    """A small diagram with a legend.

    Signals
    -------
    picked(float)
        The x that was clicked at.
    """

    picked = QtSignal(float)

    def __init__(self, x_name: str, y_range: tuple[float, float] | None = None) -> None:
        super().__init__()
        self._x_name, self._y_range = x_name, y_range
        self.curves: tuple[Curve, ...] = ()
        self.marks: tuple[float, ...] = ()
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_curves(self, curves: Sequence[Curve], marks: Sequence[float] = ()) -> None:
        """Draw these; ``marks`` are upright lines at places of the axis."""
        self.curves, self.marks = tuple(curves), tuple(marks)
        self.update()

    # --- where things are --------------------------------------------------------------------

    def _frame(self) -> QRectF:
        return QRectF(LEFT, TOP, max(1, self.width() - LEFT - RIGHT), HEIGHT - TOP - BOTTOM)

    def _ranges(self) -> tuple[float, float, float, float]:
        points = [p for curve in self.curves for p in curve.points if math.isfinite(p[1])]
        xs = [x for x, _ in points] + list(self.marks)
        low, high = (min(xs), max(xs)) if xs else (0.0, 1.0)
        ys = self._y_range
        if ys is None:
            ys = (min(y for _, y in points), max(y for _, y in points)) if points else (0.0, 1.0)
        return low, max(high, low + 1e-9), ys[0], max(ys[1], ys[0] + 1e-9)

    def place(self, x: float, y: float) -> QPointF:
        """Pixels of a point of the diagram."""
        frame, (left, right, low, high) = self._frame(), self._ranges()
        along = (x - left) / (right - left)
        up = (min(max(y, low), high) - low) / (high - low)
        return QPointF(frame.left() + along * frame.width(), frame.bottom() - up * frame.height())

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Tell which x was clicked at."""
        if event is not None and self.curves:
            frame, (left, right, _, _) = self._frame(), self._ranges()
            along = (event.position().x() - frame.left()) / frame.width()
            self.picked.emit(left + min(max(along, 0.0), 1.0) * (right - left))

    # --- painting ----------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Axes, legend, lines."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPointSizeF(max(6.0, 0.8 * font.pointSizeF()))
        painter.setFont(font)
        self._paint_axes(painter)
        for curve in self.curves:
            self._paint_curve(painter, curve)
        painter.end()

    def _paint_axes(self, painter: QPainter) -> None:
        frame, (left, right, low, high) = self._frame(), self._ranges()
        ink = self.palette().text().color()
        faint = QColor(ink)
        faint.setAlpha(90)
        painter.setPen(QPen(faint, 1))
        painter.drawRect(frame)
        for mark in self.marks:
            x = self.place(mark, low).x()
            painter.drawLine(QPointF(x, frame.top()), QPointF(x, frame.bottom()))
        painter.setPen(ink)
        if self.curves:
            for y, value in ((frame.top(), high), (frame.bottom() - 12, low)):
                box = QRectF(0, y, LEFT - 3, 12)
                painter.drawText(box, Qt.AlignmentFlag.AlignRight, f"{value:.2f}")
        below = QRectF(LEFT, frame.bottom() + 1, frame.width(), BOTTOM)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, f"{left:g}" if self.curves else "")
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, self._x_name)
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"{right:.4g}" if self.curves else "")
        x = float(LEFT)
        for curve in self.curves:
            painter.setPen(QColor(curve.colour))
            width = painter.fontMetrics().horizontalAdvance(curve.name) + 10
            painter.drawText(QRectF(x, 1, width, TOP - 2), Qt.AlignmentFlag.AlignLeft, curve.name)
            x += width

    def _paint_curve(self, painter: QPainter, curve: Curve) -> None:
        painter.setPen(QPen(QColor(curve.colour), 1.6))
        piece = QPolygonF()
        for x, y in (*curve.points, (math.nan, math.nan)):
            if math.isfinite(y):
                piece.append(self.place(x, y))
                if curve.dots:
                    painter.drawEllipse(self.place(x, y), DOT, DOT)
            else:
                painter.drawPolyline(piece)
                piece = QPolygonF()
