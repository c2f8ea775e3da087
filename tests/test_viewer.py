"""The dock in a real window: simulated mouse and keys, a fake predictor."""

import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from scipy.ndimage import distance_transform_edt
from skimage.io import imread

import napari_sam
from napari_sam._journal import read_journal
from napari_sam._replay import replay
from napari_sam._widget import SegmentAnything
from napari_sam.testing import FakePredictor
from tests.viewer_window import image_2d

pytestmark = [pytest.mark.viewer]

SAMPLES = Path(napari_sam.__file__).with_name("samples")
BUNDLED = Path(napari_sam.__file__).parent / "core" / "data" / "tiny.safetensors"


def test_click_then_enter_commits_a_label(open_window):
    window = open_window(image_2d())
    window.click(60, 80)
    window.wait_mask()
    assert np.allclose(window.layer("prompts: points").data, [[60, 80]], atol=1)
    assert window.layer("preview").visible
    window.key(Qt.Key.Key_Return)
    labels = window.layer("image labels").data
    assert labels[60, 80] == 1
    assert 150 < (labels == 1).sum() < 250
    assert len(window.layer("prompts: points").data) == 0
    assert not window.layer("preview").visible
    window.click(20, 30)  # the next object, with no key or button in between
    window.wait_mask()
    window.key(Qt.Key.Key_Return)
    assert labels[20, 30] == 2


@pytest.mark.parametrize(
    "modifier", [Qt.KeyboardModifier.AltModifier, Qt.KeyboardModifier.ControlModifier]
)
def test_click_with_alt_or_ctrl_is_negative(open_window, modifier):
    window = open_window(image_2d())
    window.click(60, 80)
    window.click(64, 84, modifier)
    window.click(58, 78)
    signs = [point.positive for point in window.session.prompts.points]
    assert signs == [True, False, True]
    window.wait_mask()
    assert window.predictor.prompts[-1].point_labels.tolist() == [[1, 0, 1]]


def test_keys_flip_the_sign_step_clear_and_undo(open_window):
    window = open_window(image_2d())
    window.click(60, 80)
    window.wait_mask()
    assert window.session.candidate == 1
    window.key(Qt.Key.Key_C)
    assert window.session.candidate == 2
    window.key(Qt.Key.Key_C, Qt.KeyboardModifier.ShiftModifier)
    assert window.session.candidate == 1
    window.key(Qt.Key.Key_T)
    window.click(64, 84)
    assert not window.session.prompts.points[-1].positive
    window.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert len(window.layer("prompts: points").data) == 1
    window.key(Qt.Key.Key_Escape)
    assert len(window.layer("prompts: points").data) == 0
    assert not window.layer("preview").visible
    window.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    window.wait_mask()
    window.key(Qt.Key.Key_Return)
    window.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not window.layer("image labels").data.any()
    assert len(window.layer("prompts: points").data) == 1


def test_dragged_boxes_are_objects(open_window):
    window = open_window(image_2d())
    window.dock.prompt_panel.tools["box"].click()
    window.drag((20, 30), (50, 70))
    window.wait_mask()
    (box,) = window.session.prompts.boxes
    assert np.allclose(box.low + box.high, (20, 30, 50, 70), atol=1)
    window.drag((70, 90), (100, 120))
    window.wait_mask()
    assert len(window.session.preview) == 2
    window.key(Qt.Key.Key_Return)
    labels = window.layer("image labels").data
    assert labels[35, 50] != 0
    assert labels[85, 105] not in (0, labels[35, 50])
    assert window.layer("prompts: boxes").nshapes == 0


def test_scribbles_and_outlines_are_drawn_moved_deleted_and_kept(open_window):
    window = open_window(image_2d())
    session = window.session
    window.dock.prompt_panel.tools["scribble"].click()
    window.drag((20, 20), (20, 40), (25, 50))
    window.wait_mask()
    assert [one.positive for one in session.prompts.strokes] == [True]
    one_scribble = session.preview[0].mask.sum()
    window.drag((20, 30), (30, 30), (35, 40), modifiers=Qt.KeyboardModifier.AltModifier)
    window.wait_mask()
    assert [one.positive for one in session.prompts.strokes] == [True, False]
    assert session.preview[0].mask.sum() < one_scribble
    window.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    window.wait_mask()
    assert session.preview[0].mask.sum() == one_scribble
    layer = window.layer("prompts: drawings")
    assert layer.nshapes == 1
    layer.mode = "select"
    before = session.preview[0].offset
    window.drag((20, 25), (28, 25))
    window.wait_mask()
    assert session.preview[0].offset[0] > before[0]
    layer.selected_data = {0}
    window.key(Qt.Key.Key_Delete)
    assert not session.prompts
    window.dock.prompt_panel.tools["lasso"].click()
    window.drag((10, 10), (10, 40), (40, 40), (40, 10), (11, 10))
    window.wait_mask()
    assert [one.kind for one in session.prompts.outlines] == ["polygon"]
    window.key(Qt.Key.Key_Return)
    assert window.layer("image labels").data[25, 25] == 1
    window.dock.prompt_panel.tools["ellipse"].click()
    window.drag((40, 50), (55, 75))
    window.wait_mask()
    assert [one.kind for one in session.prompts.outlines] == ["ellipse"]
    window.key(Qt.Key.Key_Return)
    assert window.layer("image labels").data[47, 62] == 2
    assert not session.prompts


