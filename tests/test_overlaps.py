"""Overlaps that are kept: who does not get a pixel remembers it, and gets it back."""

from dataclasses import replace

import numpy as np
import pytest

from napari_sam._document import Document, Made
from napari_sam._drawing import drawing_of
from napari_sam._filing import Filing, load
from napari_sam._formats.files import read, write
from napari_sam._formats.object_set import ObjectSet
from napari_sam._journal import Journal
from napari_sam._journal_lines import read_journal, restore
from napari_sam._label_edit import ArrayLabels
from napari_sam._operations import Drawing
from napari_sam._predict import MaskPatch, Plane
from napari_sam._session import Session
from napari_sam._source import Source
from napari_sam.progress import finish

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPE = (30, 40)


def square(y, x, side=10):
    return Drawing((y, x), np.ones((side, side), np.uint8))


def mask_of(drawing):
    whole = np.zeros(SHAPE, bool)
    whole[drawing.region] = drawing.canvas != 0
    return whole


def full(document, number):
    """All pixels of an object, those beneath others, too."""
    labels = document.labels.data
    covered = document.objects[number].covered
    whole = labels == number
    if covered is not None:
        whole[covered.region] |= covered.mask & (labels[covered.region] != 0)
    return whole


@pytest.fixture
def document():
    return Document(ArrayLabels(np.zeros(SHAPE, np.uint32)))


FIRST, SECOND = square(2, 2), square(6, 6)  # 6 x 6 pixels in common


@pytest.mark.parametrize("overwrite", [False, True])
def test_both_are_whole_whoever_is_on_top(document, overwrite):
    document.commit(FIRST, [Made()], overlaps=True)
    document.commit(SECOND, [Made()], overlaps=True, overwrite=overwrite)
    assert (full(document, 1) == mask_of(FIRST)).all()
    assert (full(document, 2) == mask_of(SECOND)).all()
    assert document.objects[2 - overwrite].covered.mask.sum() == 36
    assert document.objects[1 + overwrite].covered is None
    top = 1 + overwrite
    document.delete([top])
    assert (document.labels.data == 3 - top).sum() == 100
    assert document.objects[3 - top].covered is None
    assert document.objects[3 - top].area == 100
    document.undo()
    assert document.objects[3 - top].covered.mask.sum() == 36
    assert (document.labels.data == top).sum() == 100


def test_without_it_nothing_is_remembered(document):
    document.commit(FIRST, [Made()])
    document.commit(SECOND, [Made()], overwrite=True)
    assert all(one.covered is None for one in document.objects.values())
    document.delete([2])
    assert (document.labels.data == 1).sum() == 64


def test_add_subtract_replace_and_merge(document):
    document.commit(FIRST, [Made()], overlaps=True)
    document.commit(square(20, 20), [Made()], overlaps=True)
    document.commit(SECOND, [Made()], mode="add", target=2, overlaps=True)
    assert document.objects[2].covered.mask.sum() == 36
    document.commit(square(6, 6, 3), [Made()], mode="subtract", target=2, overlaps=True)
    assert document.objects[2].covered.mask.sum() == 27
    document.commit(square(8, 8), [Made()], mode="replace", target=2, overlaps=True)
    assert (full(document, 2) == mask_of(square(8, 8))).all()
    document.merge([2, 1])
    assert (full(document, 2) == mask_of(square(8, 8)) | mask_of(FIRST)).all()
    document.renumber(2, 9)
    assert document.objects[9].covered is not None


def test_several_at_once_and_of_two_beneath_the_first_comes_to_light(document):
    document.commit(square(4, 4, 4), [Made()], overlaps=True)
    canvas = np.zeros((10, 20), np.uint8)
    canvas[:, :10], canvas[:, 10:] = 1, 2
    document.commit(Drawing((2, 2), canvas), [Made(), Made()], overlaps=True)
    document.commit(square(0, 0, 8), [Made()], overlaps=True)
    assert [n for n, one in document.objects.items() if one.covered] == [2, 4]
    document.delete([1])
    assert (document.labels.data[4:8, 4:8] == 2).all()
    assert document.objects[2].covered is None
    assert document.objects[4].covered is not None


def test_overlaps_survive_in_the_journal_and_in_files(document, tmp_path):
    document.recorder = journal = Journal(Source("image", shape=SHAPE), tmp_path / "a.jsonl")
    document.commit(FIRST, [Made()], overlaps=True)
    document.commit(SECOND, [Made()], overlaps=True)
    journal.close()
    again = restore(read_journal(journal.path), ArrayLabels(np.zeros(SHAPE, np.uint32)))
    assert again.objects == document.objects
    session = Session(weights_needed=False)
    empty = Filing(session).object_set(again, again.labels)
    objects = ObjectSet(again.labels.data, empty.facts, empty.covered)
    write(tmp_path / "a.geojson", objects)
    areas = {one.number: one.mask.sum() for one in read(tmp_path / "a.geojson", SHAPE).outlines()}
    assert areas == {1: 100, 2: 100}


