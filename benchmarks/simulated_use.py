"""A person at work, played by a script: how many objects a minute, how good, how soon the first.

Two measurements in a real window (Xvfb will do), with the bundled model:

- *first use*: napari is open; the dock is opened, a sample image, a click on a nucleus, Enter;
  until the label is there. No dialog, no download.
- *a day's work*: nuclei of one image, one after the other: a click in the middle; where the mask
  is poor, one corrective click in the middle of the largest error; Enter. Prints objects a minute
  and the mean IoU of what was kept.

The hand takes no time: what is measured is the program. A person adds about two seconds a click.
Processor time is that of all threads: on a busy machine it says more than the clock::

    xvfb-run -a -s "-screen 0 1400x1000x24" python -m benchmarks.simulated_use IMAGE LABELS
    xvfb-run -a -s "-screen 0 1400x1000x24" python -m benchmarks.simulated_use --only first_use
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

POOR = 0.8  # IoU below which a person corrects
LEAST_AREA = 30  # pixels: what a person can see and click on
PATIENCE_S = 120.0

Mask = NDArray[np.bool_]


def deepest(mask: Mask) -> tuple[int, int]:
    """(y, x) farthest from the border of a mask."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(y), int(x)


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def correction(mask: Mask, truth: Mask) -> tuple[tuple[int, int], bool]:
    """Where a person clicks on a poor mask, the largest error's middle; whether that is missing."""
    missing, surplus = truth & ~mask, mask & ~truth
    pieces = []
    for error, positive in ((missing, True), (surplus, False)):
        islands, count = ndimage.label(error)
        if count:
            sizes = np.bincount(islands.ravel())[1:]
            pieces.append((int(sizes.max()), islands == int(sizes.argmax()) + 1, positive))
    _, largest, positive = max(pieces, key=lambda piece: piece[0])
    return deepest(largest), positive


