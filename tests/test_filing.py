"""Saving and loading in a sitting: without a window, in the dock, and by napari itself."""

import gc
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from npe2 import PluginManager

import napari_sam
from napari_sam import _filing
from napari_sam._annotated import ObjectRecord
from napari_sam._covered import Covered
from napari_sam._document import Made
from napari_sam._filing import Filing, load, object_set_of, save
from napari_sam._formats.files import FORMATS, read
from napari_sam._journal import Source
from napari_sam._label_edit import ArrayLabels
from napari_sam._layers.writer import write_labels
from napari_sam._operations import Drawing
from napari_sam._panels.files import with_ending
from napari_sam._session import Session
from napari_sam._widget import SegmentAnything
from napari_sam.errors import NapariSamError
from napari_sam.testing import FakePredictor

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPE = (40, 50)
ENDINGS = [one.endings[0] for one in FORMATS]


def run(job):
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value


class Office:
    """A session with its files; jobs run at once, or when told."""

    def __init__(self, at_once=True):
        self.session = Session(weights_needed=False)
        self.filing = Filing(self.session)
        self.labels = ArrayLabels(np.zeros(SHAPE, np.uint32))
        self.session.output_requested.connect(
            lambda: self.session.adopt("labels", self.labels, survey=False)
        )
        self.requests = []
        self.filing.save_requested.connect(lambda r: self.take(save, r, self.filing.saved_to))
        self.filing.load_requested.connect(lambda r: self.take(load, r, self.filing.loaded))
        self.at_once = at_once

    def take(self, job, request, then):
        self.requests.append(lambda: then(run(job(request))))
        if self.at_once:
            self.requests.pop()()

    def draw(self, y, x, **options):
        self.session.has_output()
        square = Drawing((y, x), np.ones((6, 6), np.uint8))
        return self.session.document.commit(square, [Made(score=0.75)], **options)

    @property
    def objects(self):
        return self.session.document.objects


@pytest.fixture
def office():
    made = Office()
    made.draw(2, 2, kind="cell")
    made.draw(20, 20)
    made.session.document.describe([2], reviewed=True)
    return made


def facts(objects):
    return {n: (one.kind, one.score, one.reviewed, one.area) for n, one in objects.items()}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_saved_is_loaded_as_one_step(tmp_path, office, ending):
    office.filing.save(tmp_path / f"cells{ending}")
    assert office.session.message.startswith("Saved")
    other = Office()
    other.filing.load(tmp_path / f"cells{ending}")
    assert facts(other.objects) == facts(office.objects)
    assert dict(other.session.document.kinds) == dict(office.session.document.kinds)
    np.testing.assert_array_equal(other.labels.data, office.labels.data)
    assert len(other.session.document.history) == 1
    assert "Loaded 2 objects" in other.session.message
    other.session.undo()
    assert not other.objects
    assert not other.labels.data.any()
    assert not other.session.document.kinds
    other.session.redo()
    assert facts(other.objects) == facts(office.objects)


def test_loading_leaves_what_is_there_unless_it_may_be_overwritten(tmp_path, office):
    office.filing.save(tmp_path / "cells.tif")
    other = Office()
    other.draw(4, 4, kind="dirt")  # label 1, on part of the loaded 1
    other.filing.load(tmp_path / "cells.tif")
    assert facts(other.objects)[1] == ("dirt", 0.75, False, 36)
    assert facts(other.objects)[3] == ("cell", 0.75, False, 36 - 16)
    assert "another number" in other.session.message
    assert list(other.session.document.kinds) == ["dirt", "cell"]
    other.session.undo()
    other.session.set_overwrite(True)
    other.filing.load(tmp_path / "cells.tif")
    assert [other.objects[n].area for n in (1, 3)] == [36 - 16, 36]
    other.session.set_overwrite(False)
    other.filing.load(tmp_path / "cells.tif")
    assert "Loaded 0 objects" in other.session.message
    assert "2 lie wholly" in other.session.message