# --- wholly beneath others --------------------------------------------------------------------

INSIDE = square(4, 4, side=3)  # in FIRST


@pytest.mark.parametrize("overwrite", [False, True], ids=["kept last", "painted over"])
def test_an_object_that_nobody_sees_is_not_lost(document, overwrite):
    order = (INSIDE, FIRST) if overwrite else (FIRST, INSIDE)
    for number, drawing in enumerate(order, start=1):
        made = Made(score=number / 10)
        assert document.commit(drawing, [made], kind="cell", overlaps=True, overwrite=overwrite)
    inner, outer = (1, 2) if overwrite else (2, 1)
    hidden = document.objects[inner]
    assert (hidden.area, hidden.region, hidden.kind) == (0, ((4, 7), (4, 7)), "cell")
    assert hidden.score == inner / 10
    assert (full(document, inner) == mask_of(INSIDE)).all()
    document.delete([outer])
    assert (document.labels.data == inner).sum() == document.objects[inner].area == 9
    document.undo()
    assert document.objects[inner] == hidden
    document.delete([inner])
    assert list(document.objects) == [outer]
    document.undo()
    document.undo()
    document.redo()
    assert document.objects[inner] == hidden


def test_without_it_what_nobody_would_see_is_not_kept(document):
    document.commit(FIRST, [Made()])
    assert document.commit(INSIDE, [Made()]) == []


def test_a_hidden_object_can_be_added_to_renumbered_and_merged(document):
    document.commit(FIRST, [Made()], overlaps=True)
    document.commit(INSIDE, [Made()], overlaps=True)
    document.renumber(2, 9)
    assert document.objects[9].area == 0
    document.commit(square(11, 11, side=3), [Made()], mode="add", target=9, overlaps=True)
    assert document.objects[9].area == 9 - 1
    assert document.objects[9].region == ((11, 14), (11, 14))
    document.merge([1, 9])
    assert list(document.objects) == [1]


def test_what_lies_beneath_several_comes_to_light_by_number_also_after_an_undo(document):
    for drawing in (FIRST, FIRST, FIRST):
        document.commit(drawing, [Made()], overlaps=True)
    document.delete([2])
    document.undo()
    document.delete([1])
    assert (document.labels.data == 2).sum() == 100


@pytest.mark.parametrize("ending", [".tif", ".ome.zarr", ".json", ".geojson"])
def test_a_file_has_hidden_objects_and_brings_them_back(document, tmp_path, ending):
    document.commit(FIRST, [Made()], overlaps=True, kind="cell")
    document.commit(INSIDE, [Made()], overlaps=True, kind="nucleus")
    session = Session(weights_needed=False)
    empty = ArrayLabels(np.zeros(SHAPE, np.uint32))
    session.output_requested.connect(lambda: session.adopt("labels", empty))
    filing = Filing(session)
    path = tmp_path / f"a{ending}"
    known = filing.object_set(document, document.labels)
    write(path, replace(known, labels=document.labels.data))
    filing.load_requested.connect(lambda request: filing.loaded(finish(load(request))))
    filing.load(path)
    assert "left out" not in session.message
    back = session.document
    assert [(one.kind, one.area) for _, one in sorted(back.objects.items())] == [
        ("cell", 100), ("nucleus", 0)
    ]  # fmt: skip
    assert (full(back, 2) == mask_of(INSIDE)).all()


def test_the_outline_of_a_selected_object_is_all_of_it(document):
    document.commit(FIRST, [Made()], overlaps=True)
    document.commit(INSIDE, [Made()], overlaps=True)
    session = Session(weights_needed=False)
    session.set_plane(Plane("a", np.zeros(SHAPE, np.uint8), (0, 1), (0, 0)))
    session.load(document)
    session.select([2])
    (patch,) = session.outlines
    assert patch.offset == (4, 4)
    assert patch.mask.all() and patch.mask.shape == (3, 3)


@pytest.mark.parametrize("overwrite", [False, True])
def test_objects_of_one_go_are_whole_too(document, overwrite):
    plane = Plane("a", np.zeros(SHAPE, np.uint8), (0, 1), (0, 0))
    patches = [
        MaskPatch(drawing.offset, drawing.canvas != 0, score)
        for drawing, score in ((FIRST, 0.6), (SECOND, 0.9), (INSIDE, 0.5))
    ]
    document.commit(drawing_of(plane, patches), [Made()] * 3, overlaps=True, overwrite=overwrite)
    for number, drawing in enumerate((FIRST, SECOND, INSIDE), start=1):
        assert (full(document, number) == mask_of(drawing)).all()
    assert document.objects[2].covered is None  # the surest is on top
    assert document.objects[3].area == 0
    document.undo()
    document.commit(drawing_of(plane, patches), [Made()] * 3, overwrite=overwrite)
    assert sorted(document.objects) == [1, 2]
    assert all(one.covered is None for one in document.objects.values())