def test_a_polygon_is_clicked_and_a_label_refined(open_window):
    window = open_window(image_2d())
    session = window.session
    window.dock.prompt_panel.tools["polygon"].click()
    for corner in ((10, 10), (10, 40), (40, 40)):
        window.click(*corner)
    window.click(40, 10)
    assert not session.prompts  # not closed yet
    window.key(Qt.Key.Key_Return)
    window.wait_mask()
    assert len(session.prompts.outlines[0].corners) >= 3
    window.click(50, 10)
    window.key(Qt.Key.Key_Escape)  # drops what is half drawn, and no more
    assert len(session.prompts.outlines) == window.layer("prompts: drawings").nshapes == 1
    window.key(Qt.Key.Key_Return)
    labels = window.layer("image labels")
    labels.data_setitem((np.array([50, 50]), np.array([50, 51])), 9)  # by hand: no prompts
    session.select([9])
    window.dock.prompt_panel.tools["positive"].click()
    window.key(Qt.Key.Key_U)
    window.wait_mask()
    assert session.prompts.mask is not None
    assert session.document.draft.opened == 9
    window.click(50, 60)
    window.wait_mask()
    assert len(session.prompts.points) == 1
    assert session.prompts.mask is not None
    window.key(Qt.Key.Key_Return)
    assert labels.data[50, 60] == 9
    assert session.document.objects[9].prompts.mask is not None


def test_a_point_is_moved_with_the_mouse_and_the_mask_follows(open_window):
    window = open_window(image_2d())
    window.click(60, 80)
    window.wait_mask()
    points = window.layer("prompts: points")
    points.mode = "select"
    window.drag((60, 80), (90, 120))
    assert np.allclose(points.data, [[90, 120]], atol=1)
    window.wait_mask()
    assert window.session.preview[0].offset[0] > 75
    window.key(Qt.Key.Key_Delete)
    assert not window.session.prompts
    assert not window.layer("preview").visible


def test_a_scaled_plane_of_a_stack(open_window):
    stack = np.stack([image_2d()] * 5)
    window = open_window(stack, scale=(3.0, 0.5, 0.5), translate=(0, 10, 20))
    window.viewer.dims.set_current_step(0, 3)
    window.click(10 + 30, 20 + 40)
    window.wait_mask()
    window.key(Qt.Key.Key_Return)
    labels = window.layer("image labels")
    assert labels.data[3, 60, 80] == 1
    assert labels.data.shape == stack.shape
    assert tuple(labels.scale) == (3.0, 0.5, 0.5)


@pytest.mark.parametrize(("order", "moved"), [((1, 0, 2), 1), ((2, 0, 1), 2)])
def test_prompts_on_xz_and_yz_planes(open_window, order, moved):
    """A click and a box with the mouse; on another plane they are left out, with a word."""
    window = open_window(np.zeros((60, 70, 80), np.uint8))
    session, dims = window.session, window.viewer.dims
    dims.order = order
    dims.set_current_step(moved, 33)
    window.viewer.reset_view()
    window.qtbot.wait(50)
    window.click(20, 30)
    window.wait_mask()
    dims.set_current_step(moved, 40)
    assert "on another plane: ignored" in session.message
    assert not window.layer("preview").visible
    dims.set_current_step(moved, 33)
    window.wait_mask()
    window.key(Qt.Key.Key_Return)
    window.dock.prompt_panel.tools["box"].click()
    window.drag((40, 40), (50, 60))
    window.wait_mask()
    window.key(Qt.Key.Key_Return)
    labels = np.moveaxis(window.layer("image labels").data, moved, 0)
    assert (labels[33, 20, 30], labels[33, 45, 50]) == (1, 2)
    assert not labels[:33].any()
    assert not labels[34:].any()