def test_a_wrong_file_changes_nothing(tmp_path, office):
    tifffile.imwrite(tmp_path / "large.tif", np.ones((41, 50), np.uint8))
    steps, labels = len(office.session.document.history), office.labels.data.copy()
    office.at_once = False
    office.filing.load(tmp_path / "large.tif")
    with pytest.raises(NapariSamError, match="41 x 50"):
        office.requests.pop()()
    assert len(office.session.document.history) == steps
    np.testing.assert_array_equal(office.labels.data, labels)
    office.filing.save(tmp_path / "cells.what")
    assert "Not saved: 'cells.what' has no ending" in office.session.message


def test_without_objects_nothing_is_saved(tmp_path):
    office = Office()
    office.filing.save(tmp_path / "cells.tif")
    assert "no objects yet" in office.session.message


def test_labels_that_changed_while_a_file_was_read_are_read_again(tmp_path, office):
    office.filing.save(tmp_path / "cells.tif")
    other = Office(at_once=False)
    other.filing.load(tmp_path / "cells.tif")
    other.draw(2, 2)
    other.requests.pop()()  # finds other labels, and asks once more
    assert len(other.objects) == 1
    other.requests.pop()()
    assert [one.area for _, one in sorted(other.objects.items())] == [36, 36]
    assert other.labels.data[20, 20] == 2


def test_a_file_that_comes_late_is_not_loaded_into_another_output(tmp_path, office):
    office.filing.save(tmp_path / "cells.tif")
    other = Office(at_once=False)
    other.filing.load(tmp_path / "cells.tif")
    other.session.choose_output(None)
    other.requests.pop()()
    assert not other.objects
    assert "Not loaded" in other.session.message


def test_large_labels_are_read_by_the_worker_at_one_moment(tmp_path, office, monkeypatch):
    monkeypatch.setattr(_filing, "COPIED_AT_ONCE", 0)
    office.at_once = False
    document, reads = office.session.document, []

    class Restless(ArrayLabels):
        def read(self, region):
            values = super().read(region)
            if not reads:
                document.version += 1  # somebody draws meanwhile
            reads.append(1)
            return values

    document.labels = Restless(office.labels.data)
    office.filing.save(tmp_path / "cells.tif")
    office.requests.pop()()
    assert len(reads) == 2
    assert read(tmp_path / "cells.tif", SHAPE).numbers == [1, 2]
    monkeypatch.setattr(_filing, "TRIES", 0)
    office.filing.save(tmp_path / "cells.tif")
    with pytest.raises(NapariSamError, match="change all the time"):
        office.requests.pop()()


def test_saves_wait_for_each_other_and_none_is_dropped(tmp_path, office):
    office.at_once = False
    for name in ("a.tif", "b.tif", "c.tif"):
        office.filing.save(tmp_path / name)
    for _ in range(3):
        assert len(office.requests) == 1
        office.requests.pop()()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.tif", "b.tif", "c.tif"]
    office.filing.save(tmp_path / "d.tif")
    office.filing.save(tmp_path / "e.tif")
    office.filing.save_ended()  # the disk did not take the first
    assert len(office.requests) == 2


def test_names_are_suggested_beside_the_image(tmp_path, office):
    office.session.set_source(Source("cells", str(tmp_path / "cells.ome.tif"), SHAPE))
    assert office.filing.suggest(".tif") == tmp_path / "cells_labels.tif"
    office.session.set_source(Source("sample", ""))
    assert office.filing.suggest(".png").name == "sample_labels.png"


@pytest.mark.parametrize(
    ("name", "kind", "meant"),
    [
        ("a", "COCO (*.coco.json)", "a.coco.json"),
        ("a.v2", "TIFF labels (*.tif)", "a.v2.tif"),
        ("a.geojson", "TIFF labels (*.tif)", "a.geojson"),
        ("a.xyz", "All files (*)", "a.xyz"),
    ],
)
def test_a_name_gets_the_ending_of_the_chosen_kind(tmp_path, name, kind, meant):
    assert with_ending(tmp_path / name, kind).name == meant


