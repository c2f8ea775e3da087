"""Objects, labels and their history without a window: values in, values out."""

import numpy as np
import pytest

from napari_sam._annotated import Filter, ObjectRecord
from napari_sam._document import Document, Made
from napari_sam._label_edit import ArrayLabels, difference, edit_from_json, edit_to_json
from napari_sam._operations import Drawing
from napari_sam._place import PointPrompt, PromptSet
from napari_sam._survey import survey
from napari_sam.errors import EditError

SHAPE = (40, 50)


def drawing(y, x, size=(6, 8)):
    return Drawing((y, x), np.ones(size, np.uint32))


def put(document, y, x, size=(6, 8), **options):
    made = Made(0.9, 1, PromptSet((PointPrompt((float(y), float(x))),)), "tiny")
    return document.commit(drawing(y, x, size), [made], **options)


@pytest.fixture
def document():
    return Document(ArrayLabels(np.zeros(SHAPE, np.uint16)))


def state(document):
    return (document.labels.data.copy(), dict(document.objects), document.draft)


def same(one, other):
    return np.array_equal(one[0], other[0]) and one[1:] == other[1:]


def check(document):
    """The table says what the labels have."""
    found = survey(document.labels, (0, 1))
    assert set(found) == set(document.objects)
    for number, record in document.objects.items():
        assert (record.area, record.region) == (found[number].area, found[number].region)


# --- edits ------------------------------------------------------------------------------------


def test_an_edit_leads_there_and_back():
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 4, (2, 5, 20, 30)).astype(np.uint32)
    edit = difference(before, after)
    labels = ArrayLabels(before.copy())
    edit.apply(labels)
    assert np.array_equal(labels.data, after)
    edit_from_json(edit_to_json(edit)).inverse().apply(labels)
    assert np.array_equal(labels.data, before)
    assert sum(one.count for one in edit.changes) == (before != after).sum()


def test_large_and_negative_labels_are_told_apart():
    before = np.array([[-5, 1 << 40, 3], [0, 0, 3]])
    after = np.array([[7, 2, 3], [1 << 40, 0, -5]])
    labels = ArrayLabels(before.copy())
    edit = difference(before, after)
    edit.apply(labels)
    assert np.array_equal(labels.data, after)
    edit.inverse().apply(labels)
    assert np.array_equal(labels.data, before)


def test_no_difference_is_no_edit():
    same = np.ones((4, 5), int)
    assert not difference(same, same)


def test_an_edit_is_as_small_as_what_it_touches():
    before = np.zeros((2000, 2000), np.uint32)
    after = before.copy()
    after[10:60, 20:70] = 7
    after[900:950, 900:950] = 8
    edit = difference(before, after)
    assert edit.nbytes < 2 * 50 * 50 / 8
    assert [one.region for one in edit.changes] == [
        (slice(10, 60), slice(20, 70)),
        (slice(900, 950), slice(900, 950)),
    ]


def test_undoing_leaves_what_was_drawn_over_it_since():
    before = np.zeros((10, 10), np.uint32)
    after = before.copy()
    after[2:5, 2:5] = 3
    labels = ArrayLabels(after.copy())
    labels.data[3, 3] = 9
    difference(before, after).inverse().apply(labels)
    assert labels.data[3, 3] == 9
    assert np.count_nonzero(labels.data) == 1


# --- commit modes -----------------------------------------------------------------------------


def test_new_objects_do_not_overwrite(document):
    assert put(document, 5, 5) == [1]
    assert put(document, 8, 8) == [2]
    assert (document.labels.data == 1).sum() == 48
    assert document.objects[2].area == 48 - 3 * 5
    check(document)


def test_overwrite_takes_pixels_and_objects_that_lose_all_are_gone(document):
    put(document, 5, 5)
    put(document, 6, 6, (2, 2), overwrite=True)
    assert document.objects[1].area == 44
    put(document, 0, 0, (20, 20), overwrite=True)
    assert set(document.objects) == {3}
    check(document)
    document.undo()
    assert set(document.objects) == {1, 2}
    check(document)


