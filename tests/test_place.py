"""Which prompts speak about a plane, and what objects they are of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sam._place import (
    BoxPrompt,
    MaskPrompt,
    OutlinePrompt,
    PointPrompt,
    PromptSet,
    StrokePrompt,
    place,
)
from napari_sam._predict import Plane
from napari_sam._prompt_set import prompts_from_json, prompts_to_json
from napari_sam.core.frame import Frame
from napari_sam.core.strokes import MOST_POINTS

SIZE = (40, 60)
FRAME = Frame(SIZE, SIZE, SIZE, 1)
TRIANGLE = OutlinePrompt(((5.0, 5.0), (5.0, 35.0), (30.0, 20.0)))


def plane(axes=(0, 1), index=(-1, -1), shape=SIZE):
    return Plane(("a",), np.zeros(shape, np.uint8), axes, index)


def stroke(*places, positive=True):
    return StrokePrompt(tuple((float(y), float(x)) for y, x in places), positive)


def test_a_scribble_is_points_on_it():
    prompts = place(PromptSet(strokes=(stroke((10, 5), (10, 50)),)), plane()).prompts
    (points,), (labels,) = prompts.points, prompts.point_labels
    assert len(points) == MOST_POINTS
    assert (points[:, 0] == 10).all()
    assert (points.min(0)[1], points.max(0)[1]) == (5, 50)
    assert labels.tolist() == [1] * MOST_POINTS


def test_both_signs_and_a_point_are_one_object():
    asked = PromptSet(
        (PointPrompt((20.0, 20.0)),),
        strokes=(stroke((10, 5), (10, 50)), stroke((30, 5), (30, 50), positive=False)),
    )
    prompts = place(asked, plane()).prompts
    assert prompts.n_objects == 1
    rows = {(float(y), int(sign)) for (y, _), sign in
            zip(prompts.points[0], prompts.point_labels[0], strict=True)}  # fmt: skip
    assert rows == {(20.0, 1), (10.0, 1), (30.0, 0)}


def test_only_negative_scribbles_ask_for_more():
    placed = place(PromptSet(strokes=(stroke((3, 3), (9, 9), positive=False),)), plane())
    assert placed.prompts is None
    assert "on the object" in placed.note


def test_what_of_a_scribble_lies_outside_is_left_out():
    placed = place(PromptSet(strokes=(stroke((10, 50), (10, 90)),)), plane())
    assert placed.prompts.points[0, :, 1].max() <= 59.5
    outside = place(PromptSet(strokes=(stroke((10, 70), (10, 90)),)), plane())
    assert outside.prompts is None
    assert "outside" in outside.note


def test_each_scribble_an_object():
    asked = PromptSet(
        (PointPrompt((20.0, 20.0)), PointPrompt((1.0, 1.0), False)),
        strokes=(stroke((10, 5), (10, 50)),),
    )
    prompts = place(asked, plane(), each=True).prompts
    assert prompts.n_objects == 2
    counts = [[int((row == sign).sum()) for sign in (1, 0, -1)] for row in prompts.point_labels]
    assert counts == [[1, 1, MOST_POINTS - 1], [MOST_POINTS, 1, 0]]


def test_an_outline_is_a_box_and_a_mask():
    placed = place(PromptSet(outlines=(TRIANGLE,)), plane())
    assert placed.prompts.boxes.tolist() == [[5, 5, 30, 35]]
    assert placed.prompts.points is None
    (sketch,) = placed.sketches
    inside = sketch.logits(FRAME) > 0
    assert inside[10, 20]
    assert not inside[25, 6]


def test_several_outlines_are_several_objects_and_points_are_ignored():
    ellipse = OutlinePrompt(((20.0, 40.0), (20.0, 55.0), (38.0, 55.0), (38.0, 40.0)), "ellipse")
    asked = PromptSet((PointPrompt((1.0, 1.0)),), outlines=(TRIANGLE, ellipse))
    placed = place(asked, plane())
    assert placed.prompts.n_objects == len(placed.sketches) == 2
    assert placed.prompts.boxes[1] == pytest.approx([20, 40, 38, 55], abs=0.1)
    assert "points are ignored" in placed.note
    mixed = place(
        PromptSet(boxes=(BoxPrompt((1.0, 1.0), (9.0, 9.0)),), outlines=(TRIANGLE,)), plane()
    )
    assert mixed.prompts.n_objects == 2
    assert not mixed.sketches


@pytest.mark.parametrize("axes", [(1, 2), (0, 2), (0, 1)])
def test_on_every_plane_of_a_stack_only_its_own_prompts_count(axes):
    shape = (20, 24, 30)
    hidden = next(axis for axis in range(3) if axis not in axes)
    index = [0, 0, 0]
    index[hidden] = 7

    def at(y, x, depth):
        position = [0.0, 0.0, 0.0]
        position[axes[0]], position[axes[1]], position[hidden] = float(y), float(x), float(depth)
        return tuple(position)

    def everything(depth):
        return PromptSet(
            (PointPrompt(at(3, 4, depth)),),
            strokes=(StrokePrompt((at(3, 4, depth), at(3, 9, depth))),),
            outlines=(OutlinePrompt((at(2, 2, depth), at(2, 9, depth), at(9, 5, depth))),),
        )

    here, there = everything(7), everything(8)
    view = plane(axes, tuple(index), shape)
    assert place(here, view).prompts.n_objects == 1
    assert not place(here, view).note
    away = place(there, view)
    assert away.prompts is None
    assert "3 prompts are on another plane: ignored." in away.note


def test_a_mask_is_asked_with_its_box_and_with_what_is_on_the_object():
    mask = np.zeros((1, 8, 10), bool)
    mask[0, 1:7, 2:9] = True
    prompt = MaskPrompt.of(mask, (4, 10, 20))
    assert np.array_equal(prompt.mask, mask)
    view = plane((1, 2), (4, 0, 0), (9, *SIZE))
    placed = place(PromptSet(mask=prompt), view)
    assert placed.prompts.boxes.tolist() == [[10.5, 21.5, 16.5, 28.5]]
    (sketch,) = placed.sketches
    inside = sketch.logits(FRAME) > 0
    assert inside.sum() == mask.sum()
    assert inside[11, 22]
    points = (PointPrompt((4.0, 30.0, 40.0)), PointPrompt((4.0, 1.0, 1.0), False))
    more = place(PromptSet(points, mask=prompt), view)
    assert more.prompts.boxes.tolist() == [[10.5, 21.5, 30, 40]]
    assert len(more.sketches) == 1
    other = place(PromptSet(mask=prompt), plane((1, 2), (5, 0, 0), (9, *SIZE)))
    assert other.prompts is None
    assert "another plane" in other.note


POSITIONS = st.lists(st.tuples(st.floats(-9, 99), st.floats(-9, 99)), min_size=1, max_size=5)


@given(POSITIONS, POSITIONS, st.booleans(), st.sampled_from(["polygon", "ellipse"]), st.booleans())
def test_prompts_come_back_from_json(path, corners, positive, kind, masked):
    mask = MaskPrompt.of(np.eye(5, dtype=bool), (3, 4)) if masked else None
    prompts = PromptSet(
        strokes=(StrokePrompt(tuple(path), positive),),
        outlines=(OutlinePrompt(tuple(corners), kind),),
        mask=mask,
    )
    assert prompts_from_json(prompts_to_json(prompts)) == prompts
