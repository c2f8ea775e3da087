"""How long the window stands still while about 1,000 objects are kept, undone and done again.

In a real window (Xvfb will do), a plane of zeros and drawn objects. Printed is the longest pause
between two beats of a 5 ms timer: by the clock, and as processor time of the window's thread, to
which other processes add little::

    xvfb-run -a -s "-screen 0 1400x1000x24" python -m benchmarks.keeping --side 2048
"""

import argparse
import cProfile
import os
import pstats
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.beats import Beats, Pause
from napari_sam._predict import Origin

ROWS = 32  # objects a side
PATIENCE_S = 300.0


class Discs:
    """32 x 32 discs on the plane in view, as the tool "Everything" would hand them over."""

    def __init__(self, plane: Any) -> None:
        self.plane = plane
        height, width = plane.size
        self.region = (slice(0, height), slice(0, width))
        self.scores = (0.9,) * ROWS**2
        self.origin = Origin("fake", "", "percentile")

    def canvas(self) -> NDArray[np.uint32]:
        """Numbers 1 to 1024, as large as the plane."""
        height, width = self.plane.size
        rows, columns = np.indices((height // ROWS, width // ROWS))
        inside = np.hypot(rows - height / ROWS / 2, columns - width / ROWS / 2) < 0.4 * width / ROWS
        numbers = np.arange(1, ROWS**2 + 1).reshape(ROWS, ROWS)
        return np.kron(numbers, inside).astype(np.uint32)

    def beneath(self, canvas: NDArray[Any]) -> dict[int, NDArray[np.bool_]]:
        """No disc lies on another."""
        return {}


class Bench:
    """A window with the dock and a plane of zeros."""

    def __init__(self, side: int) -> None:
        import napari
        from qtpy.QtWidgets import QApplication

        from napari_sam._widget import SegmentAnything
        from napari_sam.testing import FakePredictor

        self._process = QApplication.processEvents
        self.viewer = napari.Viewer(show=True)
        self.viewer.add_image(np.zeros((side, side), np.uint8), name="image")
        self.dock = SegmentAnything(self.viewer, load=lambda _: FakePredictor())
        self.viewer.window.add_dock_widget(self.dock, name="Segment Anything")
        self.wait(1.0)

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let the window work."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self._process()
            time.sleep(0.001)

    def measure(self, act: Callable[[], Any], done: Callable[[], bool]) -> Pause:
        """The longest pauses from an action until it is done and drawn."""
        self.wait(0.5)
        beats = Beats()
        act()
        self.wait(PATIENCE_S, done)
        if not done():
            raise SystemExit(f"nothing came in {PATIENCE_S:.0f} s: {self.dock.session.message}")
        self.wait(0.5)
        return beats.stop()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=2048, help="of the plane, pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="where the window's thread is")
    options = parser.parse_args()
    os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp()  # no journal among the user's own
    bench = Bench(options.side)
    session, bulk = bench.dock.session, bench.dock.bulk
    profile = cProfile.Profile()
    for turn in range(options.rounds):
        if options.profile and turn == 1:
            profile.enable()
        kept: list[list[int]] = []

        def keep(kept: list[list[int]] = kept) -> None:
            bulk.keep(Discs(session.plane), kept.append, overwrite=False)

        def objects() -> int:
            return len(session.document.objects)

        for name, act, done in (
            ("keep", keep, lambda kept=kept: bool(kept)),
            ("undo", session.undo, lambda: objects() == 0),
            ("redo", session.redo, lambda: objects() == ROWS**2),
            ("undo", session.undo, lambda: objects() == 0),
        ):
            clock, processor = bench.measure(act, done)
            print(f"{turn + 1} {name}: {clock:6.0f} ms by the clock, {processor:6.0f} ms of work")
    profile.disable()
    if options.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats("napari_sam|_qt|vispy", 70)
    bench.dock.shut()
    bench.viewer.close()


if __name__ == "__main__":
    main()
