import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from napari_sam.errors import PromptError
from napari_sam.evaluation.clicks import (
    bounding_region,
    deepest_point,
    largest_component,
    next_click,
    tight_box,
)

masks = arrays(bool, (8, 11))
some_masks = masks.filter(np.any)


@given(some_masks)
def test_the_deepest_point_lies_in_the_mask(mask):
    assert mask[deepest_point(mask)]


@given(some_masks)
def test_the_deepest_point_does_not_depend_on_where_the_mask_lies(mask):
    y, x = deepest_point(mask)
    assert deepest_point(np.pad(mask, ((3, 1), (5, 2)))) == (y + 3, x + 5)


def test_the_world_beyond_the_image_is_outside():
    mask = np.zeros((9, 9), bool)
    mask[:, :5] = True  # touches three borders
    assert deepest_point(mask) == (2, 2)


@given(some_masks)
def test_a_tight_box_holds_all_pixels_and_none_to_spare(mask):
    y0, x0, y1, x1 = tight_box(mask)
    rows, columns = np.nonzero(mask)
    assert (y0, y1) == (rows.min() - 0.5, rows.max() + 0.5)
    assert (x0, x1) == (columns.min() - 0.5, columns.max() + 0.5)
    region = mask[bounding_region(mask)]
    assert region.sum() == mask.sum()


@given(masks, some_masks)
def test_a_correction_lies_in_the_error_and_has_the_sign_of_the_truth(predicted, truth):
    click = next_click(predicted, truth)
    if np.array_equal(predicted, truth):
        assert click is None
    else:
        assert predicted[click.y, click.x] != truth[click.y, click.x]
        assert click.positive == truth[click.y, click.x]


def test_the_larger_error_is_corrected_first():
    truth = np.zeros((20, 20), bool)
    truth[2:8, 2:8] = True
    predicted = truth.copy()
    predicted[4:6, 2:8] = False
    assert next_click(predicted, truth).positive
    predicted[10:18, 10:18] = True
    assert next_click(predicted, truth) == (13, 13, False)


@given(masks)
def test_the_largest_component_is_a_part(mask):
    piece = largest_component(mask)
    assert not (piece & ~mask).any()
    assert piece.any() == mask.any()


@pytest.mark.parametrize("ask", [deepest_point, tight_box, bounding_region])
def test_empty_masks_are_refused(ask):
    with pytest.raises(PromptError, match="empty"):
        ask(np.zeros((3, 3), bool))
