"""How long the window's thread was busy at a stretch: a timer that should beat, and its pauses.

Two figures: by the clock, which other processes make longer, and the processor time that the thread
itself spent between two beats, to which they add little.
"""

import time
from typing import NamedTuple


class Pause(NamedTuple):
    """The longest pause between two beats, in ms.

    Attributes
    ----------
    clock
        As somebody who waits sees it.
    work
        Processor time of the window's thread.
    """

    clock: float
    work: float


class Beats:
    """Beats in the window's thread, and remembers its longest pauses.

    Parameters
    ----------
    every
        Milliseconds between two beats when nothing else is to do.
    """

    def __init__(self, every: int = 5) -> None:
        from qtpy.QtCore import Qt, QTimer

        self._longest = Pause(0.0, 0.0)
        self._last = self._now()
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.start(every)

    def _now(self) -> Pause:
        return Pause(1000 * time.perf_counter(), 1000 * time.thread_time())

    def _beat(self) -> None:
        now = self._now()
        pairs = zip(self._longest, now, self._last, strict=True)
        self._longest = Pause(*(max(longest, a - b) for longest, a, b in pairs))
        self._last = now

    def since(self) -> Pause:
        """The longest pauses since this was asked last."""
        self._beat()
        longest, self._longest = self._longest, Pause(0.0, 0.0)
        return longest

    def stop(self) -> Pause:
        """The longest pauses; no more beats."""
        self._timer.stop()
        return self.since()
