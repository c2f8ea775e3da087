"""The tab 3D / time in a real window: click, propagate, correct on another plane, undo."""

import gc

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_sam._widget import SegmentAnything
from napari_sam.testing import FakePredictor

pytestmark = [pytest.mark.viewer]
LONG_MS = 120000


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (1, 2, 0)], ids=["XY", "XZ", "XZ turned"])
def test_click_propagate_correct_keep_and_undo_with_the_mouse(make_napari_viewer, qtbot, order):
    """On planes of z, and on planes of y, with z along either side of the window."""
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1300, 850)
    shape = [0, 0, 0]
    for axis, length in zip(order, (6, 60, 80), strict=True):
        shape[axis] = length
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    viewer.add_image(image, name="stack", axis_labels="zyx")
    dock = SegmentAnything(viewer, load=lambda _: FakePredictor())
    viewer.window.add_dock_widget(dock, name="Segment Anything")
    dock.tabs.setCurrentWidget(dock.stack_tab)
    qtbot.waitUntil(lambda: "preview" in viewer.layers, timeout=LONG_MS)
    viewer.dims.order = order
    viewer.dims.set_point(order[0], 2.0)
    qtbot.wait(100)
    viewer.reset_view()
    qtbot.wait(50)
    canvas, session, panel = viewer.window._qt_viewer.canvas, dock.session, dock.propagate_panel

    def click(down, across):
        scene = canvas.view.scene.transform.map([across, down, 0, 1])
        at = QPoint(*(round(v / scene[3]) for v in scene[:2]))
        QTest.mouseMove(canvas.native, at)
        QTest.mouseClick(canvas.native, Qt.MouseButton.LeftButton, pos=at)
        qtbot.waitUntil(
            lambda: session.response is not None and not session.busy
            and session.response.generation == session.generation, timeout=LONG_MS,
        )  # fmt: skip

    click(30, 40)
    panel.propagate.click()
    assert panel.cancel.isVisible() and not panel.propagate.isEnabled()
    qtbot.waitUntil(lambda: not dock.propagating.busy, timeout=LONG_MS)
    data = viewer.layers["stack labels"].data
    labels = data.transpose(order)  # a view: (planes, down, across)
    assert (labels[:, 30, 40] == 1).all(), session.message
    first = data.copy()
    viewer.dims.set_point(order[0], 4.0)
    click(15, 60)
    panel.correct.click()
    qtbot.waitUntil(lambda: not dock.propagating.busy, timeout=LONG_MS)
    assert labels[4, 15, 60] == 1 and not labels[4, 30, 40] and labels[5, 15, 60] == 1
    assert (labels[:3] == first.transpose(order)[:3]).all()
    assert [panel.keys.item(i).text() for i in range(panel.keys.count())] == ["Plane 2", "Plane 4"]
    assert not viewer.layers["preview"].visible or not session.preview
    QTest.keyClick(canvas.native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert (data == first).all()
    assert len(viewer.layers["prompts: points"].data) == 1  # the click is back
    session.clear()
    for _ in range(3):
        session.undo()
    assert not data.any()
    dock.shut()
    qtbot.waitUntil(lambda: not any(job.running for job in dock._jobs), timeout=LONG_MS)
    gc.collect()