def test_locked_labels_overlaps_a_class_and_a_split_with_mouse_and_keys(open_window):
    window = open_window(image_2d())
    session, panel = window.session, window.dock.objects_panel
    window.dock.review.add_kind("nucleus", "")
    session.set_kind("")
    window.key(Qt.Key.Key_K)
    assert session.kind == "nucleus"
    keep(window, (60, 40))
    labels = window.layer("image labels")
    labels.preserve_labels = True
    session.set_overwrite(True)
    session.set_keep_overlaps(True)
    keep(window, (60, 50))
    assert labels.data[60, 45] == 1  # locked, whatever the session says
    objects = session.document.objects
    assert objects[2].covered is not None
    assert {one.kind for one in objects.values()} == {"nucleus"}
    session.select([1])
    window.key(Qt.Key.Key_X)
    assert labels.data[60, 45] == 2  # what lay beneath comes to light
    for x in (46, 54):
        window.click(60, x)
    window.wait_mask()
    panel.split.click()
    assert labels.data[60, 46] != labels.data[60, 54]
    assert 0 not in (labels.data[60, 46], labels.data[60, 54])


def test_a_layer_is_renamed_and_replaced_and_channels_are_mixed_in_mid_work(open_window):
    window = open_window(image_2d())
    other = window.viewer.add_image(image_2d()[::-1], name="red")
    window.session.choose_tool("positive")  # napari has brought the new layer to the front
    window.click(60, 80)
    window.wait_mask()
    assert len(window.predictor.images) == 1
    keys = [key for key, _ in window.session.channel_options if key is not None]
    window.session.choose_channels(keys[-1])
    window.wait_mask()
    assert window.predictor.images[-1].ndim == 3
    assert len(window.layer("prompts: points").data) == 1
    window.layer("image").name = "green"
    window.key(Qt.Key.Key_Return)
    assert window.layer("green labels").data[60, 80] == 1
    window.viewer.layers.remove(other)
    assert window.session.channels is None
    window.click(20, 30)
    window.wait_mask()
    assert len(window.predictor.images) == 2  # the one channel is known already
    window.layer("green").data = image_2d().T  # another picture
    window.qtbot.wait(50)
    window.click(100, 20)
    window.wait_mask()
    assert window.predictor.images[-1].shape == (160, 120)


def test_candidates_are_dropped_by_clicks_and_committed(open_window):
    window = open_window(image_2d())
    dock, tool = window.dock, window.dock.everything

    def settled():
        return tool.selection is not None and tool.selection.request is tool._asked

    panel = dock.everything_panel
    dock.tabs.setCurrentWidget(panel)
    panel.points.setValue(2)
    panel.sliders["pred_iou_thresh"].slider.setValue(70)
    panel.run.click()
    window.qtbot.waitUntil(settled, timeout=60000)
    assert panel.count.text() == "4 of 8 candidates"
    window.click(30, 40)
    window.qtbot.waitUntil(lambda: settled() and len(tool.selection.kept) == 3, timeout=20000)
    window.drag((90, 120), (70, 100))  # moves the picture, drops nothing
    window.viewer.reset_view()
    window.qtbot.wait(50)
    assert len(tool.dropped) == 1
    window.click(90, 120)
    window.click(90, 120)
    window.qtbot.waitUntil(settled, timeout=20000)
    assert len(tool.dropped) == 1
    window.key(Qt.Key.Key_Return)
    labels = window.layer("image labels").data
    assert [labels[30, 40], labels[30, 120] > 0, labels[90, 40] > 0, labels[90, 120] > 0] == [
        0, True, True, True,
    ]  # fmt: skip
    assert sorted(np.unique(labels)) == [0, 1, 2, 3]


CTRL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


def keep(window, *places):
    for y, x in places:
        window.click(y, x)
        window.wait_mask()
        window.key(Qt.Key.Key_Return)


def test_brush_and_keys_share_one_history(open_window):
    window = open_window(image_2d())
    keep(window, (60, 80))
    labels = window.layer("image labels")
    window.viewer.layers.selection.active = labels
    labels.mode = "erase"
    labels.brush_size = 6
    kept = labels.data.copy()
    window.drag((60, 76), (60, 84))
    assert labels.data[60, 80] == 0
    assert window.session.document.objects[1].area == (labels.data == 1).sum()
    labels.mode, labels.selected_label = "paint", 7
    window.drag((20, 20), (20, 30))
    assert window.session.document.objects[7].area > 0
    window.key(Qt.Key.Key_Z, CTRL)
    window.key(Qt.Key.Key_Z, CTRL)
    assert np.array_equal(labels.data, kept)
    window.key(Qt.Key.Key_Z, CTRL)
    assert not labels.data.any()
    for _ in range(3):
        window.key(Qt.Key.Key_Z, CTRL | SHIFT)
    assert labels.data[60, 80] == 0
    assert labels.data[20, 25] == 7
    assert sorted(window.session.document.objects) == [1, 7]


