"""Classes: their names and colours, and the objects that have them."""

import gc
import json

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam._document import Document, Made
from napari_sam._journal import Journal
from napari_sam._journal_lines import read_journal, restore
from napari_sam._kinds import NO_KINDS, PALETTE, with_kind
from napari_sam._label_edit import ArrayLabels
from napari_sam._operations import Drawing
from napari_sam._replay import replay_with
from napari_sam._review import Review
from napari_sam._session import Session
from napari_sam._source import Source
from napari_sam._step_json import step_from_json, step_to_json
from napari_sam._widget import SegmentAnything
from napari_sam.errors import EditError
from napari_sam.testing import FakePredictor

SHAPE = (40, 50)


def run(job):
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value


def square(y, x, side=6):
    return Drawing((y, x), np.ones((side, side), np.uint8))


@pytest.fixture
def document():
    made = Document(ArrayLabels(np.zeros(SHAPE, np.uint32)))
    made.commit(square(0, 0), [Made()], kind="cell")
    made.commit(square(0, 20), [Made()], kind="dirt")
    made.commit(square(20, 0), [Made()])
    return made


def kinds_of(document):
    return [record.kind for _, record in sorted(document.objects.items())]


def test_a_new_class_gets_a_colour_of_its_own(document):
    assert kinds_of(document) == ["cell", "dirt", ""]
    assert document.kinds == {"cell": PALETTE[0], "dirt": PALETTE[1]}
    document.describe([3], kind="third")
    assert document.kinds["third"] == PALETTE[2]
    document.undo()
    assert "third" not in document.kinds
    assert kinds_of(document)[2] == ""


def test_a_class_is_renamed_and_removed_with_its_objects(document):
    document.rename_kind("cell", "nucleus")
    assert kinds_of(document) == ["nucleus", "dirt", ""]
    assert list(document.kinds) == ["nucleus", "dirt"]
    document.remove_kind("dirt")
    assert kinds_of(document) == ["nucleus", "", ""]
    document.undo()
    document.undo()
    assert kinds_of(document) == ["cell", "dirt", ""]
    assert list(document.kinds) == ["cell", "dirt"]
    document.redo()
    assert kinds_of(document) == ["nucleus", "dirt", ""]


