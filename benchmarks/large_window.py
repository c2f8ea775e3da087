"""The real window on a plane of 40,000 x 40,000 pixels: open, click, segment a part, paint, save.

The command: ``xvfb-run python -m benchmarks.large_window FOLDER``; FOLDER is made by
``benchmarks.large_volume`` if it is not there. Prints what each step took, the longest time in
which the window did not answer, and the peak of the memory.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.beats import Beats, Pause
from benchmarks.large_volume import CHUNK, corners, make

os.environ.setdefault("XDG_DATA_HOME", tempfile.mkdtemp())  # no journal among the user's own
PATIENCE_S = 600


class Sitting:
    """A window, and a hand on it."""

    def __init__(self, path: Path) -> None:
        import napari

        from napari_sam._widget import SegmentAnything

        self.path = path
        self.viewer = napari.Viewer(title="napari-sam")
        self.viewer.window._qt_window.resize(1400, 950)
        self.dock: Any = SegmentAnything(self.viewer)
        self.viewer.window.add_dock_widget(self.dock, name="Segment Anything (napari-sam)")
        self.beats, self.worst = Beats(), Pause(0.0, 0.0)

    def wait(self, until: Callable[[], bool], what: str) -> None:
        """Let the window work until something holds."""
        from qtpy.QtWidgets import QApplication

        end = time.monotonic() + PATIENCE_S
        while not until():
            if time.monotonic() > end:
                raise SystemExit(f"{what}: waited in vain; {self.dock.session.message}")
            QApplication.processEvents()
            time.sleep(0.002)

    def rest(self, seconds: float) -> None:
        """Let the window work for a while."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end, "rest")

    def step(self, name: str, act: Callable[[], None]) -> None:
        """Do something and note time, the longest pause, and the peak of memory so far."""
        self.beats.since()
        started = time.monotonic()
        act()
        took = time.monotonic() - started
        self.rest(0.3)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        pause = self.beats.since()
        self.worst = Pause(*map(max, zip(self.worst, pause, strict=True)))
        said = f"{pause.work:.0f} ms | {pause.clock:.0f} ms | {peak:.2f} GB"
        print(f"| {name} | {took:.2f} s | {said} |", flush=True)

    def open(self) -> None:
        """Open the file as a user does."""
        self.viewer.open(str(self.path), plugin="napari-sam")
        self.wait(lambda: "preview" in self.viewer.layers, "open")

    def go_to(self, y: float, x: float, z: int, zoom: float) -> None:
        """Look at a place (pixels)."""
        layer = self.viewer.layers[0]
        self.viewer.dims.set_point(0, z * layer.scale[0])
        self.viewer.scene.camera.center = (y * layer.scale[1], x * layer.scale[2])
        self.viewer.scene.camera.zoom = zoom
        self.rest(1.0)

    def click(self, y: float, x: float) -> None:
        """Press the mouse over a pixel of the plane and wait for the mask."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        layer, session = self.viewer.layers[0], self.dock.session
        canvas = self.viewer.window._qt_viewer.canvas
        at = canvas.view.scene.transform.map([x * layer.scale[2], y * layer.scale[1], 0, 1])
        place = QPoint(*(round(v / at[3]) for v in at[:2]))
        asked = session.generation
        mouse: Any = QTest
        mouse.mouseMove(canvas.native, place)
        mouse.mouseClick(canvas.native, Qt.MouseButton.LeftButton, pos=place)

        def answered() -> bool:
            response = session.response
            return response is not None and response.generation > asked and not session.busy

        self.wait(answered, "click")

    def keep(self) -> None:
        """Press Enter."""
        count = len(self.dock.session.document.objects)
        self.dock.session.commit()
        self.wait(lambda: len(self.dock.session.document.objects) > count, "keep")

    def segment_view(self) -> None:
        """Find all objects in view."""
        count = len(self.dock.session.document.objects)
        self.dock.everything.change(points_per_side=16, adaptive=True)
        self.dock.volume.run("segment", "view")
        self.wait(lambda: self.dock.volume.busy, "segment")
        self.wait(lambda: not self.dock.volume.busy, "segment")
        self.wait(lambda: not self.dock.keeps.running, "keep")
        found = len(self.dock.session.document.objects) - count
        print(f"  ({found} objects)")

    def paint(self) -> None:
        """A stroke of the brush in the paint window."""
        self.dock.volume.paint()
        layer = self.viewer.layers["paint here"]
        middle = [n // 2 for n in layer.data.shape]
        layer.paint(tuple(middle), layer.selected_label)
        self.rest(0.2)

    def screenshot(self, path: Path | None) -> None:
        """Of the whole window."""
        if path is not None:
            self.viewer.window.screenshot(str(path), canvas_only=False, flash=False)

    def close(self) -> None:
        """Everything goes."""
        self.dock.shut()
        self.wait(lambda: not any(job.running for job in self.dock._jobs), "close")
        self.viewer.close()


def nucleus(place: tuple[int, int], path: Path, z: int) -> tuple[int, int]:
    """A bright pixel (y, x) deep in a nucleus of a place."""
    import zarr
    from scipy.ndimage import distance_transform_edt

    array: Any = zarr.open_group(path, mode="r")["0"]
    part = np.asarray(array[z, place[0] : place[0] + CHUNK, place[1] : place[1] + CHUNK])
    depth = distance_transform_edt(part > 1200)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return place[0] + int(y), place[1] + int(x)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sitting."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_window")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--screenshots", type=Path, help="a folder for pictures of the window")
    options = parser.parse_args(arguments)
    if not options.folder.exists():
        make(options.folder)
    shots = options.screenshots
    sitting = Sitting(options.folder)
    z = 10
    first, other = corners()[:2]
    y, x = nucleus(first, options.folder, z)
    print("| step | took | the window's own work | longest pause by the clock | peak memory |")
    print("|---|---|---|---|---|")
    sitting.step("open", sitting.open)
    sitting.screenshot(shots and shots / "volume-open.png")
    sitting.step("go to a place", lambda: sitting.go_to(first[0] + 512, first[1] + 512, z, 2.5))
    sitting.step("first click", lambda: sitting.click(y, x))
    sitting.screenshot(shots and shots / "volume-click.png")
    sitting.step("keep", sitting.keep)
    sitting.step("look ahead", lambda: sitting.wait(
        lambda: not sitting.dock.volume_jobs.ahead.running, "look ahead"))  # fmt: skip
    second = nucleus(other, options.folder, z)
    sitting.step("go to its neighbour", lambda: sitting.go_to(*second, z, 2.5))
    sitting.step("click there", lambda: sitting.click(*second))
    sitting.step("keep it", sitting.keep)
    sitting.step(
        "back, a plane on", lambda: sitting.go_to(first[0] + 512, first[1] + 512, z + 1, 2.5)
    )
    sitting.step("click there, too", lambda: sitting.click(y, x))
    sitting.step("keep that", sitting.keep)
    sitting.step("segment what is in view", sitting.segment_view)
    sitting.screenshot(shots and shots / "volume-segmented.png")
    sitting.step("paint", sitting.paint)
    sitting.screenshot(shots and shots / "volume-paint.png")
    sitting.step("undo", sitting.dock.session.undo)
    labels = options.folder / "labels" / sitting.dock.volume.name
    sitting.close()
    check(labels)


def check(labels: Path) -> None:
    """What is on disk: saved without a Save button."""
    from yaozarrs import open_group, validate_zarr_store

    from napari_sam.volume.ome import LabelImage

    validate_zarr_store(str(labels))
    image = LabelImage(labels)
    print(f"{labels}: {open_group is not None}, highest label {image.highest()}")


if __name__ == "__main__":
    main()
