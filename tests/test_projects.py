"""A folder for the journals of all images: chosen, written, restored from."""

import gc

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel

from napari_sam._document import Made
from napari_sam._operations import Drawing
from napari_sam._source import Source
from napari_sam._widget import SegmentAnything
from napari_sam.testing import FakePredictor

SHAPE = (40, 50)
LONG_MS = 60000


@pytest.fixture
def open_dock(qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    opened = []

    def make(path):
        viewer = ViewerModel()
        dock = SegmentAnything(viewer, load=lambda choice: FakePredictor())
        qtbot.addWidget(dock)
        viewer.open(path, plugin="napari")
        opened.append(dock)
        quiet(dock)
        return dock

    def quiet(dock):
        qtbot.waitUntil(
            lambda: dock.session.plane is not None and not any(job.running for job in dock._jobs),
            timeout=LONG_MS,
        )

    make.quiet = quiet
    yield make
    for dock in opened:
        dock.shut()
        quiet(dock)
    gc.collect()


@pytest.fixture
def path(tmp_path):
    image = np.random.default_rng(1).integers(0, 255, SHAPE).astype(np.uint8)
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "cells.tif", image)
    return tmp_path / "images" / "cells.tif"


def draw(dock):
    dock.session.has_output()
    square = Drawing((3, 4), np.ones((6, 6), np.uint8))
    assert dock.session.do(lambda document: document.commit(square, [Made()]))


def test_work_goes_to_the_chosen_folder_and_comes_back_from_there(open_dock, path, tmp_path):
    chosen = tmp_path / "projects"
    chosen.mkdir()
    dock = open_dock(path)
    assert "cells.tif.napari-sam" in dock.journal_panel.said.text()
    dock.session.set_projects(chosen)
    draw(dock)
    assert not path.with_name("cells.tif.napari-sam").exists()
    assert dock.keeper.journal.path.is_relative_to(chosen)
    assert dock.journal_panel.said.toolTip() == str(dock.keeper.journal.path.parent)
    dock.shut()
    moved = tmp_path / "cells.tif"
    path.rename(moved)  # a folder of journals outlives the place of the images
    later = open_dock(moved)
    assert later.keeper.offer is None
    later.session.set_projects(chosen)
    open_dock.quiet(later)
    later.keeper.request_restore()
    open_dock.quiet(later)
    assert list(later.session.document.objects) == [1]
    later.session.undo()
    assert not later.session.document.objects


def test_a_journal_that_is_begun_stays_where_it_is(open_dock, path, tmp_path):
    dock = open_dock(path)
    draw(dock)
    before = dock.keeper.journal.path
    dock.session.set_projects(tmp_path)
    assert "from the next image on" in dock.session.message
    draw_more = dock.keeper.journal
    assert draw_more.path == before
    assert dock.journal_panel.beside.isEnabled()
    dock.journal_panel.beside.click()
    assert dock.session.projects is None


def test_a_folder_that_is_not_there_is_refused(open_dock, path, tmp_path):
    dock = open_dock(path)
    dock.session.set_projects(tmp_path / "none")
    assert "no folder" in dock.session.message
    assert dock.session.projects is None
    draw(dock)
    assert dock.keeper.journal.path.parent.name == "cells.tif.napari-sam"


def test_images_of_one_name_have_folders_of_their_own(tmp_path):
    one, other = (
        Source("cells", f"/{place}/cells.tif", SHAPE, "uint8", print_)
        for place, print_ in (("a", "abc"), ("b", "def"))
    )
    lazy, elsewhere = (Source("cells", f"/{place}/cells.tif", SHAPE, "uint8") for place in "ab")
    folders = {source.folders(tmp_path)[0] for source in (one, other, lazy, elsewhere)}
    assert len(folders) == 4
    assert all(folder.parent == tmp_path for folder in folders)
    moved = Source("cells", "/c/cells.tif", SHAPE, "uint8", "abc")
    assert moved.folders(tmp_path)[0] == one.folders(tmp_path)[0]