def test_locked_labels_stay_whatever_is_said(document):
    put(document, 5, 5)
    document.labels.locked = True
    put(document, 5, 5, overwrite=True)
    assert set(document.objects) == {1}


def test_add_to_subtract_from_and_replace(document):
    put(document, 5, 5)
    put(document, 20, 20)
    put(document, 5, 13, mode="add", target=1)
    assert document.objects[1].area == 96
    assert document.objects[1].region == ((5, 11), (5, 21))
    put(document, 5, 5, (6, 4), mode="subtract", target=1)
    assert document.objects[1].area == 72
    assert document.objects[1].region == ((5, 11), (9, 21))
    put(document, 22, 22, (10, 10), mode="replace", target=1)  # 2 keeps its pixels
    assert document.objects[1].area == 100 - 4 * 6
    assert document.objects[2].area == 48
    assert document.objects[1].score == 0.9
    check(document)


def test_subtracting_all_is_refused(document):
    put(document, 5, 5)
    before = state(document)
    with pytest.raises(EditError, match="delete it"):
        put(document, 0, 0, (30, 30), mode="subtract", target=1)
    assert same(before, state(document))
    assert len(document.history) == 1


def test_a_target_is_needed(document):
    put(document, 5, 5)
    with pytest.raises(EditError, match="Select"):
        put(document, 5, 5, mode="add")
    with pytest.raises(EditError, match="no object 7"):
        put(document, 5, 5, mode="add", target=7)


def test_no_room_for_another_label_is_said():
    document = Document(ArrayLabels(np.full(SHAPE, 255, np.uint8)))
    with pytest.raises(EditError, match="no room"):
        put(document, 5, 5, overwrite=True)


def test_several_masks_are_several_objects_with_their_facts(document):
    canvas = np.zeros((10, 10), np.uint32)
    canvas[:4], canvas[6:] = 1, 3
    made = [Made(score) for score in (0.5, 0.6, 0.7)]
    numbers = document.commit(Drawing((0, 0), canvas), made)
    assert numbers == [1, 2]
    assert [document.objects[n].score for n in numbers] == [0.5, 0.7]


# --- objects ----------------------------------------------------------------------------------


def test_delete_and_undo(document):
    put(document, 5, 5)
    put(document, 20, 20)
    before = state(document)
    document.delete([1, 2])
    assert not document.labels.data.any()
    assert not document.objects
    document.undo()
    assert same(before, state(document))


def test_merge(document):
    put(document, 5, 5)
    put(document, 20, 20)
    put(document, 30, 30)
    assert document.merge([2, 1]) == 2
    assert document.objects[2].area == 96
    assert document.objects[2].prompts == PromptSet()
    assert set(document.objects) == {2, 3}
    check(document)
    with pytest.raises(EditError, match="two or more"):
        document.merge([3, 3])


def test_split_by_points(document):
    put(document, 5, 5, (9, 9))
    put(document, 5, 13, (9, 9), mode="add", target=1)
    put(document, 25, 5)
    document.describe([1], kind="cell")
    assert document.split([(9.0, 9.0), (9.0, 17.0)]) == [1, 3]
    assert document.objects[1].area + document.objects[3].area == 9 * 17
    assert document.labels.data[9, 9] == 1
    assert document.labels.data[9, 17] == 3
    assert document.objects[3].kind == "cell"
    check(document)
    document.undo()
    assert document.objects[1].area == 9 * 17
    check(document)


@pytest.mark.parametrize("points", [[(0.0, 0.0)], [(6.0, 6.0)], [(6.0, 6.0), (6.2, 6.1)]])
def test_a_split_needs_two_points_on_one_object(document, points):
    put(document, 5, 5)
    with pytest.raises(EditError, match="two or more points"):
        document.split(points)


def test_a_split_without_room_for_its_labels_is_said():
    data = np.zeros(SHAPE, np.uint8)
    data[5:14, 5:22], data[30, 30] = 1, 255
    document = Document()
    document.attach(ArrayLabels(data))
    with pytest.raises(EditError, match="no room"):
        document.split([(9.0, 9.0), (9.0, 17.0)])
    assert not len(document.history)


