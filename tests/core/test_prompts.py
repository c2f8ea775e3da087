"""Prompts: shapes, messages, immutability."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sam.core.prompts import Prompts
from napari_sam.errors import NapariSamError, PromptError

NUMBERS = st.floats(-1e4, 1e4, width=32)


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 4), st.just(2)),
                  elements=NUMBERS))  # fmt: skip
def test_points_are_kept_as_given(points: np.ndarray) -> None:
    labels = np.ones(points.shape[:2], int)
    prompts = Prompts(points=points, point_labels=labels)
    assert prompts.n_objects == len(points)
    np.testing.assert_array_equal(prompts.points, points)
    assert prompts.boxes is None
    assert prompts.mask_logits is None


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=5))
def test_boxes_with_sorted_corners_are_taken(corners: list[tuple[float, ...]]) -> None:
    boxes = [[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in corners]
    assert Prompts(boxes=boxes).n_objects == len(corners)


def test_kinds_go_together() -> None:
    prompts = Prompts(
        points=[[[1, 2], [3, 4]]],
        point_labels=[[1, -1]],
        boxes=[[0, 0, 5, 5]],
        mask_logits=np.zeros((1, 4, 4)),
    )
    assert prompts.n_objects == 1


def test_a_callers_array_is_not_shared_and_values_cannot_change() -> None:
    boxes = np.array([[0.0, 0.0, 5.0, 5.0]], np.float32)
    prompts = Prompts(boxes=boxes)
    boxes[:] = 9
    assert prompts.boxes is not None
    assert prompts.boxes.tolist() == [[0, 0, 5, 5]]
    with pytest.raises(ValueError, match="read-only"):
        prompts.boxes[0, 0] = 1
    with pytest.raises(AttributeError):
        prompts.boxes = None  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given_prompts", "message"),
    [
        ({}, "there is no prompt"),
        ({"points": np.zeros((0, 1, 2)), "point_labels": np.zeros((0, 1), int)}, "no prompt"),
        ({"points": [[[1, 2]]]}, "belong together"),
        ({"point_labels": [[1]], "boxes": [[0, 0, 1, 1]]}, "belong together"),
        ({"points": [[1, 2]], "point_labels": [[1]]}, r"shape \(1, 2\); wanted is \(B, N, 2\)"),
        ({"points": [[[1, 2, 3]]], "point_labels": [[1]]}, r"wanted is \(B, N, 2\)"),
        ({"points": [[[1, 2]]], "point_labels": [[1, 1]]}, r"must be \(1, 1\)"),
        ({"points": [[[1, 2]]], "point_labels": [[2]]}, "1 for object, 0 for background, -1"),
        ({"points": [[[1, 2]]], "point_labels": [[1.0]]}, "must be integers"),
        ({"points": [[[1, np.nan]]], "point_labels": [[1]]}, "not finite"),
        ({"points": [[["a", "b"]]], "point_labels": [[1]]}, "must be an array"),
        ({"boxes": [0, 0, 1, 1]}, r"wanted is \(B, 4\)"),
        ({"boxes": [[5, 0, 1, 1]]}, "y0 <= y1"),
        ({"boxes": [[0, 5, 1, 1]]}, "x0 <= x1"),
        ({"boxes": [[0, 0, 1, np.inf]]}, "not finite"),
        ({"mask_logits": np.zeros((4, 4))}, "mask_logits have shape"),
        (
            {"boxes": [[0, 0, 1, 1]], "mask_logits": np.zeros((2, 4, 4))},
            "disagree on the number of objects",
        ),
    ],
)
def test_what_is_wrong_is_said(given_prompts: dict, message: str) -> None:
    with pytest.raises(PromptError, match=message) as caught:
        Prompts(**given_prompts)
    assert isinstance(caught.value, NapariSamError)
    assert isinstance(caught.value, ValueError)
