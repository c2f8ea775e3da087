"""A folder of images: back and forward, and what was done to each comes back."""

import gc

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel

from napari_sam._document import Made
from napari_sam._formats.files import read
from napari_sam._operations import Drawing
from napari_sam._series import images_in
from napari_sam._widget import SegmentAnything
from napari_sam.testing import FakePredictor

SHAPE = (40, 50)
LONG_MS = 60000


@pytest.fixture
def folder(tmp_path):
    for number in (1, 2, 10):
        image = np.random.default_rng(number).integers(0, 255, SHAPE).astype(np.uint8)
        tifffile.imwrite(tmp_path / f"cells{number}.tif", image)
    tifffile.imwrite(tmp_path / "cells1_labels.tif", np.zeros(SHAPE, np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "cells1.tif.napari-sam").mkdir()
    return tmp_path


@pytest.fixture
def dock(qtbot, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
    viewer = ViewerModel()
    made = SegmentAnything(viewer, load=lambda choice: FakePredictor())
    made.viewer = viewer
    qtbot.addWidget(made)
    yield made
    made.shut()
    qtbot.waitUntil(lambda: not any(job.running for job in made._jobs), timeout=LONG_MS)
    gc.collect()


def draw(dock, y, x):
    dock.session.has_output()
    square = Drawing((y, x), np.ones((6, 6), np.uint8))
    assert dock.session.do(lambda document: document.commit(square, [Made()], kind="cell"))


def ready(dock, qtbot):
    qtbot.waitUntil(
        lambda: dock.session.plane is not None
        and "prompts: points" in dock.viewer.layers
        and not any(job.running for job in dock._jobs),
        timeout=LONG_MS,
    )  # fmt: skip


def test_images_are_found_in_the_order_in_which_people_count(folder):
    assert [one.name for one in images_in(folder)] == ["cells1.tif", "cells2.tif", "cells10.tif"]
    assert images_in(folder / "nowhere") == ()


def test_back_and_forward_keep_the_work_of_each(dock, qtbot, folder):
    series = dock.series
    series.open_folder(folder)
    ready(dock, qtbot)
    assert dock.series_panel.said.text() == "1 of 3: cells1.tif"
    draw(dock, 2, 2)
    draw(dock, 20, 20)
    dock.series_panel.next.click()
    ready(dock, qtbot)
    assert series.here.name == "cells2.tif"
    assert not dock.session.document.objects
    names = [layer.name for layer in dock.viewer.layers]
    assert "cells2" in names
    assert not any(name.startswith("cells1") for name in names)
    draw(dock, 10, 10)
    dock.series_panel.back.click()
    qtbot.waitUntil(lambda: len(dock.session.document.objects) == 2, timeout=LONG_MS)
    assert [one.kind for one in dock.session.document.objects.values()] == ["cell", "cell"]
    dock.session.undo()
    assert len(dock.session.document.objects) == 1
    ready(dock, qtbot)
    dock.series_panel.files.activated.emit(1)
    qtbot.waitUntil(lambda: len(dock.session.document.objects) == 1, timeout=LONG_MS)
    assert dock.session.document.labels.read((slice(10, 11), slice(10, 11))).item() == 1
    assert list(folder.glob("cells1.tif.napari-sam/*.jsonl"))
    assert not list(folder.glob("cells10.tif.napari-sam/*.jsonl"))


def test_earlier_work_is_offered_or_comes_at_once(dock, qtbot, folder):
    dock.series.open_folder(folder)
    ready(dock, qtbot)
    draw(dock, 2, 2)
    dock.series.open_folder(folder)  # as on another day: nothing was visited
    ready(dock, qtbot)
    assert dock.keeper.offer is not None
    assert not dock.session.document.objects
    dock.series.restore = True
    dock.series.step()
    ready(dock, qtbot)
    dock.series._visited.clear()
    dock.series.step(-1)
    qtbot.waitUntil(lambda: len(dock.session.document.objects) == 1, timeout=LONG_MS)


def test_labels_are_saved_when_the_next_image_is_opened(dock, qtbot, folder):
    dock.series_panel.save.activated.emit(1)
    dock.series.open_folder(folder)
    for _ in range(2):  # quickly: each is saved, none is dropped for the next
        ready(dock, qtbot)
        draw(dock, 2, 2)
        dock.series.step()
    qtbot.waitUntil(lambda: (folder / "cells2_labels.tif").is_file(), timeout=LONG_MS)
    for name in ("cells1", "cells2"):
        assert read(folder / f"{name}_labels.tif", SHAPE).facts[1].kind == "cell"


def test_the_ends_of_a_series_and_images_that_are_none_are_told(dock, qtbot, folder, tmp_path):
    dock.series.step()
    assert "Open a folder" in dock.session.message
    (folder / "cells3.npy").write_bytes(b"no")
    dock.series.open_folder(folder)
    ready(dock, qtbot)
    dock.series.step(-1)
    assert "first image" in dock.session.message
    draw(dock, 2, 2)
    dock.series.step(2)
    assert "cells3.npy cannot be opened" in dock.session.message
    assert len(dock.session.document.objects) == 1  # nothing has changed
    dock.series.go(3)
    ready(dock, qtbot)
    dock.series.step()
    assert "last image" in dock.session.message
    (tmp_path / "empty").mkdir()
    dock.series.open_folder(tmp_path / "empty")
    assert "no image" in dock.session.message


def test_unwritten_work_is_not_left(dock, qtbot, folder):
    dock.series.open_folder(folder)
    ready(dock, qtbot)
    draw(dock, 2, 2)
    dock.keeper.journal.failed = True
    dock.series.step()
    assert dock.series.here.name == "cells1.tif"
    assert "save its objects first" in dock.session.message