class Person:
    """A viewer with the dock, and a hand on its mouse and keys."""

    def __init__(self) -> None:
        import napari
        from qtpy.QtWidgets import QApplication

        self._process = QApplication.processEvents
        self.viewer = napari.Viewer(show=True)
        window: Any = self.viewer.window._qt_window
        window.resize(1280, 860)
        self.wait(1.0)

    def wait(self, seconds: float) -> None:
        """Let the window work."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._process()
            time.sleep(0.005)

    def open_dock(self) -> None:
        """As the menu Plugins does."""
        self.native = self.viewer.window._qt_viewer.canvas.native
        _, self.dock = self.viewer.window.add_plugin_dock_widget("napari-sam", "Segment Anything")
        self.session = self.dock.session

    def show_whole(self) -> None:
        """See all of the image."""
        self.wait(0.2)
        self.viewer.reset_view()
        self.wait(0.1)

    def click(self, y: int, x: int, *, positive: bool = True) -> None:
        """Click on a pixel of the image, with Alt for what does not belong to the object."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        canvas = self.viewer.window._qt_viewer.canvas
        scene = canvas.view.scene.transform.map([x, y, 0, 1])
        at = QPoint(*(round(value / scene[3]) for value in scene[:2]))
        keys = Qt.KeyboardModifier
        modifier = keys.NoModifier if positive else keys.AltModifier
        hand: Any = QTest
        hand.mouseMove(self.native, at)
        hand.mouseClick(self.native, Qt.MouseButton.LeftButton, modifier, at)
        self._wait_for(lambda: self._answered)

    def keep(self) -> int:
        """Press Enter; the label that the object got, 0: none."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        before = set(self.session.document.objects)
        hand: Any = QTest
        hand.keyClick(self.native, Qt.Key.Key_Return)
        self._process()
        return next(iter(set(self.session.document.objects) - before), 0)

    def seen(self, shape: tuple[int, int]) -> Mask:
        """The mask in view."""
        whole = np.zeros(shape, bool)
        for patch in self.session.preview:
            (y, x), (height, width) = patch.offset, patch.mask.shape
            whole[y : y + height, x : x + width] |= patch.mask
        return whole

    @property
    def _answered(self) -> bool:
        session = self.session
        response = session.response
        return bool(
            session.prompts
            and response is not None
            and response.generation == session.generation
            and not session.busy
        )

    def _wait_for(self, done: Any) -> None:
        end = time.monotonic() + PATIENCE_S
        while not done():
            if time.monotonic() > end:
                raise SystemExit(f"nothing came in {PATIENCE_S:.0f} s: {self.session.message}")
            self._process()
            time.sleep(0.001)

    def leave(self) -> None:
        """Close the window."""
        self.dock.shut()
        self.viewer.close()
        self.wait(0.2)


def first_use() -> dict[str, float]:
    """Seconds until the dock, the sample and the first label are there."""
    person = Person()
    started, worked = time.perf_counter(), time.process_time()
    person.open_dock()
    person._process()
    dock = time.perf_counter()
    person.viewer.open_sample("napari-sam", "nuclei_fluorescence")
    person._wait_for(lambda: "prompts: points" in person.viewer.layers)
    person.show_whole()
    sample = time.perf_counter()
    import napari_sam

    samples = Path(napari_sam.__file__).with_name("samples")
    truth = read(samples / "nuclei_fluorescence_labels.png")
    person.click(*deepest(truth == int(np.bincount(truth.ravel())[1:].argmax()) + 1))
    mask = time.perf_counter()
    label = person.keep()
    kept, worked = time.perf_counter(), time.process_time() - worked
    person.leave()
    assert label
    return {
        "dock_s": dock - started,
        "sample_s": sample - dock,
        "first_mask_s": mask - sample,
        "label_s": kept - mask,
        "all_s": kept - started,
        "processor_s": worked,
    }


def days_work(image: NDArray[Any], truth: NDArray[Any], count: int) -> dict[str, float]:
    """Click, correct, keep; objects a minute and mean IoU. The first click includes the encoder."""
    person = Person()
    person.open_dock()
    person.viewer.add_image(image, name="image")
    person._wait_for(lambda: "prompts: points" in person.viewer.layers)
    person.show_whole()
    numbers = wanted(truth, count)
    clicks, shape = 0, (int(truth.shape[0]), int(truth.shape[1]))
    scores, kept, corrected = [], [], 0
    started = time.perf_counter()
    for number in numbers:
        person.click(*deepest(truth == number))
        clicks += 1
        if iou(person.seen(shape), truth == number) < POOR:
            place, positive = correction(person.seen(shape), truth == number)
            person.click(*place, positive=positive)
            clicks, corrected = clicks + 1, corrected + 1
        kept.append(person.keep())
    seconds = time.perf_counter() - started
    labels = person.session.document.labels
    assert labels is not None
    values = labels.read((slice(0, shape[0]), slice(0, shape[1])))
    for number, label in zip(numbers, kept, strict=True):
        scores.append(iou(values == label, truth == number) if label else 0.0)
    person.leave()
    return {
        "objects": len(numbers),
        "clicks": clicks,
        "corrected": corrected,
        "seconds": seconds,
        "objects_per_minute": 60 * len(numbers) / seconds,
        "with_two_seconds_a_click": 60 * len(numbers) / (seconds + 2 * clicks),
        "mean_iou": float(np.mean(scores)),
        "least_iou": float(np.min(scores)),
    }


def wanted(truth: NDArray[Any], count: int) -> list[int]:
    """Objects spread over all sizes, none that the border of the image cuts."""
    sizes = np.bincount(truth.ravel())
    border = np.concatenate([truth[[0, -1]].ravel(), truth[:, [0, -1]].ravel()])
    sizes[np.unique(border)] = 0
    sizes[0] = 0
    numbers = [int(n) for n in np.argsort(sizes, kind="stable") if sizes[n] >= LEAST_AREA]
    places = np.linspace(0, len(numbers) - 1, min(count, len(numbers))).round().astype(int)
    return [numbers[place] for place in places]


def read(path: Path) -> NDArray[Any]:
    """A plane."""
    from napari_sam._image_files import read_plane

    return read_plane(path)


def main() -> None:
    """Measure and print; one JSON line at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path, nargs="?", help="a plane; none: the sample of nuclei")
    parser.add_argument("labels", type=Path, nargs="?", help="its true labels")
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--only", choices=("first_use", "work"), help="one of the two")
    options = parser.parse_args()
    os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp()  # no journal among the user's own
    import napari_sam

    samples = Path(napari_sam.__file__).with_name("samples")
    image = read(options.image or samples / "nuclei_fluorescence.png")
    truth = read(options.labels or samples / "nuclei_fluorescence_labels.png")
    found = {}
    if options.only != "work":
        found["first_use"] = first_use()
    if options.only != "first_use":
        found["work"] = days_work(image, truth, options.objects)
    for part, values in found.items():
        print(part)
        for name, value in values.items():
            print(f"  {name:26} {value:8.2f}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