def test_objects_under_the_mouse_are_selected_opened_and_deleted(open_window):
    window = open_window(image_2d())
    keep(window, (60, 40), (60, 120))
    session = window.session

    def over(y, x):
        for step in (-1, 0):  # a mouse that is there already does not move
            QTest.mouseMove(window.native, window.at(y, x + step))
            window.qtbot.wait(50)

    over(60, 40)
    window.key(Qt.Key.Key_S)
    assert session.selection == (1,)
    assert window.layer("preview").visible  # its outline
    over(60, 120)
    window.key(Qt.Key.Key_S, SHIFT)
    assert session.selection == (1, 2)
    window.key(Qt.Key.Key_O)
    assert session.document.draft.opened == 2
    window.wait_mask()
    window.click(60, 124)  # its prompts are edited
    window.wait_mask()
    window.key(Qt.Key.Key_Return)
    assert window.layer("image labels").data[60, 131] == 2
    over(60, 40)
    window.key(Qt.Key.Key_S)
    window.key(Qt.Key.Key_X)
    assert sorted(session.document.objects) == [2]
    window.key(Qt.Key.Key_Z, CTRL)
    window.key(Qt.Key.Key_N)
    assert session.selection == (1,)
    window.key(Qt.Key.Key_R)
    assert session.document.objects[1].reviewed
    assert session.selection == (2,)


def test_the_mask_under_the_mouse_is_shown_before_the_click(open_window):
    window = open_window(image_2d())
    window.key(Qt.Key.Key_H)
    assert window.session.hovering
    for y in (40, 60):
        QTest.mouseMove(window.native, window.at(y, 80))
        window.qtbot.wait(50)
    window.qtbot.waitUntil(lambda: window.session.hover_response is not None, timeout=60000)
    window.qtbot.waitUntil(lambda: not window.session.busy, timeout=20000)
    assert window.layer("preview").visible
    assert abs(window.layer("preview").translate[0] - 52) <= 1
    assert len(window.layer("prompts: points").data) == 0
    keep(window, (60, 80))
    assert window.layer("image labels").data[60, 80] == 1


def test_modes_by_key_and_several_points_at_once(open_window):
    window = open_window(image_2d())
    keep(window, (60, 40))
    window.session.select([1])
    window.key(Qt.Key.Key_M)
    keep(window, (60, 50))
    labels = window.layer("image labels").data
    assert labels[60, 56] == 1
    assert labels.max() == 1
    for _ in range(3):
        window.key(Qt.Key.Key_M)
    assert window.session.mode == "new"
    window.dock.prompt_panel.each.click()
    for x in (80, 110, 140):
        window.click(20, x)
    window.wait_mask()
    window.key(Qt.Key.Key_Return)
    assert len({labels[20, x] for x in (80, 110, 140)} | {0, 1}) == 5