def test_an_object_that_somebody_else_has_erased_goes_from_the_table(document):
    put(document, 5, 5)
    put(document, 20, 20)
    document.labels.data[5:11] = 0  # another plugin, which tells nobody
    before = document.labels.data.copy()
    document.labels.data[0, 0] = 1
    document.labels.data[20, 20] = 0
    document.stroke(difference(before, document.labels.data))
    assert document.objects[2].area == 47
    document.labels.data[:] = 0
    document.delete([1, 2])
    assert not document.objects
    document.undo()
    assert set(document.objects) == {1, 2}


def test_a_stroke_over_what_somebody_else_has_erased_is_taken(document):
    put(document, 5, 5)
    document.labels.data[5:11] = 0
    document.labels.data[5, 5] = 1
    before = document.labels.data.copy()
    document.labels.data[5, 5] = 0
    document.stroke(difference(before, document.labels.data))
    assert not document.objects


def test_fill_holes_and_largest_island(document):
    canvas = np.ones((9, 9), np.uint32)
    canvas[4, 4] = 0
    document.commit(Drawing((5, 5), canvas), [Made()])
    put(document, 30, 30, (2, 2), mode="add", target=1)
    document.reshape([1], "fill holes")
    assert document.labels.data[9, 9] == 1
    document.reshape([1], "largest island")
    assert document.objects[1].region == ((5, 14), (5, 14))
    steps = len(document.history)
    document.reshape([1], "largest island")  # nothing to do is no step
    assert len(document.history) == steps
    check(document)


def test_a_hole_with_another_object_is_filled_around_it(document):
    canvas = np.ones((9, 9), np.uint32)
    canvas[3:6, 3:6] = 0
    document.commit(Drawing((5, 5), canvas), [Made()])
    put(document, 9, 9, (1, 1))
    document.reshape([1], "fill holes")
    assert document.objects[1].area == 80
    assert document.labels.data[9, 9] == 2


def test_grow_shrink_and_smooth(document):
    put(document, 10, 10, (7, 7))
    put(document, 10, 18, (7, 7))
    document.reshape([1], "grow", 2)
    assert document.objects[1].region == ((8, 19), (8, 18))
    assert document.objects[2].area == 49
    check(document)
    document.undo()
    document.reshape([1, 2], "shrink")
    assert [document.objects[n].area for n in (1, 2)] == [25, 25]
    document.undo()
    put(document, 13, 3, (1, 7), mode="add", target=1)
    document.reshape([1], "smooth", 2)
    assert document.labels.data[13, 4] == 0
    check(document)
    with pytest.raises(EditError, match="delete it"):
        document.reshape([2], "shrink", 9)


def test_at_the_border_of_the_image_an_object_shrinks_inside_only(document):
    put(document, 0, 0, (6, 6))
    document.reshape([1], "shrink")
    assert document.objects[1].region == ((0, 5), (0, 5))


def test_in_a_stack_shapes_change_in_their_plane():
    document = Document(ArrayLabels(np.zeros((5, 40, 50), np.uint16)))
    document.commit(Drawing((2, 10, 10), np.ones((1, 5, 5), int)), [Made()], axes=(1, 2))
    document.reshape([1], "grow")
    assert document.objects[1].region == ((2, 3), (9, 16), (9, 16))
    assert not document.objects[1].touches_border((5, 40, 50))


def test_renumber(document):
    put(document, 5, 5)
    put(document, 20, 20)
    document.describe([1], kind="cell", reviewed=True)
    document.renumber(1, 9)
    assert set(document.objects) == {2, 9}
    assert (document.objects[9].kind, document.objects[9].reviewed) == ("cell", True)
    with pytest.raises(EditError, match="already"):
        document.renumber(9, 2)
    with pytest.raises(EditError, match="from 1"):
        document.renumber(9, 0)
    check(document)


def test_a_stroke_is_recorded(document):
    put(document, 5, 5)
    labels = document.labels.data
    before = labels.copy()
    labels[5:8, 5:8], labels[0, 0:3] = 0, 4
    document.stroke(difference(before, labels))
    assert document.objects[1].area == 39
    assert document.objects[4].area == 3
    check(document)
    document.undo()
    assert np.array_equal(labels, before)
    document.redo()
    assert document.objects[1].area == 39


