"""The dock without a window around it: panels, jobs and lifetimes. Needs Qt, no OpenGL."""

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManifest
from qtpy.QtWidgets import QWidget

import napari_sam
from napari_sam._panels.keys import KEYS
from napari_sam._panels.shapes import small_masks
from napari_sam._predict import MaskPatch, ModelChoice
from napari_sam._widget import SegmentAnything
from napari_sam.core import engines
from napari_sam.core.registered import register
from napari_sam.core.registry import MODELS
from napari_sam.errors import OutOfMemoryError, PromptError, WeightsError
from napari_sam.progress import Progress
from napari_sam.testing import FakePredictor

LONG_MS = 60000  # a first click loads torch, which takes 20 s where ten others want the cores


@pytest.fixture
def errors(monkeypatch):
    """What the user would see as an error notification."""
    shown = []
    monkeypatch.setattr("napari_sam._widget.show_error", shown.append)
    return shown


@pytest.fixture
def open_dock(qtbot, errors):
    opened = []

    def make(data=None, *, viewer=None, predictor=None, model=None):
        viewer = viewer or ViewerModel()
        if data is not None:
            viewer.add_image(data, name="image")
        predictor = predictor or FakePredictor()
        dock = SegmentAnything(viewer, load=lambda _: predictor, model=model)
        dock.viewer, dock.predictor = viewer, predictor
        qtbot.addWidget(dock)
        dock.show()
        opened.append(dock)
        qtbot.waitUntil(lambda: not viewer.layers or "preview" in viewer.layers)
        return dock

    yield make
    for dock in opened:
        dock.shut()
    qtbot.waitUntil(lambda: not any(j.running for d in opened for j in d._jobs), timeout=LONG_MS)
    opened.clear()
    gc.collect()  # here, in the window's thread: a later worker must not be who destroys widgets


def image():
    return np.zeros((40, 50), np.uint8)


def click(dock, *position):
    dock.viewer.layers["prompts: points"].add(position)


def wait_mask(qtbot, dock):
    session = dock.session
    qtbot.waitUntil(
        lambda: session.response is not None and not session.busy
        and session.response.generation == session.generation,
        timeout=LONG_MS,
    )  # fmt: skip


