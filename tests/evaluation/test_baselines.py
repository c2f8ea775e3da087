import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sam.evaluation.baselines import (
    BOX_BASELINES,
    CLICK_BASELINES,
    ClassicalImage,
    ellipse_in_box,
    filled_box,
)
from napari_sam.evaluation.clicks import deepest_point, tight_box
from napari_sam.evaluation.metrics import iou
from tests.evaluation.fakes import discs


def picture_of(labels, dark=False):
    grey = np.where((labels > 0) != dark, 190, 40).astype(np.uint8)
    return np.repeat(grey[..., None], 3, -1)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", CLICK_BASELINES)
def test_click_methods_find_clear_discs(name, dark):
    labels = discs()
    image = ClassicalImage(picture_of(labels, dark))
    for label in range(1, 5):
        truth = labels == label
        assert iou(CLICK_BASELINES[name](image, *deepest_point(truth)), truth) > 0.75


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", BOX_BASELINES)
def test_box_methods_find_clear_discs(name, dark):
    labels = discs()
    image = ClassicalImage(picture_of(labels, dark))
    for label in range(1, 4):  # the disc on the border is half an ellipse
        truth = labels == label
        assert iou(BOX_BASELINES[name](image, tight_box(truth)), truth) > 0.7


def test_watershed_cuts_what_the_threshold_joins():
    labels = discs(centres=((20, 20), (20, 36)))
    image = ClassicalImage(picture_of(labels))
    truth = labels == 1
    point = deepest_point(truth)
    joined = iou(CLICK_BASELINES["Otsu + component"](image, *point), truth)
    assert joined < 0.6 < 0.85 < iou(CLICK_BASELINES["watershed"](image, *point), truth)


@pytest.mark.parametrize("name", [*CLICK_BASELINES, *BOX_BASELINES])
@pytest.mark.parametrize("shape", [(1, 1), (1, 12), (5, 3)])
def test_flat_and_tiny_pictures_are_answered(name, shape):
    image = ClassicalImage(np.full((*shape, 3), 9, np.uint8))
    if name in CLICK_BASELINES:
        answer = CLICK_BASELINES[name](image, 0, 0)
    else:
        answer = BOX_BASELINES[name](image, (-0.5, -0.5, shape[0] - 0.5, shape[1] - 0.5))
    assert answer.shape == shape
    assert answer.dtype == bool


@given(st.tuples(*[st.integers(0, 15)] * 2), st.tuples(*[st.integers(1, 14)] * 2))
def test_the_ellipse_touches_its_box_and_stays_inside(corner, size):
    mask = np.zeros((30, 30), bool)
    mask[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]] = True
    image = ClassicalImage(np.zeros((30, 30, 3), np.uint8))
    box = tight_box(mask)
    np.testing.assert_array_equal(filled_box(image, box), mask)
    ellipse = ellipse_in_box(image, box)
    assert not (ellipse & ~mask).any()
    if all(side % 2 for side in size):  # an even side's extreme point lies between two pixels
        assert tight_box(ellipse) == box
