"""How long a job will still take, from what it has reported. No Qt, no napari."""

import time

from napari_sam.progress import Progress


class Pace:
    """Listens to one job after the other; steps that were done before do not count."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._first = self._total = 0
        self._last: Progress | None = None

    def begin(self) -> None:
        """Another job, or none."""
        self._since = self._last = None

    def note(self, progress: Progress) -> None:
        """A report. Another total is another part of the work: its pace is its own."""
        if progress.total and (self._since is None or progress.total != self._total):
            self._since, self._first = time.monotonic(), progress.done
        self._total, self._last = progress.total, progress

    @property
    def left(self) -> float | None:
        """Seconds; None where it cannot be told."""
        last = self._last
        if last is None or self._since is None or not last.total or last.done <= self._first:
            return None
        passed = time.monotonic() - self._since
        rest = max(0, last.total - last.done)  # a part that is counted in minutes may take longer
        return passed / (last.done - self._first) * rest


def span(seconds: float) -> str:
    """A time for people: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