def test_importing_and_opening_imports_no_torch():
    code = """
import os, sys
os.environ["QT_QPA_PLATFORM"] = "offscreen"
import napari_sam
assert "torch" not in sys.modules, "import napari_sam"
assert "napari" not in sys.modules, "import napari_sam imports napari"
from qtpy.QtWidgets import QApplication
app = QApplication([])
import numpy as np
from napari.components import ViewerModel
from napari_sam._widget import SegmentAnything
viewer = ViewerModel()
viewer.add_image(np.zeros((40, 50)))
dock = SegmentAnything(viewer)
dock.show()
app.processEvents()
assert "prompts: points" in viewer.layers
for heavy in ("torch", "openvino", "onnxruntime", "onnx"):
    assert heavy not in sys.modules, f"opening the dock imports {heavy}"
dock.shut()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_manifest_is_valid_and_its_widget_exists():
    manifest = PluginManifest.from_file(Path(napari_sam.__file__).with_name("napari.yaml"))
    contributions = manifest.contributions
    (widget,) = contributions.widgets
    assert widget.display_name == "Segment Anything"
    command = next(c for c in contributions.commands if c.id == widget.command)
    assert command.python_name == "napari_sam._widget:SegmentAnything"
    (item,) = contributions.menus["napari/layers/segment"]
    assert item.command == widget.command
    assert {sample.key for sample in contributions.sample_data} == {
        "nuclei_fluorescence",
        "nuclei_histology",
        "cells_phase_contrast",
    }


def test_the_first_click_needs_no_set_up(open_dock, qtbot):
    dock = open_dock(image())
    click(dock, 20, 30)
    wait_mask(qtbot, dock)
    assert dock.viewer.layers["preview"].visible
    assert dock.mask_panel.candidates[1].text() == "2:  0.90"
    assert dock.mask_panel.candidates[1].isChecked()
    assert dock.model_panel.runtime.text() == "Runs on: no device, fake"
    hint = dock.model_panel.runtime.sizeHint()
    assert dock.model_panel.runtime.height() >= hint.height()  # it was once cut in two
    assert not any("MainThread" in name for name in dock.predictor.threads)
    dock.mask_panel.candidates[2].click()
    assert dock.session.candidate == 2
    dock.mask_panel.commit.click()
    assert dock.viewer.layers["image labels"].data[20, 30] == 1
    assert dock.image_panel.output.currentText() == "image labels"
    dock.prompt_panel.undo.click()
    assert not dock.viewer.layers["image labels"].data.any()


def test_an_image_opened_later_is_ready_for_clicks(open_dock, qtbot):
    dock = open_dock()
    assert "Open an image" in dock.job_panel.message.text()
    dock.viewer.add_image(image(), name="image")
    qtbot.waitUntil(lambda: "prompts: points" in dock.viewer.layers)
    assert dock.viewer.layers.selection.active is dock.viewer.layers["prompts: points"]
    click(dock, 20, 30)
    wait_mask(qtbot, dock)


def test_tools_choose_layers_and_modes(open_dock):
    dock = open_dock(image())
    tools, layers = dock.prompt_panel.tools, dock.viewer.layers
    assert tools["positive"].isChecked()
    tools["box"].click()
    assert layers.selection.active is layers["prompts: boxes"]
    assert layers["prompts: boxes"].mode == "add_rectangle"
    tools["negative"].click()
    assert layers.selection.active is layers["prompts: points"]
    assert layers["prompts: points"].mode == "add"
    click(dock, 5, 5)
    assert dock.session.prompts.points[0].positive is False


def test_buttons_leave_the_keyboard_to_the_canvas(open_dock):
    dock = open_dock(image())
    for made in (dock.mask_panel.commit, dock.prompt_panel.undo, *dock.mask_panel.candidates):
        assert made.focusPolicy() == made.focusPolicy().NoFocus


def test_every_model_is_offered_and_the_bundled_one_is_first(open_dock):
    dock = open_dock(image())
    combo = dock.model_panel.model
    assert combo.count() == len(MODELS)
    assert combo.itemData(0) == "tiny"
    assert combo.currentIndex() == 0


def test_a_model_made_while_the_window_is_open_is_offered(open_dock, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM_MODELS", str(tmp_path))
    dock = open_dock()
    combo = dock.model_panel.model
    assert combo.findData("mine") == -1
    weights = tmp_path / "any.safetensors"
    weights.write_bytes(b"weights")
    register("mine", weights, like="tiny")
    combo.showPopup()
    combo.hidePopup()
    assert combo.findData("mine") >= 0
    assert combo.currentData() == "tiny"
    combo.setCurrentIndex(combo.findData("mine"))
    combo.activated.emit(combo.currentIndex())
    assert dock.session.model.name == "mine" and dock.session.weights_here


def entries(combo):
    model = combo.model()
    items = [model.item(row) for row in range(combo.count())]
    return {combo.itemData(row): item for row, item in enumerate(items)}


def test_precision_and_backend_can_be_chosen(open_dock, qtbot, monkeypatch):
    monkeypatch.setattr("napari_sam._panels.model.installed_engines", lambda: ("torch", "openvino"))
    monkeypatch.setattr(engines, "cpu_has_bfloat16", lambda: True)
    dock = open_dock(image())
    panel, session = dock.model_panel, dock.session
    assert list(entries(panel.backend)) == ["auto", "torch", "openvino"]
    assert (session.model.precision, session.model.backend) == ("exact", "auto")
    assert all(item.isEnabled() for item in entries(panel.precision).values())
    panel.precision.activated.emit(panel.precision.findData("fast"))
    panel.backend.activated.emit(panel.backend.findData("openvino"))
    assert session.model == ModelChoice(precision="fast", backend="openvino")
    assert panel.precision.currentData() == "fast"
    assert panel.backend.currentData() == "openvino"


def test_what_cannot_run_here_says_why_and_cannot_be_chosen(open_dock, monkeypatch):
    monkeypatch.setattr(
        "napari_sam._panels.model.installed_engines", lambda: ("torch", "onnxruntime")
    )
    monkeypatch.setattr(engines, "cpu_has_bfloat16", lambda: False)
    monkeypatch.setattr(engines, "may_have_nvidia_gpu", lambda: False)
    panel = open_dock(image()).model_panel
    fast = entries(panel.precision)["fast"]
    assert not fast.isEnabled()
    assert "this CPU lacks" in fast.toolTip()
    monkeypatch.setattr(engines, "cpu_has_bfloat16", lambda: True)
    panel._change(precision="fast")
    onnx = entries(panel.backend)["onnxruntime"]
    assert not onnx.isEnabled()
    assert "ONNX Runtime has no bfloat16" in onnx.toolTip()
    assert entries(panel.precision)["fast"].isEnabled()


def test_keys_in_the_table_are_those_of_the_layers(open_dock):
    dock = open_dock(image())
    bound = {str(key) for key in dock.viewer.layers["prompts: points"].keymap}
    told = {one for key, _ in KEYS for one in key.split(" / ")}
    assert bound - {"Shift+C"} <= told
    ours = {"Click", "Alt", "Ctrl + click", "3, then drag", "Delete"}
    assert {key for key in told if key not in ours} <= bound


def test_what_the_model_sees_becomes_a_layer(open_dock, qtbot):
    data = np.linspace(0, 60000, 2000).reshape(40, 50).astype(np.uint16)
    dock = open_dock(data)
    dock.image_panel.picture.click()
    name = "image: what the model sees"
    qtbot.waitUntil(lambda: name in dock.viewer.layers, timeout=LONG_MS)
    seen = dock.viewer.layers[name].data
    assert seen.shape == (40, 50, 3)
    assert seen.min() == 0
    assert seen.max() == 255
    assert dock.session.image == str(dock.viewer.layers["image"].unique_id)


def test_the_contrast_limits_can_be_what_the_model_sees(open_dock, qtbot):
    dock = open_dock(np.arange(2000).reshape(40, 50).astype(np.uint16))
    dock.viewer.layers["image"].contrast_limits = (100, 700)
    dock.session.choose_intensity("contrast limits")
    click(dock, 20, 30)
    wait_mask(qtbot, dock)
    assert dock.predictor.intensities == [(100.0, 700.0)]


@pytest.mark.parametrize(
    "error", [OutOfMemoryError("there was not enough memory."), RuntimeError("bad luck")]
)
@pytest.mark.parametrize("where", ["encode_error", "decode_error"])
def test_errors_are_said_and_the_next_click_works(open_dock, qtbot, errors, error, where):
    predictor = FakePredictor(**{where: error})
    dock = open_dock(image(), predictor=predictor)
    click(dock, 20, 30)
    qtbot.waitUntil(lambda: bool(errors), timeout=LONG_MS)
    assert str(error) in errors[0]
    assert str(error) in dock.job_panel.message.text()
    setattr(predictor, where, None)
    click(dock, 22, 30)
    wait_mask(qtbot, dock)
    assert len(errors) == 1


def test_a_model_that_cannot_be_loaded_is_said(open_dock, qtbot, errors, monkeypatch):
    def load(choice):
        raise WeightsError("There is no file x.")

    dock = open_dock(image())
    dock._load = load
    click(dock, 20, 30)
    qtbot.waitUntil(lambda: bool(errors), timeout=LONG_MS)
    assert errors == ["There is no file x."]


def test_the_bar_says_how_long_it_will_take(open_dock, qtbot):
    dock = open_dock(image())
    bar, session = dock.job_panel.bar, dock.session
    session.set_job(busy=True, progress=Progress(0, 100))
    qtbot.waitUntil(bar.isVisible, timeout=LONG_MS)
    assert "left" not in bar.text()
    session.set_job(busy=True, progress=Progress(50, 100))
    assert bar.text().endswith("s left")
    session.set_job(busy=True, progress=Progress(1, 3))  # three unlike steps
    assert "left" not in bar.text()
    session.set_job(busy=False)
    assert not bar.isVisible()


def test_long_work_shows_a_bar_and_cancel_stops_it(open_dock, qtbot):
    dock = open_dock(image(), predictor=FakePredictor(encode_s=1.5))
    click(dock, 20, 30)
    qtbot.waitUntil(dock.job_panel.bar.isVisible, timeout=LONG_MS)
    assert "looks at the image" in dock.job_panel.message.text()
    dock.job_panel.cancel.click()
    qtbot.waitUntil(lambda: not dock.session.busy, timeout=LONG_MS)
    assert not dock.job_panel.bar.isVisible()
    assert "Cancelled" in dock.job_panel.message.text()
    assert dock.session.response is None
    click(dock, 22, 30)
    wait_mask(qtbot, dock)
    assert len(dock.predictor.images) == 1  # what was encoded is not lost


def test_clicks_during_the_encoding_are_answered_once_by_the_newest(open_dock, qtbot):
    dock = open_dock(image(), predictor=FakePredictor(encode_s=0.5))
    for x in range(10, 40, 5):
        click(dock, 20, x)
    wait_mask(qtbot, dock)
    assert len(dock.predictor.images) == 1
    assert len(dock.predictor.prompts) == 2  # the first and the last; none in between
    assert dock.predictor.prompts[-1].points.shape == (1, 6, 2)


def test_the_image_removed_in_mid_work(open_dock, qtbot, errors):
    dock = open_dock(image(), predictor=FakePredictor(encode_s=0.5))
    click(dock, 20, 30)
    dock.viewer.layers.remove("image")
    qtbot.waitUntil(lambda: not dock.session.busy, timeout=LONG_MS)
    assert dock.session.response is None
    assert not errors
    qtbot.waitUntil(lambda: not dock.viewer.layers)


def test_the_dock_closed_in_mid_work(open_dock, qtbot, errors):
    dock = open_dock(image(), predictor=FakePredictor(encode_s=0.5))
    holder = QWidget()
    qtbot.addWidget(holder)
    dock.setParent(holder)
    click(dock, 20, 30)
    dock.setParent(None)  # what napari does
    assert [layer.name for layer in dock.viewer.layers] == ["image"]
    qtbot.waitUntil(lambda: not dock.clicks.running, timeout=LONG_MS)
    dock.viewer.layers.remove("image")
    dock.viewer.add_image(image())
    assert len(dock.viewer.layers) == 1
    assert not errors


def test_two_docks_share_no_state(open_dock, qtbot):
    one, two = open_dock(image()), open_dock(image())
    click(one, 20, 30)
    wait_mask(qtbot, one)
    assert two.session.response is None
    assert not two.session.prompts
    assert len(two._cache) == 0
    assert "image labels" not in two.viewer.layers


def slow_download(monkeypatch, steps):
    def download(spec):
        for done in range(steps):
            yield Progress(done, steps, f"downloading {spec.title}")
            qt_wait(0.02)
        here.append(spec)
        return Path("there")

    import time

    qt_wait, here = time.sleep, []
    monkeypatch.setattr("napari_sam._widget.download", download)
    monkeypatch.setattr(
        "napari_sam._workplace.find",
        lambda spec: "there" if spec.bundled or spec in here else None,
    )
    return here


def test_missing_weights_are_downloaded_on_demand_only(open_dock, qtbot, monkeypatch):
    here = slow_download(monkeypatch, 30)
    dock = open_dock(image())
    dock.session._weights_needed = True
    assert not dock.model_panel.download.isVisible()
    dock.session.choose_model(ModelChoice("vit_b"))
    assert dock.model_panel.download.isVisible()
    assert "375 MB" in dock.model_panel.download.text()
    click(dock, 20, 30)
    qtbot.wait(100)
    assert not here
    assert "Download" in dock.job_panel.message.text()
    dock.model_panel.download.click()
    qtbot.waitUntil(dock.job_panel.bar.isVisible, timeout=LONG_MS)
    wait_mask(qtbot, dock)
    assert [spec.name for spec in here] == ["vit_b"]
    assert not dock.model_panel.download.isVisible()


def test_a_download_can_be_cancelled(open_dock, qtbot, monkeypatch):
    here = slow_download(monkeypatch, 500)
    dock = open_dock(image())
    dock.session._weights_needed = True
    dock.session.choose_model(ModelChoice("vit_b"))
    dock.model_panel.download.click()
    qtbot.waitUntil(dock.job_panel.bar.isVisible, timeout=LONG_MS)
    dock.job_panel.cancel.click()
    qtbot.waitUntil(lambda: not dock.session.busy, timeout=2000)
    assert not here
    assert dock.model_panel.download.isVisible()


# --- the tab Everything -----------------------------------------------------------------------


def everywhere(dock, qtbot, points=2):
    """Run the tool and wait: the fake model gives discs of radius 8, and smaller surer ones."""
    panel = dock.everything_panel
    dock.tabs.setCurrentWidget(panel)
    panel.points.setValue(points)
    panel.sliders["pred_iou_thresh"].slider.setValue(70)
    panel.run.click()
    layers = dock.viewer.layers
    front = lambda: getattr(layers.selection.active, "name", "") == "candidates"  # noqa: E731
    qtbot.waitUntil(front, timeout=LONG_MS)
    return panel


def settled(dock):
    tool = dock.everything
    return lambda: tool.selection.request is tool._asked


def big_image():
    return np.zeros((80, 100), np.uint8)


def test_everything_is_run_chosen_and_committed(open_dock, qtbot):
    dock = open_dock(big_image())
    panel = everywhere(dock, qtbot)
    layer = dock.viewer.layers["candidates"]
    assert layer.visible
    assert dock.viewer.layers.selection.active is layer
    assert panel.count.text() == "4 of 8 candidates"
    assert not any("MainThread" in name for name in dock.predictor.threads)
    panel.sliders["pred_iou_thresh"].slider.setValue(95)
    qtbot.waitUntil(settled(dock), timeout=LONG_MS)
    assert panel.count.text() == "0 of 8 candidates"
    panel.sliders["pred_iou_thresh"].slider.setValue(70)
    qtbot.waitUntil(settled(dock), timeout=LONG_MS)
    panel.commit.click()
    labels = dock.viewer.layers["image labels"]
    assert labels.data.max() == 4
    assert not layer.visible
    assert "4 objects are labels 1 to 4" in dock.job_panel.message.text()
    labels.undo()  # napari's own undo: one step
    assert not labels.data.any()
    labels.redo()
    dock.prompt_panel.undo.click()
    assert not labels.data.any()


def test_thresholds_that_fail_are_said_and_can_be_tried_again(open_dock, qtbot, monkeypatch):
    dock = open_dock(big_image())
    panel = everywhere(dock, qtbot)
    choose = napari_sam._widget.choose

    def broken(request):
        yield from ()
        raise PromptError("this cannot be chosen.")

    monkeypatch.setattr("napari_sam._widget.choose", broken)
    dock.everything.toggle(20, 25)
    panel.commit.click()
    message = dock.job_panel.message
    qtbot.waitUntil(lambda: "cannot be chosen" in message.text(), timeout=LONG_MS)
    assert "as before" in message.text()
    monkeypatch.setattr("napari_sam._widget.choose", choose)
    panel.commit.click()
    qtbot.waitUntil(lambda: "image labels" in dock.viewer.layers, timeout=LONG_MS)
    assert dock.viewer.layers["image labels"].data.max() == 3


def test_labels_that_are_there_stay_unless_they_may_be_replaced(open_dock, qtbot):
    dock = open_dock(big_image())
    click(dock, 20, 25)
    wait_mask(qtbot, dock)
    dock.mask_panel.commit.click()
    labels = dock.viewer.layers["image labels"]
    first = labels.data == 1
    click(dock, 5, 5)
    wait_mask(qtbot, dock)
    prompts = dock.session.prompts
    panel = everywhere(dock, qtbot)
    panel.commit.click()
    assert (first <= (labels.data == 1)).all()
    assert sorted(np.unique(labels.data)) == [0, 1, 2, 3, 4]  # one was labelled already
    assert dock.session.prompts == prompts
    dock.session.undo()
    assert dock.session.prompts == prompts
    assert sorted(np.unique(labels.data)) == [0, 1]
    panel.replace.setChecked(True)
    qtbot.waitUntil(settled(dock), timeout=LONG_MS)
    panel.commit.click()
    assert 1 not in labels.data
    assert len(np.unique(labels.data)) == 1 + 4


def test_everything_on_a_plane_of_a_stack(open_dock, qtbot):
    viewer = ViewerModel()
    viewer.add_image(np.zeros((3, 80, 100), np.uint8), name="image", scale=(4, 2, 2))
    viewer.dims.set_current_step(0, 1)
    dock = open_dock(viewer=viewer)
    panel = everywhere(dock, qtbot)
    layer = viewer.layers["candidates"]
    assert layer.data.shape == (1, 80, 100)
    assert tuple(layer.translate) == (4, 0, 0)
    viewer.dims.set_current_step(0, 2)  # the candidates stay where they were found
    panel.commit.click()
    filled = viewer.layers["image labels"].data.any(axis=(1, 2))
    assert filled.tolist() == [False, True, False]


def test_a_run_shows_its_progress_and_is_cancelled(open_dock, qtbot):
    dock = open_dock(big_image(), predictor=FakePredictor(encode_s=1.0))
    dock.everything_panel.run.click()
    qtbot.waitUntil(dock.job_panel.bar.isVisible, timeout=LONG_MS)
    dock.job_panel.cancel.click()
    qtbot.waitUntil(lambda: not dock.session.busy, timeout=LONG_MS)
    assert dock.everything.selection is None
    assert "Cancelled" in dock.job_panel.message.text()


def test_an_image_that_has_changed_is_not_committed_to(open_dock, qtbot):
    dock = open_dock(big_image())
    panel = everywhere(dock, qtbot)
    dock.viewer.layers["image"].data = np.ones((80, 100), np.uint8)
    panel.commit.click()
    assert "image labels" not in dock.viewer.layers
    assert "Run again" in dock.job_panel.message.text()


def test_tabs_bring_their_layer_to_the_front(open_dock, qtbot):
    dock = open_dock(big_image())
    everywhere(dock, qtbot)
    layers = dock.viewer.layers
    dock.tabs.setCurrentIndex(0)
    assert layers.selection.active is layers["prompts: points"]
    dock.tabs.setCurrentIndex(1)
    assert layers.selection.active is layers["candidates"]
    layers.remove("candidates")
    dock.tabs.setCurrentIndex(0)
    dock.tabs.setCurrentIndex(1)
    dock.everything.toggle(20, 25)
    qtbot.waitUntil(settled(dock), timeout=LONG_MS)
    assert "candidates" in layers


# --- objects, review, journal -----------------------------------------------------------------


def keep(dock, qtbot, *position):
    click(dock, *position)
    wait_mask(qtbot, dock)
    dock.mask_panel.commit.click()


def test_the_table_lists_selects_and_deletes(open_dock, qtbot):
    dock = open_dock(big_image())
    panel, objects = dock.objects_panel, dock.session.document.objects
    for x in (20, 50, 80):
        keep(dock, qtbot, 40, x)
    assert panel.count.text() == "3 of 3 objects, 0 reviewed"
    model = panel.model
    assert [model.data(model.index(row, 0)) for row in range(3)] == ["1", "2", "3"]
    assert model.data(model.index(0, 3)) == "0.90"
    assert panel.table.isVisibleTo(panel)
    panel.table.selectRow(1)
    assert dock.session.selection == (2,)
    assert panel.new.value() == 2
    panel.delete.click()
    assert sorted(objects) == [1, 3]
    assert dock.session.selection == ()
    assert not panel.delete.isEnabled()
    dock.prompt_panel.undo.click()
    assert sorted(objects) == [1, 2, 3]
    dock.session.select([1, 3])
    assert len(panel.table.selectionModel().selectedRows()) == 2
    panel.merge.click()
    assert sorted(objects) == [1, 2]
    panel.table.sortByColumn(2, panel.model._order.DescendingOrder)
    assert panel.model.records[0].number == 1
    panel.new.setValue(9)
    dock.session.select([2])
    panel.new.setValue(9)
    panel.renumber.click()
    assert sorted(objects) == [1, 9]


def test_filters_and_review(open_dock, qtbot):
    dock = open_dock(big_image())
    panel, session = dock.objects_panel, dock.session
    for x in (20, 80):
        keep(dock, qtbot, 40, x)
    panel.next.click()
    assert session.selection == (1,)
    panel.accept.click()
    assert session.document.objects[1].reviewed
    assert session.selection == (2,)
    panel.filter.activated.emit(panel.filter.findData("unreviewed"))
    assert [one.number for one in panel.model.records] == [2]
    panel.accept.click()
    assert "All objects are reviewed" in dock.job_panel.message.text()
    assert panel.model.records == []
    panel.filter.activated.emit(panel.filter.findData("small"))
    assert panel.limit.isEnabled()
    panel.limit.setValue(5000)
    assert len(panel.model.records) == 2
    panel.filter.activated.emit(panel.filter.findData("low score"))
    panel.limit.setValue(95)
    assert len(panel.model.records) == 2
    dock.prompt_panel.undo.click()
    assert not session.document.objects[2].reviewed


def test_class_shape_split_and_open(open_dock, qtbot):
    dock = open_dock(big_image())
    panel, session = dock.objects_panel, dock.session
    keep(dock, qtbot, 40, 30)
    session.select([1])
    panel.kind.setEditText("nucleus")
    panel.kind.lineEdit().returnPressed.emit()
    assert session.document.objects[1].kind == "nucleus"
    assert panel.kind.findText("nucleus") >= 0
    area = session.document.objects[1].area
    panel.shape.setCurrentIndex(panel.shape.findData("grow"))
    panel.apply.click()
    assert session.document.objects[1].area > area
    click(dock, 40, 25)
    click(dock, 40, 35)
    panel.split.click()
    assert sorted(session.document.objects) == [1, 2]
    assert not session.prompts
    assert len(dock.viewer.layers["prompts: points"].data) == 0
    dock.prompt_panel.undo.click()
    dock.prompt_panel.clear.click()
    session.select([1])
    panel.open.click()
    assert dock.viewer.layers["prompts: points"].data.tolist() == [[40, 30]]
    assert dock.mask_panel.commit.text() == "Replace 1 (Enter)"
    assert not dock.mask_panel.mode.isEnabled()
    wait_mask(qtbot, dock)
    dock.mask_panel.commit.click()
    assert session.document.objects[1].area == area


def test_modes_toggles_and_redo(open_dock, qtbot):
    dock = open_dock(big_image())
    session, prompt, mask = dock.session, dock.prompt_panel, dock.mask_panel
    prompt.each.click()
    assert session.each
    click(dock, 40, 20)
    click(dock, 40, 80)
    wait_mask(qtbot, dock)
    mask.commit.click()
    assert sorted(session.document.objects) == [1, 2]
    prompt.undo.click()
    assert prompt.redo.isEnabled()
    prompt.redo.click()
    assert sorted(session.document.objects) == [1, 2]
    assert not prompt.redo.isEnabled()
    mask.overwrite.click()
    assert session.overwrite
    mask.mode.activated.emit(mask.mode.findData("add"))
    assert session.mode == "add"
    prompt.hover.click()
    session.hover((20.0, 20.0))
    qtbot.waitUntil(lambda: session.hover_response is not None, timeout=LONG_MS)
    assert dock.viewer.layers["preview"].visible


def test_hovering_never_queues_up(open_dock, qtbot):
    dock = open_dock(big_image(), predictor=FakePredictor(encode_s=0.3))
    dock.session.set_hovering(True)
    for x in range(20, 80):
        dock.session.hover((40.0, float(x)))
    done = lambda: dock.session.hover_response is not None  # noqa: E731
    qtbot.waitUntil(done, timeout=LONG_MS)
    assert len(dock.predictor.prompts) == 2  # the first and the last
    assert dock.predictor.prompts[-1].points.tolist() == [[[40, 79]]]


def test_earlier_work_is_offered_and_restored(open_dock, qtbot, tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (80, 100)).astype(np.uint8)
    first = open_dock(data)
    assert not first.restore_panel.isVisible()
    keep(first, qtbot, 40, 20)
    keep(first, qtbot, 40, 80)
    click(first, 10, 10)
    wait_mask(qtbot, first)
    labels = first.viewer.layers["image labels"].data.copy()
    path = first.keeper.journal.path
    first.shut()
    second = open_dock(data)
    qtbot.waitUntil(second.restore_panel.isVisible, timeout=LONG_MS)
    assert "steps" in second.restore_panel.message.text()
    second.restore_panel.restore.click()
    qtbot.waitUntil(lambda: len(second.session.document.objects) == 2, timeout=LONG_MS)
    assert not second.restore_panel.isVisible()
    assert np.array_equal(second.viewer.layers["image labels"].data, labels)
    assert second.viewer.layers["prompts: points"].data.tolist() == [[10, 10]]
    wait_mask(qtbot, second)
    second.prompt_panel.undo.click()
    second.prompt_panel.undo.click()
    assert sorted(second.session.document.objects) == [1]
    assert not second.viewer.layers["image labels"].data[40, 80]
    assert second.keeper.journal.path == path  # it goes on with the same one
    second.shut()
    third = open_dock(data)
    qtbot.waitUntil(third.restore_panel.isVisible, timeout=LONG_MS)
    third.restore_panel.dismiss.click()
    assert not third.restore_panel.isVisible()


def test_another_image_is_not_offered_the_work_of_this(open_dock, qtbot):
    data = np.random.default_rng(1).integers(0, 255, (80, 100)).astype(np.uint8)
    first = open_dock(data)
    keep(first, qtbot, 40, 20)
    first.shut()
    other = open_dock(255 - data)
    qtbot.waitUntil(lambda: not other.looks.running, timeout=LONG_MS)
    qtbot.wait(50)
    assert other.keeper.offer is None


def test_a_window_that_was_killed_loses_nothing(open_dock, qtbot):
    code = """
