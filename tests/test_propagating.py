"""The tab 3D / time without a window around it: objects carried on, corrected, undone."""

import gc
import threading

import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from napari_sam._label_edit import ArrayLabels
from napari_sam._way import Way, combined, drawn_planes, write_plane
from napari_sam._widget import SegmentAnything
from napari_sam.progress import finish
from napari_sam.testing import FakePredictor
from napari_sam.volume.propagation.result import PlaneObject, PlaneResult

LONG_MS = 120000
SHAPE = (7, 48, 64)


# --- planes of labels ----------------------------------------------------------------------------


def square(one, row, column, side=3):
    region = (slice(row, row + side), slice(column, column + side))
    return PlaneObject(one, np.ones((side, side), bool), region, 0.9, "forward")


WAYS = [
    Way("zyx", (4, 9, 8), 0, 1, 2, (0, 0, 0), (1, 1, 1)),
    Way("tzyx", (2, 4, 9, 8), 1, 2, 3, (1, 0, 0, 0), (1, 1, 1)),
    Way("zyx", (9, 4, 8), 1, 0, 2, (0, 0, 0), (1, 1, 1)),  # along y: rows are z
    Way("zyx", (8, 9, 4), 2, 1, 0, (0, 0, 0), (1, 1, 1)),  # along x: rows are y, columns z
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.letters} along {way.along}")
def test_planes_are_written_found_again_and_taken_back(way):
    labels = ArrayLabels(np.zeros(way.shape, np.uint32))
    assert way.size == (9, 8) and way.count == 4
    first, second = PlaneResult(1, (square(5, 1, 4),)), PlaneResult(2, (square(5, 6, 0),))
    made, edits = {}, []
    for result in (first, second):
        edits.append(write_plane(labels, way, result, (), ids=(5,), overwrite=False))
        made[result.plane] = result
    assert way.flat(labels.read(way.region(1, (slice(0, 9), slice(0, 8)))))[1:4, 4:7].all()
    edit = finish(combined(edits))
    assert len(edit.changes) == 1 and edit.changes[0].count == 18
    whole = tuple(slice(0, n) for n in way.shape)
    assert not list(drawn_planes(labels, way, whole, made, (5,)))
    labels.data[labels.data == 5] = 0
    edit.apply(labels)
    assert (labels.data == 5).sum() == 18
    edit.inverse().apply(labels)
    assert not labels.data.any()
    ((plane, drawn, gone), (other, *_)) = drawn_planes(labels, way, whole, made, (5,))
    assert (plane, other) == (1, 2) and drawn is None and gone == {5}


def test_others_keep_their_pixels_unless_they_may_lose_them():
    way = WAYS[0]
    labels = ArrayLabels(np.zeros(way.shape, np.uint32))
    labels.data[1, 2, 4] = 9
    result = PlaneResult(1, (square(5, 1, 4),))
    write_plane(labels, way, result, (), ids=(5,), overwrite=False)
    assert labels.data[1, 2, 4] == 9 and (labels.data == 5).sum() == 8
    moved = PlaneResult(1, (square(5, 2, 4),))
    write_plane(labels, way, moved, result.objects, ids=(5,), overwrite=True)
    assert (labels.data == 5).sum() == 9 and not labels.data[1, 1].any()


def test_what_somebody_has_drawn_is_told_from_what_was_made():
    way = WAYS[0]
    labels = ArrayLabels(np.zeros(way.shape, np.uint32))
    made = {2: PlaneResult(2, (square(5, 1, 1), square(6, 5, 5)))}
    write_plane(labels, way, made[2], (), ids=(5, 6), overwrite=False)
    labels.data[2, 1, 1] = 0  # eraser
    labels.data[0, 7, 7] = 6  # brush
    whole = tuple(slice(0, n) for n in way.shape)
    found = {plane: (drawn, gone) for plane, drawn, gone in
             drawn_planes(labels, way, whole, made, (5, 6))}  # fmt: skip
    assert set(found) == {0, 2} and not found[0][1] and not found[2][1]
    assert (found[2][0] == 5).sum() == 8 and not (found[2][0] == 6).any()
    assert found[0][0][7, 7] == 6


# --- the dock ------------------------------------------------------------------------------------


