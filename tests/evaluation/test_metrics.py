import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_sam.evaluation.metrics import estimate_mean, iou

masks = arrays(bool, (7, 9))


@given(masks, masks)
def test_iou_is_symmetric_between_0_and_1_and_1_only_for_equal_masks(first, second):
    value = iou(first, second)
    assert value == iou(second, first)
    assert 0 <= value <= 1
    assert (value == 1) == np.array_equal(first, second)


def test_iou_counts_pixels():
    first, second = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    first[:2], second[1:3] = True, True
    assert iou(first, second) == pytest.approx(1 / 3)


def test_iou_refuses_other_shapes():
    with pytest.raises(ValueError, match="cannot be compared"):
        iou(np.zeros((2, 3), bool), np.zeros((3, 2), bool))


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.integers(1, 5),
)
def test_the_interval_holds_within_the_range_of_the_values(values, n_images):
    estimate = estimate_mean(values, [str(i % n_images) for i in range(len(values))])
    assert estimate.mean == pytest.approx(np.mean(values))
    assert estimate.n == len(values)
    if min(n_images, len(values)) == 1:
        assert estimate.low is None
    else:
        assert min(values) - 1e-9 <= estimate.low <= estimate.high <= max(values) + 1e-9


def test_images_are_the_unit_of_the_bootstrap():
    # A hundred equal objects in two images are two observations, not two hundred.
    values = [0.0] * 100 + [1.0] * 100
    two = estimate_mean(values, ["a"] * 100 + ["b"] * 100)
    many = estimate_mean(values, [str(i) for i in range(200)])
    assert (two.low, two.high) == (0, 1)
    assert many.high - many.low < 0.2
    assert two == estimate_mean(values, ["a"] * 100 + ["b"] * 100)


def test_a_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match="0 values"):
        estimate_mean([], [])