import os, signal
os.environ["QT_QPA_PLATFORM"] = "offscreen"
import numpy as np
from qtpy.QtWidgets import QApplication
app = QApplication([])
from napari.components import ViewerModel
from napari_sam._widget import SegmentAnything
from napari_sam.testing import FakePredictor
viewer = ViewerModel()
data = np.random.default_rng(7).integers(0, 255, (80, 100)).astype(np.uint8)
viewer.add_image(data, name="image")
dock = SegmentAnything(viewer, load=lambda _: FakePredictor())
dock.show()
while "prompts: points" not in viewer.layers:
    app.processEvents()
for x in (20, 80):
    viewer.layers["prompts: points"].add((40, x))
    while dock.session.response is None:
        app.processEvents()
    dock.session.commit()
viewer.layers["image labels"].paint((10, 10), 0)
viewer.layers["prompts: points"].add((10, 50))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == -9, done.stderr
    dock = open_dock(np.random.default_rng(7).integers(0, 255, (80, 100)).astype(np.uint8))
    qtbot.waitUntil(dock.restore_panel.isVisible, timeout=LONG_MS)
    dock.restore_panel.restore.click()
    qtbot.waitUntil(lambda: len(dock.session.document.objects) == 2, timeout=LONG_MS)
    assert dock.viewer.layers["image labels"].data[40, 80] == 2
    assert dock.viewer.layers["prompts: points"].data.tolist() == [[10, 50]]
    assert [step.name for step in dock.session.document.history] == [
        "prompts", "commit", "prompts", "commit", "prompts",
    ]  # fmt: skip


def test_candidates_are_pictures_to_one_scale(open_dock, qtbot):
    dock = open_dock(image())
    panel = dock.mask_panel
    assert all(made.icon().isNull() for made in panel.candidates)
    click(dock, 20, 20)
    wait_mask(qtbot, dock)
    assert not any(made.icon().isNull() for made in panel.candidates)
    masks = small_masks(dock.session.response.objects[0], (30, 36))
    areas = [int(mask.sum()) for mask in masks]
    assert areas[0] < areas[1] < areas[2]  # discs of half, one and two radii
    assert all(mask[15, 18] for mask in masks)
    assert masks[2].any(1).sum() >= 28  # the largest fills the picture
    dock.session.clear()
    assert all(made.icon().isNull() for made in panel.candidates)


def test_pictures_of_masks_that_are_empty_or_tiny():
    empty, tiny = (MaskPatch((0, 0), np.ones(shape, bool), 0.5) for shape in ((0, 0), (1, 1)))
    assert not np.any(small_masks([empty], (4, 6)))
    nothing, dot = small_masks([empty, tiny], (4, 6))
    assert not nothing.any()
    assert dot[:, 1:5].all()