class Gated(FakePredictor):
    """Waits before an image when it is told to."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def encode(self, image, **options):
        self.gate.wait(20)
        return super().encode(image, **options)


@pytest.fixture
def open_dock(qtbot, monkeypatch):
    monkeypatch.setattr("napari_sam._widget.show_error", lambda text: None)
    opened = []

    def make(shape=SHAPE, **options):
        viewer, model = ViewerModel(), Gated()
        viewer.add_image(np.random.default_rng(0).integers(0, 255, shape, np.uint8), **options)
        dock = SegmentAnything(viewer, load=lambda _: model)
        dock.viewer, dock.model = viewer, model
        qtbot.addWidget(dock)
        opened.append(dock)
        qtbot.waitUntil(lambda: "preview" in viewer.layers, timeout=LONG_MS)
        return dock

    yield make
    for dock in opened:
        dock.model.gate.set()
        dock.shut()
    qtbot.waitUntil(lambda: not any(j.running for d in opened for j in d._jobs), timeout=LONG_MS)
    opened.clear()
    gc.collect()


def click(qtbot, dock, *position):
    for axis, place in enumerate(position[:-2]):
        dock.viewer.dims.set_point(axis, float(place))
    dock.viewer.layers["prompts: points"].add(position)
    session = dock.session
    qtbot.waitUntil(
        lambda: session.response is not None and not session.busy
        and session.response.generation == session.generation, timeout=LONG_MS,
    )  # fmt: skip


def wait(qtbot, dock):
    qtbot.waitUntil(lambda: not dock.propagating.busy, timeout=LONG_MS)


def data(dock):
    return dock._binding.output_labels().layer.data


def planes_of(labels, number):
    return [int(z) for z in np.unique(np.nonzero(labels == number)[0])]


def test_a_click_is_carried_on_corrected_and_undone_step_by_step(qtbot, open_dock):
    dock = open_dock()
    tab, session = dock.propagating, dock.session
    tab.propagate()
    assert "Nothing to carry on" in session.message
    tab.correct()
    assert "Propagate an object first" in session.message
    click(qtbot, dock, 3, 20, 30)
    tab.change(first=1)
    tab.propagate()
    wait(qtbot, dock)
    labels = data(dock)
    assert planes_of(labels, 1) == [1, 2, 3, 4, 5, 6], session.message
    details = session.document.history.next_undo.details
    assert (details["model"], details["intensity"]) == (session.model.name, "percentile")
    record = session.document.objects[1]
    assert record.region[0] == (1, 7) and record.score == pytest.approx(0.9)
    assert tab.key_planes == (3,) and not session.prompts
    assert [plane for plane, _ in tab.curve] == [1, 2, 3, 4, 5, 6]
    before = labels.copy()
    dock.viewer.dims.set_point(0, 5.0)
    labels_layer = dock._binding.output_labels().layer
    labels_layer.selected_label, labels_layer.brush_size = 1, 9
    labels_layer.paint((5, 40, 50), 1)
    asked = len(dock.model.prompts)
    tab.correct()
    wait(qtbot, dock)
    assert tab.key_planes == (3, 5)
    assert labels[5, 40, 50] == 1  # what was painted stays as it is
    assert (labels[1:3] == before[1:3]).all()  # beyond the other key plane nothing changes
    assert (labels[6] != before[6]).any()
    assert len(dock.model.prompts) - asked <= 4  # planes 4 (twice) and 6, not all
    corrected = labels.copy()
    session.undo()
    assert labels[5, 40, 50] == 1 and (labels[6] == before[6]).all()
    assert tab.key_planes == (3,)
    session.undo()  # the stroke
    assert (labels == before).all()
    session.undo()
    assert not labels.any() and len(session.prompts.points) == 1
    for _ in range(3):
        session.redo()
    assert (labels == corrected).all()


def test_a_click_on_another_plane_corrects_and_not_here_ends_it(qtbot, open_dock):
    dock = open_dock()
    tab, session = dock.propagating, dock.session
    click(qtbot, dock, 3, 20, 30)
    tab.propagate()
    wait(qtbot, dock)
    labels = data(dock)
    click(qtbot, dock, 5, 36, 50)
    tab.correct()
    wait(qtbot, dock)
    assert labels.max() == 1 and labels[5, 36, 50] == 1 and not labels[5, 20, 30]
    assert labels[3, 20, 30] == 1 and not labels[3, 36, 50] and labels[6, 36, 50] == 1
    assert not session.prompts
    dock.viewer.dims.set_point(0, 6.0)
    tab.end_here()
    wait(qtbot, dock)
    assert not labels[6].any() and labels[5].any() and 6 in tab.key_planes
    tab.forget_key(5)
    wait(qtbot, dock)
    assert 5 not in tab.key_planes and labels[5, 20, 30] == 1
    tab.propagate()  # the same object again: nothing of it is a key plane by that
    wait(qtbot, dock)
    assert tab.key_planes == (3, 6)


def test_all_labels_of_a_plane_go_together_and_others_stay(qtbot, open_dock):
    dock = open_dock()
    dock.model.radius = 2.0  # smaller than the objects: their points add nothing
    tab, session = dock.propagating, dock.session
    seeds = np.zeros(SHAPE, np.uint16)
    seeds[2, 5:12, 5:12], seeds[2, 30:40, 40:50], seeds[4, 0:4, 0:60] = 3, 8, 20
    dock.viewer.add_labels(seeds, name="seeds")
    session.choose_output(next(r.token for r in session.outputs if r.name == "seeds"))
    dock.viewer.dims.set_point(0, 2.0)
    tab.change(what="plane", direction="forward")
    tab.propagate()
    wait(qtbot, dock)
    assert planes_of(seeds, 3) == planes_of(seeds, 8) == [2, 3, 4, 5, 6], session.message
    assert planes_of(seeds, 20) == [4] and (seeds[4, 0:4, 0:60] == 20).all()
    assert session.selection == (3, 8) and sorted(session.document.objects) == [3, 8, 20]
    session.undo()
    assert planes_of(seeds, 3) == [2]


def large_layer(dock, monkeypatch, make=lambda seeds: seeds):
    """Labels that are too large to be listed when they are chosen."""
    monkeypatch.setattr("napari_sam._layers.output.LISTED_AT_ONCE", np.prod(SHAPE) - 1)
    seeds = np.zeros(SHAPE, np.uint16)
    seeds[2, 5:12, 5:12], seeds[2, 30:40, 40:50], seeds[4, 0:4, 0:60] = 3, 8, 20
    data = make(seeds)
    dock.viewer.add_labels(data, name="seeds")
    session = dock.session
    session.choose_output(next(r.token for r in session.outputs if r.name == "seeds"))
    return data


def as_zarr(seeds):
    stored = zarr.create_array({}, shape=seeds.shape, dtype=seeds.dtype, chunks=(1, 48, 64))
    stored[:] = seeds
    return stored


@pytest.mark.parametrize("make", [lambda seeds: seeds, as_zarr], ids=["numpy", "zarr"])
def test_labels_too_large_to_be_listed_are_listed_plane_by_plane(
    qtbot, open_dock, monkeypatch, make
):
    dock = open_dock()
    dock.model.radius = 2.0
    large_layer(dock, monkeypatch, make)
    objects = dock.session.document.objects
    qtbot.waitUntil(lambda: not dock.propagating.listing.waiting, timeout=LONG_MS)
    assert not objects  # plane 0 is empty
    dock.viewer.dims.set_point(0, 2.0)
    qtbot.waitUntil(lambda: sorted(objects) == [3, 8], timeout=LONG_MS)
    assert objects[3].area == 49 and objects[8].slices == np.s_[2:3, 30:40, 40:50]
    dock.viewer.dims.set_point(0, 4.0)
    qtbot.waitUntil(lambda: sorted(objects) == [3, 8, 20], timeout=LONG_MS)
    dock.viewer.dims.set_point(0, 2.0)
    assert objects[3].area == 49  # counted once


def test_all_labels_of_a_plane_of_a_large_layer_go_together(qtbot, open_dock, monkeypatch):
    dock = open_dock()
    dock.model.radius = 2.0
    tab, session = dock.propagating, dock.session
    seeds = large_layer(dock, monkeypatch)
    seeds[5, 5:12, 5:12] = 3  # a key plane that nobody has looked at
    dock.viewer.dims.set_point(0, 2.0)
    tab.change(what="plane", direction="forward")
    tab.propagate()  # the plane is not listed yet: it goes on by itself
    qtbot.waitUntil(lambda: tab.run is not None and not tab.busy, timeout=LONG_MS)
    assert planes_of(seeds, 3) == planes_of(seeds, 8) == [2, 3, 4, 5, 6], session.message
    assert planes_of(seeds, 20) == [4] and tab.key_planes == (2, 5)
    session.undo()
    assert planes_of(seeds, 3) == [2, 5] and session.document.objects[8].area == 100


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_what_is_written_is_one_step_also_if_making_it_one_goes_wrong(qtbot, open_dock, how):
    dock = open_dock()
    tab = dock.propagating
    tab.combine_requested.disconnect()  # the worker that makes it one
    click(qtbot, dock, 2, 20, 20)
    tab.propagate()
    qtbot.waitUntil(lambda: tab.run is not None and bool(tab.run.closing), timeout=LONG_MS)
    tab.cancelled() if how == "cancelled" else tab.failed("no memory")
    assert planes_of(data(dock), 1) == list(range(7))
    assert dock.session.document.history.next_undo.name == "propagate"
    dock.session.undo()
    assert not data(dock).any()


def test_many_objects_are_not_all_outlined_afterwards(qtbot, open_dock, monkeypatch):
    monkeypatch.setattr("napari_sam._propagating.MOST_SELECTED", 1)
    dock = open_dock()
    dock.model.radius = 2.0
    seeds = np.zeros(SHAPE, np.uint16)
    seeds[2, 5:12, 5:12], seeds[2, 30:40, 40:50] = 3, 8
    dock.viewer.add_labels(seeds, name="seeds")
    session = dock.session
    session.choose_output(next(r.token for r in session.outputs if r.name == "seeds"))
    dock.viewer.dims.set_point(0, 2.0)
    dock.propagating.change(what="plane")
    dock.propagating.propagate()
    wait(qtbot, dock)
    assert planes_of(seeds, 3) == list(range(7)) and session.selection == ()


def test_a_film_goes_along_t_and_one_plane_nowhere(qtbot, open_dock):
    dock = open_dock((3, 2, 40, 40), axis_labels=("t", "z", "y", "x"))
    tab = dock.propagating
    click(qtbot, dock, 1, 1, 20, 20)
    tab.change(along="t")
    tab.propagate()
    wait(qtbot, dock)
    labels = data(dock)
    assert labels[:, 1].any(axis=(1, 2)).all() and not labels[:, 0].any(), dock.session.message
    tab.change(along="c")
    tab.propagate()
    assert "no axis c" in dock.session.message


def test_what_is_done_stays_when_it_is_cancelled(qtbot, open_dock):
    dock = open_dock()
    tab = dock.propagating
    click(qtbot, dock, 3, 20, 30)
    done = []
    tab.progressed.connect(lambda: done or (tab.made and (done.append(1), tab.cancel())))
    tab.propagate()
    wait(qtbot, dock)
    labels = data(dock)
    there = planes_of(labels, 1)
    assert 3 in there and "done and stay" in dock.session.message
    dock.session.undo()
    assert not labels.any()


def test_the_panel_shows_keys_scores_and_jumps(qtbot, open_dock):
    dock = open_dock()
    tab, panel = dock.propagating, dock.propagate_panel
    assert not panel.correct.isEnabled()
    click(qtbot, dock, 3, 20, 30)
    panel.last.setValue(5)
    panel.direction.activated.emit(1)
    assert tab.settings.last == 5 and tab.settings.direction == "forward"
    panel.propagate.click()
    wait(qtbot, dock)
    assert planes_of(data(dock), 1) == [3, 4, 5]
    assert [panel.keys.item(i).text() for i in range(panel.keys.count())] == ["Plane 3"]
    (first, second, _) = panel.scores.curves[0].points
    assert first == (3, 1.0) and second == (4, pytest.approx(0.9))  # a key plane is as it should be
    assert panel.scores.marks == (3,)
    panel.scores.picked.emit(4.6)
    assert dock.session.plane.index[0] == 5
    panel.keys.itemClicked.emit(panel.keys.item(0))
    assert dock.session.plane.index[0] == 3
    assert "No weak" in panel.weak.text()
    panel.score.setValue(0.95)
    assert tab.settings.least_score == 0.95


def test_divisions_are_proposed_decided_and_become_a_tracks_layer(qtbot, open_dock):
    dock = open_dock((3, 40, 60), axis_labels=("t", "y", "x"))
    tracks, panel, session = dock.tracks, dock.tracks_panel, dock.session
    panel.look.click()
    assert "no labels yet" in session.message
    film = np.zeros((3, 40, 60), np.uint16)
    film[0, 10:20, 10:30], film[:, 30:38, 40:50] = 4, 9
    film[1:, 10:20, 8:19], film[1:, 10:20, 21:32] = 5, 6
    dock.viewer.add_labels(film, name="film")
    session.choose_output(next(r.token for r in session.outputs if r.name == "film"))
    panel.look.click()
    qtbot.waitUntil(lambda: tracks.linked is not None and not tracks.busy, timeout=LONG_MS)
    assert panel.events.count() == 1 and "Frame 1: 4 -> 5 + 6" in panel.events.item(0).text()
    panel.events.itemClicked.emit(panel.events.item(0))
    assert session.plane.index[0] == 1
    panel.make.click()
    qtbot.waitUntil(lambda: "film: lines" in dock.viewer.layers, timeout=LONG_MS)
    made = dock.viewer.layers["film: tracks"].data
    assert made[0, 15, 15] == 4 and len(np.unique(made[2])) == 4
    assert dock.viewer.layers["film: lines"].graph == {5: [4], 6: [4]}
    dock.viewer.layers.remove("film: lines")
    panel.events.item(0).setCheckState(Qt.CheckState.Unchecked)
    panel.make.click()
    qtbot.waitUntil(lambda: "film: lines" in dock.viewer.layers, timeout=LONG_MS)
    assert dock.viewer.layers["film: lines"].graph == {}


def test_endings_are_decided_one_by_one(qtbot, open_dock):
    dock = open_dock((5, 60, 80), axis_labels=("t", "y", "x"))
    tracks, panel, session = dock.tracks, dock.tracks_panel, dock.session
    film = np.zeros((5, 60, 80), np.uint16)
    film[:, 50:58, 60:70] = 9  # stays
    film[:2, 10:20, 10:20], film[2:, 10:20, 22:32] = 4, 5  # jumps, or one ends and one begins
    film[:3, 30:36, 40:46], film[3:, 30:36, 49:55] = 6, 7  # so, too
    film[:2, 0:4, 70:74] = 8  # ends, and there is nothing near
    dock.viewer.add_labels(film, name="film")
    session.choose_output(next(r.token for r in session.outputs if r.name == "film"))
    panel.look.click()
    qtbot.waitUntil(lambda: tracks.linked is not None and not tracks.busy, timeout=LONG_MS)
    lines = [panel.events.item(i).text() for i in range(panel.events.count())]
    assert [line.split(" (")[0] for line in lines] == [
        "Frame 1: 4 ends, else is 5 of frame 2", "Frame 2: 6 ends, else is 7 of frame 3",
    ]  # fmt: skip
    assert "1 more end" in tracks.said
    panel.events.itemClicked.emit(panel.events.item(1))
    assert session.plane.index[0] == 2
    panel.events.item(0).setCheckState(Qt.CheckState.Checked)
    panel.events.item(1).setCheckState(Qt.CheckState.Unchecked)
    panel.make.click()
    qtbot.waitUntil(lambda: "film: lines" in dock.viewer.layers, timeout=LONG_MS)
    made = dock.viewer.layers["film: tracks"].data
    assert (made[:2, 15, 15] == 4).all() and (made[2:, 15, 27] == 5).all()
    assert (made[:3, 33, 43] == 6).all() and (made[3:, 33, 52] == 6).all()


def test_all_layers_of_a_stack_can_be_removed_at_once(qtbot, open_dock):
    dock = open_dock()
    dock.viewer.layers.clear()
    assert dock.session.plane is None and "Open an image first" in dock.session.no_plane
