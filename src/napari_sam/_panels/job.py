"""What is going on: a sentence, a bar with the time that has passed and is left, and Cancel."""

import time

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from napari_sam._pace import Pace, span
from napari_sam._panels.rows import button, line, side_by_side
from napari_sam._session import Session

PATIENCE_MS = 300  # shorter work shows no bar: it would only flicker
TICK_MS = 1000
MANY_STEPS = 8  # fewer are not alike: they say nothing of the time that is left
FULL = 1000  # thousandths: bytes overflow the bar's 32 bits


class JobPanel(QWidget):
    """Message, progress bar, Cancel.

    The bar never runs in Qt's endless animation: beside an OpenGL canvas each of its frames redraws
    the whole window, which without a graphics card takes 50 ms.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._started = 0.0
        self._pace = Pace()
        self.message = line()
        self.message.setMinimumHeight(3 * self.message.fontMetrics().height())
        self.bar = QProgressBar()
        self.bar.setRange(0, FULL)
        self.cancel = button("Cancel", "Stop; the prompts stay.", session.cancel)
        self._work = side_by_side(self.bar, self.cancel)
        policy = self._work.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self._work.setSizePolicy(policy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 0, 6, 0)
        layout.addWidget(self.message)
        layout.addWidget(self._work)
        self._tick = QTimer(self)
        self._tick.timeout.connect(self._on_tick)
        session.message_changed.connect(self._say)
        session.job_changed.connect(self._show)
        self._say(session.message)
        self._work.hide()

    def _say(self, message: str) -> None:
        self.message.setText(message)

    def _show(self) -> None:
        progress = self._session.progress
        if progress is not None:
            self._pace.note(progress)
        if not self._session.busy:
            self._pace.begin()
            self._tick.stop()
            self._work.hide()
        elif not self._tick.isActive():
            self._started = time.monotonic()
            self._tick.start(PATIENCE_MS)
        if self._work.isVisible():
            self._show_progress()

    def _on_tick(self) -> None:
        self._tick.setInterval(TICK_MS)
        self._work.show()
        self._show_progress()

    def _show_progress(self) -> None:
        progress = self._session.progress
        if progress is None:
            return
        self._say(progress.message)
        self.bar.setValue(round(FULL * progress.done / progress.total) if progress.total else 0)
        left = self._pace.left if progress.total >= MANY_STEPS else None
        rest = "" if left is None else f", {span(left)} left"
        self.bar.setFormat(f"{span(time.monotonic() - self._started)}{rest}")
