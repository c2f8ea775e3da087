"""The tab Fine-tune in a real window; the program that trains is a fake one."""

import gc

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest

from napari_sam import _finetune_job
from napari_sam._widget import SegmentAnything
from napari_sam.core.registered import registered
from napari_sam.testing import FakePredictor
from tests.test_finetune_tab import fake_command, squares

pytestmark = [pytest.mark.viewer]
LONG_MS = 120000


@pytest.fixture
def open_window(make_napari_viewer, qtbot, monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SAM_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(_finetune_job, "READ_EVERY_S", 0.2)
    monkeypatch.setattr("napari_sam._widget.show_error", lambda text: None)
    opened = []

    def make(steps):
        monkeypatch.setattr(_finetune_job, "command_of", fake_command(steps))
        viewer = make_napari_viewer(show=True)
        dock = SegmentAnything(viewer, load=lambda _: FakePredictor())
        viewer.window.add_dock_widget(dock, name="Segment Anything")
        dock.tabs.setCurrentWidget(dock.finetune_panel)
        opened.append(dock)
        return viewer, dock, dock.finetune_panel

    yield make
    for dock in opened:
        dock.shut()
    qtbot.waitUntil(lambda: not any(j.running for d in opened for j in d._jobs), timeout=LONG_MS)
    opened.clear()
    gc.collect()


def test_layers_in_a_better_model_out_paused_stopped_and_resumed(open_window, qtbot, monkeypatch):
    viewer, dock, panel = open_window(10_000)
    trainings = dock.long_jobs.trainings
    panel.start.click()
    assert "Labels layer of the same size" in panel.said.text() and not trainings.running
    viewer.add_image((squares(6) > 0).astype(np.uint8) * 200, name="cells")
    viewer.add_labels(squares(6), name="drawn")
    viewer.add_labels(np.zeros((9, 9), int), name="of another size")
    assert [panel.layers.item(i).text() for i in range(panel.layers.count())] == ["cells + drawn"]
    panel.name.clear()
    QTest.keyClicks(panel.name, "mine")
    QTest.mouseClick(panel.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bool(panel.validation.curves), timeout=LONG_MS)
    beats = []
    beat = QTimer()
    beat.timeout.connect(lambda: beats.append(1))
    beat.start(20)
    steps = len(dock.finetune.report.log)
    qtbot.waitUntil(
        lambda: len(dock.finetune.report.log) > steps + 3 and len(beats) > 3, timeout=LONG_MS
    )
    assert trainings.running  # the window was alive meanwhile
    assert panel.cancel.isVisible() and not panel.start.isEnabled()
    assert panel.loss.curves and panel.picture.pixmap().width() > 100 and panel.bar.value() >= 0
    panel.pause.click()
    assert panel.pause.text() == "Go on" and "Paused" in panel.said.text()
    assert (dock.finetune.order.folder / "pause").exists()
    panel.pause.click()
    assert not (dock.finetune.order.folder / "pause").exists()
    panel.cancel.click()
    qtbot.waitUntil(lambda: not trainings.running, timeout=LONG_MS)
    assert "Resume goes on" in panel.said.text() and panel.resume.isVisible()
    kept = int((dock.finetune.order.folder / "steps").read_text())
    monkeypatch.setattr(_finetune_job, "command_of", fake_command(kept + 4))
    panel.resume.click()
    qtbot.waitUntil(lambda: not trainings.running, timeout=LONG_MS)
    assert dock.session.model.name == "mine" and "mine" in registered()
    assert dock.model_panel.model.currentData() == "mine"
    assert "+10.0" in panel.table.text() and not panel.resume.isVisible()
