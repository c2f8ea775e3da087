"""A shown viewer with the dock, for tests: a hand on mouse and keyboard."""

import gc
from itertools import pairwise

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sam._widget import SegmentAnything
from napari_sam.testing import FakePredictor

FAKE = object()


class Window:
    """A shown viewer with the dock, and a hand on mouse and keyboard."""

    def __init__(self, viewer, qtbot, predictor):
        self.viewer, self.qtbot, self.predictor = viewer, qtbot, predictor
        load = None if predictor is None else lambda choice: predictor
        self.dock = SegmentAnything(viewer, load=load)
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

    def drag(self, *places, modifiers=Qt.KeyboardModifier.NoModifier):
        """From place to place with the button down."""
        corners = [self.at(*place) for place in places]
        QTest.mouseMove(self.native, corners[0])
        QTest.mousePress(self.native, Qt.MouseButton.LeftButton, modifiers, corners[0])
        for a, b in pairwise(corners):
            for step in (0.3, 0.7, 1.0):
                p = a + (b - a) * step
                move = QMouseEvent(
                    QEvent.Type.MouseMove,
                    QPointF(p),
                    QPointF(self.native.mapToGlobal(p)),
                    Qt.MouseButton.NoButton,
                    Qt.MouseButton.LeftButton,
                    modifiers,
                )
                QApplication.sendEvent(self.native, move)
                self.qtbot.wait(30)  # napari takes one move per frame
        QTest.mouseRelease(self.native, Qt.MouseButton.LeftButton, modifiers, corners[-1])

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


def opener(make_napari_viewer, qtbot):
    """What the fixture ``open_window`` does: gives what opens windows, and closes them."""
    opened = []

    def make(image=None, predictor=FAKE, *, path=None, **image_options):
        viewer = make_napari_viewer(show=True)
        viewer.window._qt_window.resize(1300, 850)  # narrower, napari's docks squeeze the canvas
        if image is not None:
            viewer.add_image(image, name="image", **image_options)
        if path is not None:  # at once: two windows that draw their greeting can fail in vispy
            viewer.open(path, plugin="napari")
        window = Window(viewer, qtbot, FakePredictor() if predictor is FAKE else predictor)
        opened.append(window)
        empty = image is None and path is None
        qtbot.waitUntil(lambda: empty or "preview" in viewer.layers)
        qtbot.wait(100)
        viewer.reset_view()  # the dock has taken some of the canvas
        qtbot.wait(50)
        return window

    yield make
    for window in opened:
        window.dock.shut()
    qtbot.waitUntil(
        lambda: not any(job.running for window in opened for job in window.dock._jobs),
        timeout=60000,
    )
    opened.clear()
    gc.collect()  # here, in the window's thread: a later worker must not be who destroys widgets


def image_2d():
    return np.random.default_rng(0).integers(0, 255, (120, 160)).astype(np.uint8)
