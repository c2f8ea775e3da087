"""The only door to threads: long work as generators of Progress, run in napari's workers.

Knows Qt and workers; knows nothing of images or models. Of the requests to one :class:`LatestJob`
the newest wins: one runs, at most one waits, and nothing queues up. Cancelling is no error.
"""

import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, QThreadPool, QTimer
from qtpy.QtCore import Signal as QtSignal  # type: ignore[attr-defined]

from napari_sam.errors import NapariSamError
from napari_sam.progress import Progress

UNDER_WAY = 1  # reports that the window has not heard yet
TURN_MS = 1  # 0 would still be the same turn of the event loop
PATIENCE_S = 0.1  # between two looks whether the job is to stop
logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_running: set[threading.Event] = set()  # what stops each job that is at work
Job = Callable[[], Generator[Progress, None, _T]]


@dataclass(frozen=True)
class Outcome(Generic[_T]):
    """How a job ended: with a value, with an error, or cancelled."""

    value: _T | None = None
    error: Exception | None = None
    cancelled: bool = False


def consume(job: Job[_T], report: Callable[[Progress], None], stop: threading.Event) -> Outcome[_T]:
    """Run a job to its end in this thread; never raises.

    A raise would reach the user's window as a crash, or, from napari's generator worker, as nothing
    at all: errors are values here.
    """
    try:
        with closing(job()) as steps:
            while not stop.is_set():
                leave_a_core()
                report(next(steps))
        return Outcome(cancelled=True)
    except StopIteration as end:
        return Outcome(value=end.value)
    except Exception as error:
        return Outcome(error=error)


def sentence(error: Exception) -> str:
    """What to tell the user: our own errors speak for themselves, others name their kind."""
    if isinstance(error, NapariSamError):
        return str(error)
    return (
        f"Something went wrong that napari-sam did not expect ({type(error).__name__}: {error})."
        " The details are in the log."
    )


class LatestJob(QObject):
    """Runs jobs in a worker thread; a newer one replaces the one that waits.

    The one that runs is not interrupted by a newer one: on the same image its embedding is what the
    newer needs. Signals arrive in the thread that made this object.

    Signals
    -------
    progressed(Progress), returned(object), failed(Exception, str), cancelled(), busy(bool)
    """

    progressed = QtSignal(object)
    returned = QtSignal(object)
    failed = QtSignal(object, str)
    cancelled = QtSignal()
    busy = QtSignal(bool)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._stop: threading.Event | None = None
        self._waiting: Job[Any] | None = None
        self._relay: _Relay | None = None
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether a worker is at work.

        Once closed the thread itself is asked: its last report may never be delivered.
        """
        return self._stop is not None and (not self._closed or self._stop in _running)

    def submit(self, job: Job[Any]) -> None:
        """Run the job now, or next, in place of any other that waits."""
        if self._closed:
            return
        if self.running:
            self._waiting = job
            return
        self._start(job)

    def cancel(self) -> None:
        """Stop at the job's next step and forget the one that waits."""
        self._waiting = None
        if self._stop is not None:
            self._stop.set()

    def close(self) -> None:
        """Cancel, and report nothing any more."""
        self._closed = True
        self.blockSignals(True)
        self.cancel()

    def _start(self, job: Job[Any]) -> None:
        self._stop = stop = threading.Event()
        self._relay = relay = _Relay()
        relay.progressed.connect(self._on_progress)
        relay.ended.connect(self._on_end)
        worker = create_worker(_run, job, relay, stop, _start_thread=False, _ignore_errors=True)
        _running.add(stop)
        self.busy.emit(True)
        worker.start()

    def _on_progress(self, progress: Progress) -> None:
        relay = self._relay
        try:
            if self._stop is not None and not self._stop.is_set():
                self.progressed.emit(progress)
        finally:
            if relay is not None:  # after mouse, keys and timers had their turn
                QTimer.singleShot(TURN_MS, relay.room.release)

    def _on_end(self, outcome: Outcome[Any]) -> None:
        stopped = self._stop is not None and self._stop.is_set()
        self._stop = None
        if outcome.cancelled or stopped:
            self.cancelled.emit()
        elif outcome.error is not None:
            logger.error("A job failed.", exc_info=outcome.error)
            self.failed.emit(outcome.error, sentence(outcome.error))
        else:
            self.returned.emit(outcome.value)
        waiting, self._waiting = self._waiting, None
        if self.running:  # a listener has submitted a newer one meanwhile
            return
        if waiting is None:
            self.busy.emit(False)
        else:
            self._start(waiting)


class _Relay(QObject):
    """Carries reports from the worker's thread to the window's: Qt queues them on the way.

    A queue is worked off whole before the window looks at mouse and timers again: so there is room
    for few, and a job that is faster waits.
    """

    progressed = QtSignal(object)
    ended = QtSignal(object)

    def __init__(self) -> None:
        super().__init__()
        self.room = threading.Semaphore(UNDER_WAY)


def _run(job: Job[Any], relay: _Relay, stop: threading.Event) -> None:
    def report(progress: Progress) -> None:
        while not stop.is_set() and not relay.room.acquire(timeout=PATIENCE_S):
            pass  # the window is busy
        relay.progressed.emit(progress)

    try:
        relay.ended.emit(consume(job, report, stop))
    finally:
        _running.discard(stop)


@atexit.register
def _finish() -> None:
    """Stop all jobs and wait for their threads: one that outlives Python takes it down at exit."""
    for stop in list(_running):
        stop.set()
    pool = QThreadPool.globalInstance()
    if _running and pool is not None:
        pool.waitForDone()


def leave_a_core() -> None:
    """Keep one core for the window, once torch is there. Torch counts threads per calling thread.

    Called before each step of a job: the first step of the first job is what imports torch.
    """
    torch = sys.modules.get("torch")
    # Not while another job is importing it.
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