def test_a_click_in_the_table_goes_to_the_object(open_window):
    window = open_window(np.stack([image_2d()] * 3))
    keep(window, (60, 40), (60, 120))
    window.viewer.dims.set_current_step(0, 2)
    window.viewer.scene.camera.center = (0, 0, 0)
    dock = window.dock
    dock.tabs.setCurrentWidget(dock.objects_panel)
    window.qtbot.wait(100)
    table = dock.objects_panel.table
    place = table.visualRect(dock.objects_panel.model.index(1, 2)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert window.session.selection == (2,)
    assert window.viewer.dims.current_step[0] == 1
    assert np.allclose(window.viewer.scene.camera.center[-2:], (60, 120), atol=2)


def test_journal_and_labels_survive_the_window(open_window):
    image = np.random.default_rng(5).integers(0, 255, (120, 160)).astype(np.uint8)
    window = open_window(image)
    keep(window, (60, 40), (60, 120))
    labels = window.layer("image labels").data.copy()
    window.dock.shut()
    other = open_window(image)
    panel = other.dock.restore_panel
    other.qtbot.waitUntil(panel.isVisible, timeout=20000)
    QTest.mouseClick(panel.restore, Qt.MouseButton.LeftButton)
    other.qtbot.waitUntil(lambda: "image labels" in other.viewer.layers, timeout=20000)
    assert np.array_equal(other.layer("image labels").data, labels)
    other.key(Qt.Key.Key_Z, CTRL)
    assert other.layer("image labels").data[60, 120] == 0


def test_two_windows_on_one_image_have_their_own_work_and_journal(open_window, qtbot, tmp_path):
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, image_2d())
    one, other = windows = [open_window(path=path), open_window(path=path)]
    keep(one, (60, 40))
    keep(other, (30, 120), (90, 120))
    one.click(90, 40)  # on its way, while the other works
    other.key(Qt.Key.Key_Z, CTRL)
    one.wait_mask()
    one.key(Qt.Key.Key_Return)
    assert all(at.position[1] > 100 for at in other.session.prompts.points)
    found = [window.layer("cells labels").data for window in windows]
    assert [found[0][at] for at in ((60, 40), (90, 40), (30, 120))] == [1, 2, 0]
    assert [found[1][at] for at in ((60, 40), (30, 120), (90, 120))] == [0, 1, 0]
    journals = [window.dock.keeper.journal for window in windows]
    assert journals[0].path.parent == journals[1].path.parent == tmp_path / "cells.tif.napari-sam"
    for journal, labels in zip(journals, found, strict=True):
        assert not journal.failed
        assert np.array_equal(replay(read_journal(journal.path)).labels.data, labels)
    one.dock.shut()
    other.key(Qt.Key.Key_Z, CTRL | SHIFT)  # goes on
    assert len(other.session.document.objects) == 2
    assert len(replay(read_journal(journals[1].path)).objects) == 2
    later = open_window(path=path)
    qtbot.waitUntil(lambda: later.dock.keeper.offer is not None, timeout=20000)
    assert later.dock.keeper.offer.path == journals[0].path  # the other is in use


def test_no_page_of_the_dock_is_cut_at_its_side(open_window):
    window = open_window(image_2d())
    pages, cut = window.dock.tabs, []
    for index in range(1, 8):
        pages.setCurrentIndex(index)
        window.qtbot.wait(50)
        page = pages.widget(index)
        viewport = page.parentWidget()
        if page.minimumSizeHint().width() > viewport.width() or page.width() > viewport.width():
            cut.append((index, page.minimumSizeHint().width(), viewport.width()))
    assert not cut


def test_napari_opens_the_dock_and_takes_it_away(make_napari_viewer, qtbot):
    import npe2

    manifest = npe2.PluginManager.instance()
    manifest.discover()
    viewer = make_napari_viewer()
    viewer.add_image(image_2d(), name="image")
    dock, widget = viewer.window.add_plugin_dock_widget("napari-sam", "Segment Anything")
    assert isinstance(widget, SegmentAnything)
    qtbot.waitUntil(lambda: "prompts: points" in viewer.layers)
    viewer.window.remove_dock_widget(dock)
    assert [layer.name for layer in viewer.layers] == ["image"]


def test_the_window_may_be_closed_in_mid_work(open_window, qtbot):
    window = open_window(image_2d(), FakePredictor(encode_s=1.0))
    window.click(60, 80)
    window.dock.shut()
    qtbot.waitUntil(lambda: not window.dock.clicks.running, timeout=20000)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.skipif(not BUNDLED.is_file(), reason="the bundled weights are not there yet")
def test_clicks_on_nuclei_with_the_bundled_model(open_window):
    """Five nuclei from small to large, a click each: the middle one of their IoUs counts."""
    image, truth = (imread(SAMPLES / f"nuclei_fluorescence{end}.png") for end in ("", "_labels"))
    sizes = np.bincount(truth.ravel())
    nuclei = np.flatnonzero(sizes[1:]) + 1
    by_size = nuclei[sizes[nuclei].argsort()]
    chosen = [by_size[len(by_size) * tenth // 10] for tenth in (1, 3, 5, 7, 9)]
    window = open_window(image, predictor=None)
    found = []
    for number, label in enumerate(chosen, start=1):
        depth = distance_transform_edt(np.pad(truth == label, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        started = time.perf_counter()
        window.click(y, x)
        window.wait_mask()
        print(f"click {number} answered in {time.perf_counter() - started:.2f} s")
        window.key(Qt.Key.Key_Return)
        labels = window.layer("image labels").data
        assert labels[y, x] == number
        found.append(iou(labels == number, truth == label))
    print("IoU with the ground truth", np.round(found, 3))
    assert np.median(found) >= 0.8
