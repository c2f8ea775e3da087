"""What is going on: a sentence, a bar, and Cancel."""

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from napari_sam._panels.rows import button, line, side_by_side
from napari_sam._session import Session

PATIENCE_MS = 200  # shorter work shows no bar: it would only flicker


class JobPanel(QWidget):
    """Message, progress bar, Cancel."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.message = line()
        self.message.setMinimumHeight(3 * self.message.fontMetrics().height())
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.cancel = button("Cancel", "Stop; the prompts stay.", session.cancel)
        self._work = side_by_side(self.bar, self.cancel)
        policy = self._work.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self._work.setSizePolicy(policy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 0, 6, 0)
        layout.addWidget(self.message)
        layout.addWidget(self._work)
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(PATIENCE_MS)
        self._patience.timeout.connect(self._work.show)
        session.message_changed.connect(self._say)
        session.job_changed.connect(self._show)
        self.message.setText(session.message)
        self._work.hide()

    def _say(self, message: str) -> None:
        self.message.setText(message)

    def _show(self) -> None:
        progress = self._session.progress
        if not self._session.busy:
            self._patience.stop()
            self._work.hide()
        elif not self._work.isVisible() and not self._patience.isActive():
            self._patience.start()
        if progress is not None:
            self.message.setText(progress.message)
            self.bar.setRange(0, 1000 if progress.total else 0)
            if progress.total:  # in thousandths: bytes overflow Qt's 32 bits
                self.bar.setValue(round(1000 * progress.done / progress.total))