def test_a_record_with_covered_pixels_is_compared_by_value():
    mask = np.ones((2, 2), bool)
    one, other = (
        ObjectRecord(1, 4, ((0, 2), (0, 2)), (0, 1), covered=Covered.of(mask, (5, 5)))
        for _ in range(2)
    )
    assert one == other


# --- in napari ------------------------------------------------------------------------------------


@pytest.fixture
def dock(qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    viewer = ViewerModel()
    viewer.add_image(np.zeros(SHAPE, np.uint8), name="image", scale=(0.5, 0.25))
    made = SegmentAnything(viewer, load=lambda choice: FakePredictor())
    made.viewer = viewer
    qtbot.addWidget(made)
    qtbot.waitUntil(lambda: "prompts: points" in viewer.layers)
    made.session.has_output()
    square = Drawing((3, 4), np.ones((6, 6), np.uint8))
    made.session.do(lambda document: document.commit(square, [Made(score=0.5)], kind="cell"))
    yield made
    made.shut()
    qtbot.waitUntil(lambda: not any(job.running for job in made._jobs), timeout=60000)
    gc.collect()


def test_the_dock_saves_and_loads(dock, qtbot, tmp_path, monkeypatch):
    path = tmp_path / "cells.geojson"
    dialogs = iter([(str(tmp_path / "cells"), "GeoJSON (QuPath) (*.geojson)"), (str(path), "")])
    for name in ("getSaveFileName", "getOpenFileName"):
        monkeypatch.setattr(
            f"napari_sam._panels.files.QFileDialog.{name}", lambda *_, **__: next(dialogs)
        )
    dock.files_panel.save.click()
    qtbot.waitUntil(lambda: dock.session.message.startswith("Saved"), timeout=60000)
    assert path.is_file()
    dock.session.choose_output(None)
    dock.files_panel.menu.actions()[0].trigger()
    qtbot.waitUntil(lambda: dock.session.message.startswith("Loaded"), timeout=60000)
    assert facts(dock.session.document.objects) == {1: ("cell", 0.5, False, 36)}


def test_a_file_that_is_none_is_told_in_the_dock(dock, qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_sam._widget.show_error", lambda message: None)
    (tmp_path / "wrong.geojson").write_text("no")
    dock.filing.load(tmp_path / "wrong.geojson")
    qtbot.waitUntil(lambda: "cannot be read" in dock.session.message, timeout=60000)
    assert len(dock.session.document.objects) == 1


@pytest.mark.parametrize("ending", [".tif", ".geojson"])
def test_naparis_own_dialog_saves_classes_and_scores(dock, tmp_path, ending):
    layer = dock.viewer.layers["image labels"]
    data, meta, _ = layer.as_layer_data_tuple()
    path = tmp_path / f"cells{ending}"
    assert write_labels(str(path), data, meta) == [str(path)]
    assert read(path, SHAPE).facts[1].kind == "cell"
    assert object_set_of(data).scale == (0.5, 0.25)


def test_a_layer_of_which_nothing_is_known_is_saved_as_it_is(tmp_path):
    layer = ViewerModel().add_labels(np.eye(6, 7, dtype=np.uint8), name="mine", scale=(2, 2))
    data, meta, _ = layer.as_layer_data_tuple()
    write_labels(str(tmp_path / "mine.zarr"), data, meta)
    found = read(tmp_path / "mine.zarr", (6, 7))
    np.testing.assert_array_equal(found.labels, np.eye(6, 7))


def test_the_manifest_offers_the_writer():
    manager = PluginManager()
    manager.register(str(Path(napari_sam.__file__).with_name("napari.yaml")))
    for ending in (".tif", ".zarr", ".coco.json", ".geojson", ".zip", ".png"):
        writer, _ = manager.get_writer(f"cells{ending}", ["labels"])
        assert writer.command == "napari-sam.write_labels"
    assert manager.get_writer("cells.tif", ["image"])[0] is None