# --- the draft, open, undo --------------------------------------------------------------------


def test_everything_is_undone_in_the_order_in_which_it_happened(document):
    one = PromptSet((PointPrompt((7.0, 7.0)),))
    states = [state(document)]
    steps = [
        lambda: document.set_prompts(one),
        lambda: put(document, 5, 5),
        lambda: put(document, 20, 20),
        lambda: document.describe([2], reviewed=True),
        lambda: document.open(1),
        lambda: document.set_prompts(PromptSet()),
        lambda: document.clear(),
        lambda: document.delete([1]),
    ]
    for step in steps:
        step()
        states.append(state(document))
    for wanted in states[-2::-1]:
        assert document.undo() is not None
        assert same(state(document), wanted)
    assert document.undo() is None
    for wanted in states[1:]:
        assert document.redo() is not None
        assert same(state(document), wanted)
    assert document.redo() is None


def test_a_new_step_forgets_what_was_undone(document):
    put(document, 5, 5)
    document.undo()
    put(document, 20, 20)
    assert document.redo() is None


def test_an_opened_object_is_replaced(document):
    put(document, 5, 5)
    document.open(1)
    assert document.prompts == PromptSet((PointPrompt((5.0, 5.0)),))
    assert put(document, 20, 20) == [1]
    assert document.draft.opened is None
    assert document.objects[1].region == ((20, 26), (20, 28))
    check(document)


def test_an_opened_object_that_goes_is_not_open_any_more(document):
    put(document, 5, 5)
    document.open(1)
    document.delete([1])
    assert document.draft.opened is None
    assert document.prompts
    document.undo()
    assert document.draft.opened == 1


def test_what_was_drawn_by_hand_has_no_prompts_to_open(document):
    before = document.labels.data.copy()
    document.labels.data[3, 3] = 5
    document.stroke(difference(before, document.labels.data))
    with pytest.raises(EditError, match="by hand"):
        document.open(5)


def test_the_history_is_bounded():
    document = Document(ArrayLabels(np.zeros(SHAPE, np.uint16)), kept=3)
    for x in range(5):
        put(document, 5, 9 * x)
    for _ in range(3):
        assert document.undo()
    assert document.undo() is None
    assert set(document.objects) == {1, 2}


def test_labels_that_are_there_are_listed():
    data = np.zeros((3, 10, 10), np.uint16)
    data[0:2, 2:4, 2:4] = 7
    data[2, 9, 9] = 3
    document = Document()
    document.attach(ArrayLabels(data))
    assert document.objects[7] == ObjectRecord(7, 8, ((0, 2), (2, 4), (2, 4)), (1, 2))
    assert document.objects[3].area == 1
    assert document.next_number == 8


@pytest.mark.parametrize(("low", "high"), [(5, 900), (1 << 23, 1 << 30)])
def test_the_survey_counts_small_and_large_numbers_alike(low, high):
    rng = np.random.default_rng(0)
    data = rng.choice(np.array([0, low, high], np.uint32), (4, 20, 30))
    found = survey(ArrayLabels(data), (1, 2))
    for number in (low, high):
        places = np.argwhere(data == number)
        record = found[number]
        assert record.area == len(places)
        assert record.region == tuple(zip(places.min(0), places.max(0) + 1, strict=True))
    assert set(found) == {low, high}


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ("all", [1, 2, 3]),
        ("unreviewed", [2, 3]),
        ("small", [3]),
        ("low score", [2]),
        ("at the border", [2]),
    ],
)
def test_filters(document, wanted, numbers):
    put(document, 5, 5)
    document.describe([1], reviewed=True)
    document.commit(drawing(34, 20), [Made(0.2)])
    before = document.labels.data.copy()
    document.labels.data[3, 3] = 3
    document.stroke(difference(before, document.labels.data))
    chosen = Filter(wanted, least_area=10).pick(document.objects.values(), SHAPE)
    assert [record.number for record in chosen] == numbers


def test_an_unknown_filter_is_refused():
    with pytest.raises(ValueError, match="unreviewed"):
        Filter("nice")
