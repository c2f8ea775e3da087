"""The dock in a real window: simulated mouse and keys, a fake predictor."""

import time

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sam._widget import SegmentAnything
from napari_sam.testing import FakePredictor

pytestmark = [pytest.mark.viewer]


class Window:
    """A shown viewer with the dock, and a hand on mouse and keyboard."""

    def __init__(self, viewer, qtbot, predictor):
        self.viewer, self.qtbot, self.predictor = viewer, qtbot, predictor
        self.dock = SegmentAnything(viewer, load=lambda choice: predictor)
        viewer.window.add_dock_widget(self.dock, name="Segment Anything")
        self.session = self.dock.session
        self.canvas = viewer.window._qt_viewer.canvas
        self.native = self.canvas.native

    def at(self, *world_yx):
        """Canvas position (Qt logical pixels) of a world position in the displayed plane."""
        scene = self.canvas.view.scene.transform.map([world_yx[1], world_yx[0], 0, 1])
        x, y = scene[:2] / scene[3]
        return QPoint(round(x), round(y))

    def click(self, y, x, modifiers=Qt.KeyboardModifier.NoModifier):
        QTest.mouseMove(self.native, self.at(y, x))
        QTest.mouseClick(self.native, Qt.MouseButton.LeftButton, modifiers, self.at(y, x))

    def drag(self, start, end):
        a, b = self.at(*start), self.at(*end)
        QTest.mouseMove(self.native, a)
        QTest.mousePress(self.native, Qt.MouseButton.LeftButton, pos=a)
        for step in (0.3, 0.7, 1.0):
            p = a + (b - a) * step
            move = QMouseEvent(
                QEvent.Type.MouseMove,
                QPointF(p),
                QPointF(self.native.mapToGlobal(p)),
                Qt.MouseButton.NoButton,
                Qt.MouseButton.LeftButton,
                Qt.KeyboardModifier.NoModifier,
            )
            QApplication.sendEvent(self.native, move)
        QTest.mouseRelease(self.native, Qt.MouseButton.LeftButton, pos=b)

    def key(self, key, modifiers=Qt.KeyboardModifier.NoModifier):
        QTest.keyClick(self.native, key, modifiers)

    def wait_mask(self):
        self.qtbot.waitUntil(
            lambda: (
                self.session.response is not None
                and self.session.response.generation == self.session.generation
                and not self.session.busy
            ),
            timeout=60000,
        )

    def layer(self, name):
        return self.viewer.layers[name]


@pytest.fixture
def open_window(make_napari_viewer, qtbot):
    opened = []

    def make(image=None, predictor=None, **image_options):
        viewer = make_napari_viewer(show=True)
        viewer.window._qt_window.resize(1100, 800)
        if image is not None:
            viewer.add_image(image, name="image", **image_options)
        window = Window(viewer, qtbot, predictor or FakePredictor())
        opened.append(window)
        qtbot.wait(100)
        return window

    yield make
    for window in opened:
        window.dock.shut()
    from napari.qt.threading import create_worker

    qtbot.wait(50)
    del create_worker


def image_2d():
    return np.random.default_rng(0).integers(0, 255, (120, 160)).astype(np.uint8)


def test_click_then_enter_commits_a_label(open_window):
    window = open_window(image_2d())
    window.click(60, 80)
    window.wait_mask()
    assert len(window.layer("prompts: points").data) == 1
    assert window.layer("preview").visible
    window.key(Qt.Key.Key_Return)
    labels = window.layer("image labels").data
    assert labels[60, 80] == 1
    assert 150 < (labels == 1).sum() < 250
    assert len(window.layer("prompts: points").data) == 0
    assert not window.layer("preview").visible


def untrained_predictor():
    from napari_sam.core.modeling.micro import MicroSam
    from napari_sam.core.predictor import Predictor
    from napari_sam.core.registry import get_spec
    from napari_sam.core.runtime import choose_runtime

    spec = get_spec("tiny")
    model = MicroSam(spec.architecture).eval()
    return Predictor(model, spec, runtime=choose_runtime("cpu"))


class Heartbeat:
    """Longest pause of the window's thread, by a 5 ms timer."""

    def __init__(self):
        self.gaps, self._last = [], time.perf_counter()
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.start(5)

    def _beat(self):
        now = time.perf_counter()
        self.gaps.append(1000 * (now - self._last))
        self._last = now

    def reset(self):
        self.gaps.clear()
        self._last = time.perf_counter()

    def stop(self):
        self._timer.stop()
        return sorted(self.gaps)[-5:]


def test_window_lives_while_the_model_encodes(open_window, qtbot):
    import torch  # noqa: F401  (its import is another matter: see the test below)

    image = np.random.default_rng(1).integers(0, 60000, (1024, 1024)).astype(np.uint16)
    window = open_window(image, untrained_predictor())
    window.click(300, 300)  # makes the preview layer and warms up
    window.wait_mask()
    window.dock._cache.clear()
    heart = Heartbeat()
    start = time.perf_counter()
    window.session.refresh()
    window.wait_mask()
    took = time.perf_counter() - start
    gaps = heart.stop()
    print("longest gaps while encoding, ms", gaps, "took s", took)
    assert gaps[-1] < 50
