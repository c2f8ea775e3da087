"""Make the pictures of README and manual: the real window, a sample image, some nuclei.

One of each page of the dock, the dock in the light theme, and napari's Preferences.

Run with a display or under Xvfb::

    xvfb-run -a -s "-screen 0 1400x1000x24" python docs/screenshots/make_screenshot.py
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp()  # no journal among the user's own

import napari
import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sam._predict import ModelChoice
from napari_sam._widget import SegmentAnything


def process(seconds: float) -> None:
    """Let the window work."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def wait_for_mask(dock: SegmentAnything, *, timeout_s: float = 1800) -> None:
    """Until the mask of the last prompt is in view."""
    session = dock.session
    end = time.monotonic() + timeout_s
    while session.busy or session.response is None:
        if time.monotonic() > end:
            raise SystemExit(f"no mask came: {session.message}")
        process(0.05)


def deepest_points(labels: np.ndarray, count: int) -> list[tuple[int, int]]:
    """(y, x) deepest inside each of the largest objects that are whole."""
    from scipy.ndimage import distance_transform_edt

    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    edge = np.unique(np.concatenate([labels[[0, -1]].ravel(), labels[:, [0, -1]].ravel()]))
    sizes[edge] = 0
    points = []
    for label in np.argsort(sizes)[::-1][:count]:
        depth = distance_transform_edt(labels == label)
        y, x = np.unravel_index(depth.argmax(), labels.shape)
        points.append((int(y), int(x)))
    return points


def main() -> None:
    """Open, click, keep some objects, leave one as a preview, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", help="weights of the tiny model, instead of the bundled ones")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("click.png"))
    options = parser.parse_args()

    from skimage.io import imread

    import napari_sam

    samples = Path(napari_sam.__file__).with_name("samples")
    viewer = napari.Viewer(title="napari-sam")
    viewer.window._qt_window.resize(1280, 860)
    image = imread(samples / "nuclei_fluorescence.png")
    viewer.add_image(image, name="nuclei", contrast_limits=(0, np.percentile(image, 99.5)))
    dock = SegmentAnything(viewer, model=ModelChoice(weights=options.weights))
    viewer.window.add_dock_widget(dock, name="Segment Anything (napari-sam)")
    process(1.5)
    viewer.reset_view()
    process(0.5)
    canvas = viewer.window._qt_viewer.canvas
    truth = imread(samples / "nuclei_fluorescence_labels.png")
    points = deepest_points(truth, 14)
    for index, (y, x) in enumerate(points):
        place = canvas.view.scene.transform.map([x, y, 0, 1])
        at = QPoint(*(round(v / place[3]) for v in place[:2]))
        QTest.mouseMove(canvas.native, at)
        QTest.mouseClick(canvas.native, Qt.MouseButton.LeftButton, pos=at)
        process(0.1)
        wait_for_mask(dock)
        if index < len(points) - 1:
            QTest.keyClick(canvas.native, Qt.Key.Key_Return)
            process(0.1)
    process(0.5)
    viewer.window.screenshot(str(options.out), canvas_only=False, flash=False)
    QTest.keyClick(canvas.native, Qt.Key.Key_Return)
    process(0.1)
    folder = options.out.parent
    show_objects(dock)
    viewer.reset_view()  # the review has moved it
    process(0.5)
    shoot(viewer, folder / "objects.png")
    show_classes(dock)
    shoot(viewer, folder / "classes.png")
    show_files(dock, samples)
    dock.grab().save(str(folder / "files.png"))
    dock.tabs.setCurrentIndex(7)
    process(0.5)
    keys = dock.tabs.widget(7)
    assert keys is not None
    keys.grab().save(str(folder / "keys.png"))
    dock.tabs.setCurrentWidget(dock.everything_panel)
    dock.everything.run()
    wait_until(lambda: not dock.session.busy and dock.everything.selection is not None)
    process(0.5)
    shoot(viewer, folder / "everything.png")
    viewer.theme = "light"
    dock.tabs.setCurrentIndex(0)
    process(1.0)
    shoot(viewer, folder / "light.png")
    show_preferences(viewer, folder / "preferences.png")
    dock.shut()
    viewer.close()


def shoot(viewer: napari.Viewer, path: Path) -> None:
    """The whole window."""
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)


def wait_until(done: Callable[[], bool], *, timeout_s: float = 1800) -> None:
    """Let the window work until something is so."""
    end = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > end:
            raise SystemExit("it takes too long")
        process(0.05)


def show_classes(dock: SegmentAnything) -> None:
    """Objects of two classes in their colours, the table of classes in front."""
    numbers = sorted(dock.session.document.objects)
    dock.session.do(lambda document: document.describe(numbers, kind="nucleus"))
    dock.session.do(lambda document: document.describe(numbers[::4], kind="mitosis"))
    dock.objects_panel.inner.setCurrentWidget(dock.objects_panel.kinds)
    dock.session.set_kind("nucleus")
    dock.review.set_by_kind(True)
    process(1.0)


def show_files(dock: SegmentAnything, folder: Path) -> None:
    """The tab Files, as if a folder were open."""
    dock.review.set_by_kind(False)
    dock.tabs.setCurrentWidget(dock.files_panel.parentWidget())
    dock.series.files = tuple(sorted(folder.glob("nuclei*e.png")))
    dock.series.index = 0
    dock.series.changed.emit()
    process(0.5)


def show_preferences(viewer: napari.Viewer, path: Path) -> None:
    """The Preferences of napari at our page, where it has one."""
    from napari._qt.dialogs.preferences_dialog import PreferencesDialog

    dialog = PreferencesDialog(parent=viewer.window._qt_window)
    titles = [dialog._list.item(i).text() for i in range(dialog._list.count())]
    if "napari-sam" in titles:
        dialog._list.setCurrentRow(titles.index("napari-sam"))
    dialog.resize(900, 700)
    dialog.show()
    process(1.0)
    dialog.grab().save(str(path))
    dialog.close()


def show_objects(dock: SegmentAnything) -> None:
    """The tab Objects in mid-review."""
    dock.tabs.setCurrentWidget(dock.objects_panel)
    dock.session.do(lambda document: document.describe([1, 2, 3], kind="nucleus"))
    for _ in range(4):
        dock.review.accept()
    process(1.0)


if __name__ == "__main__":
    main()