def test_a_colour_is_chosen(document):
    document.set_kind("cell", "#AABBCC")
    assert document.kinds["cell"] == "#aabbcc"
    document.undo()
    assert document.kinds["cell"] == PALETTE[0]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda document: document.set_kind("cell", "red"),
        lambda document: document.rename_kind("cell", "dirt"),
        lambda document: document.rename_kind("cell", ""),
        lambda document: document.rename_kind("none", "some"),
        lambda document: document.remove_kind("none"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(document, wrong):
    steps = len(document.history)
    with pytest.raises(EditError):
        wrong(document)
    assert len(document.history) == steps
    assert list(document.kinds) == ["cell", "dirt"]


def test_objects_keep_their_class_when_they_are_changed(document):
    document.commit(square(0, 4), [Made()], mode="add", target=1, kind="dirt")
    document.commit(square(0, 2), [Made()], mode="replace", target=1, kind="dirt")
    assert document.objects[1].kind == "cell"
    document.merge([1, 2])
    assert document.objects[1].kind == "cell"


def test_no_name_is_no_class():
    assert with_kind(NO_KINDS, "") == {}


def test_classes_survive_in_the_journal(tmp_path):
    source = Source("image", shape=SHAPE)
    journal = Journal(source, tmp_path / "a.jsonl")
    document = Document(ArrayLabels(np.zeros(SHAPE, np.uint32)))
    document.recorder = journal
    document.commit(square(0, 0), [Made()], kind="cell")
    document.rename_kind("cell", "nucleus")
    document.set_kind("dirt", "#010203")
    document.undo()
    journal.close()
    again = restore(read_journal(journal.path), ArrayLabels(np.zeros(SHAPE, np.uint32)))
    assert again.kinds == document.kinds == {"nucleus": PALETTE[0]}
    assert kinds_of(again) == ["nucleus"]
    again.redo()
    assert again.kinds["dirt"] == "#010203"
    again.undo()
    again.undo()
    assert kinds_of(again) == ["cell"]


def test_another_model_gets_the_same_classes(tmp_path):
    journal = Journal(Source("image", shape=SHAPE), tmp_path / "a.jsonl")
    document = Document(ArrayLabels(np.zeros(SHAPE, np.uint32)))
    document.recorder = journal
    for do in (
        lambda: document.set_kind("cell"),
        lambda: document.rename_kind("cell", "nucleus"),
        lambda: document.set_kind("dirt"),
        lambda: document.remove_kind("dirt"),
    ):
        do()
    journal.close()
    job = replay_with(read_journal(journal.path), FakePredictor(), lambda plane: None)
    again, left_out = run(job)
    assert not left_out
    assert again.kinds == {"nucleus": PALETTE[0]}


def test_a_step_without_classes_says_nothing_of_them(document):
    document.delete([1])
    step = next(reversed(list(document.history)))
    value = json.loads(json.dumps(step_to_json(step)))
    assert "kinds" not in value
    assert step_from_json(value, document.draft, document.objects).kinds is None


# --- the tab -----------------------------------------------------------------------------------


@pytest.fixture
def review(document):
    session = Session(weights_needed=False)
    session.document = document
    return Review(session)


def test_the_table_of_classes(review):
    assert review.kind_rows == [("cell", PALETTE[0], 1), ("dirt", PALETTE[1], 1)]
    review.add_kind(" new ")
    assert review.session.kind == "new"
    review.rename_kind("new", "newer")
    assert review.session.kind == "newer"
    review.remove_kind("newer")
    assert review.session.kind == ""
    review.rename_kind("cell", "dirt")
    assert "name that no other has" in review.session.message
    review.select_kind("dirt")
    assert review.session.selection == (2,)


def test_the_class_of_new_objects_is_stepped(review):
    seen = []
    for _ in range(3):
        review.step_kind()
        seen.append(review.session.kind)
    assert seen == ["cell", "dirt", ""]
    review.step_kind(-1)
    assert review.session.kind == "dirt"


# --- in the dock -------------------------------------------------------------------------------


@pytest.fixture
def dock(qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    viewer = ViewerModel()
    viewer.add_image(np.zeros(SHAPE, np.uint8), name="image")
    made = SegmentAnything(viewer, load=lambda choice: FakePredictor())
    made.viewer = viewer
    qtbot.addWidget(made)
    qtbot.waitUntil(lambda: "prompts: points" in viewer.layers)
    yield made
    made.shut()
    qtbot.waitUntil(lambda: not any(job.running for job in made._jobs), timeout=60000)
    gc.collect()


def test_classes_are_made_used_renamed_and_shown(dock):
    session, panel = dock.session, dock.objects_panel.kinds
    session.has_output()
    panel.new.click()
    assert session.kind == "class 1" == dock.mask_panel.kind.currentText()
    session.do(lambda document: document.commit(square(3, 4), [Made()], kind=session.kind))
    session.do(lambda document: document.commit(square(20, 4), [Made()]))
    panel.table.item(0, 0).setText("nucleus")
    assert dock.session.document.objects[1].kind == session.kind == "nucleus"
    assert panel.table.item(0, 2).text() == "1"
    layer = dock.viewer.layers["image labels"]
    own = layer.colormap
    panel.colours.click()
    assert np.allclose(
        layer.get_color(1)[:3], [int(PALETTE[0][i : i + 2], 16) / 255 for i in (1, 3, 5)], atol=0.01
    )
    assert np.allclose(layer.get_color(2)[:3], 0.5, atol=0.01)
    panel.colours.click()
    assert layer.colormap == own
    panel.choose.click()
    assert session.selection == (1,)
    panel.remove.click()
    assert panel.table.rowCount() == 0
    assert session.kind == ""
    session.undo()
    assert panel.table.item(0, 0).text() == "nucleus"


def test_a_class_may_be_written_where_objects_are_made(dock, qtbot):
    dock.mask_panel.kind.setEditText("cell")
    dock.mask_panel.kind.lineEdit().editingFinished.emit()
    assert dock.session.kind == "cell"
    dock.viewer.layers["prompts: points"].add((20, 20))
    qtbot.waitUntil(lambda: bool(dock.session.preview), timeout=60000)
    dock.session.commit()
    assert dock.session.document.objects[1].kind == "cell"
    assert dict(dock.session.document.kinds) == {"cell": PALETTE[0]}
