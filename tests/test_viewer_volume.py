"""An OME-Zarr in tiles in a real window: opened, clicked with the mouse, kept, painted."""

import gc

import numpy as np
import pytest
import zarr
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_sam._widget import SegmentAnything
from tests.volume.fakes import Greys
from tests.volume.images import write_ome_zarr

pytestmark = [pytest.mark.viewer]
LONG_MS = 60000


def test_open_click_keep_and_paint_with_the_mouse(make_napari_viewer, qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_sam.volume.ome.COARSEST", 100)
    data = np.zeros((3, 300, 280), np.uint8)
    data[1, 100:160, 110:170] = 200
    path = write_ome_zarr(tmp_path / "image.zarr", data, "zyx", levels=2)
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1300, 850)
    viewer.open(str(path), plugin="napari-sam")
    dock = SegmentAnything(viewer, load=lambda _: Greys("tiny"))
    viewer.window.add_dock_widget(dock, name="Segment Anything")
    dock.session.choose_intensity("as_is")
    dock.volume.change(when="always", side=64, halo=16)
    dock.tabs.setCurrentWidget(dock.volume_panel)
    qtbot.waitUntil(lambda: "preview" in viewer.layers, timeout=LONG_MS)
    viewer.dims.set_point(0, 2.0)  # plane 1
    qtbot.wait(100)
    viewer.reset_view()
    qtbot.wait(100)
    canvas = viewer.window._qt_viewer.canvas

    def at(y, x):
        scene = canvas.view.scene.transform.map([x * 0.5, y * 0.5, 0, 1])
        return QPoint(*(round(v / scene[3]) for v in scene[:2]))

    session = dock.session
    session.choose_tool("positive")
    QTest.mouseMove(canvas.native, at(130, 140))
    QTest.mouseClick(canvas.native, Qt.MouseButton.LeftButton, pos=at(130, 140))
    qtbot.waitUntil(lambda: session.response is not None and not session.busy, timeout=LONG_MS)
    QTest.keyClick(canvas.native, Qt.Key.Key_Return)
    written = zarr.open_group(path / "labels" / "cells", mode="r")
    qtbot.waitUntil(lambda: np.asarray(written["0"][:]).any(), timeout=LONG_MS)
    assert ((np.asarray(written["0"][:]) > 0) == (data > 0)).all()
    qtbot.waitUntil(lambda: dock.volume.map is not None, timeout=LONG_MS)
    assert viewer.layers["tiles looked at"].visible
    dock.volume_panel.paint.click()
    window = viewer.layers["paint here"]
    window.selected_label, window.brush_size = 9, 6
    qtbot.wait(50)
    QTest.mouseClick(canvas.native, Qt.MouseButton.LeftButton, pos=at(220, 60))
    qtbot.waitUntil(lambda: (np.asarray(written["0"][1]) == 9).any(), timeout=LONG_MS)
    assert written["0"][1, 220, 60] == 9
    QTest.keyClick(canvas.native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: not (np.asarray(written["0"][1]) == 9).any(), timeout=LONG_MS)
    dock.shut()
    qtbot.waitUntil(lambda: not any(job.running for job in dock._jobs), timeout=LONG_MS)
    del window
    gc.collect()
