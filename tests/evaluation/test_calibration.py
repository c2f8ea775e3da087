"""Predicted IoU against the true one; average precision from given boxes."""

import numpy as np
import pytest

from napari_sam.evaluation.calibration import Answer, answers_of, calibrate
from napari_sam.evaluation.given_boxes import score_boxes, size_of
from napari_sam.evaluation.interactive import ObjectResult
from napari_sam.evaluation.matching import THRESHOLDS


def result_of(box, said=0.9, area=50, sample="a", clicks=(0.5,), predicted=(0.7,)):
    return ObjectResult("g", sample, 1, area, clicks, 0.5, box, predicted, said)


def test_errors_that_cancel_in_a_bin_are_off_but_calibrated():
    answers = [Answer(0.75, 0.65, "a"), Answer(0.75, 0.85, "b")]
    found = calibrate(answers)
    assert found.off.mean == pytest.approx(0.1)
    assert found.ece.mean == pytest.approx(0)
    assert found.ece.high == pytest.approx(0.1)  # either image alone
    (bin_,) = found.bins
    assert (bin_.low, bin_.high, bin_.n) == (0.7, 0.8, 2)
    assert (bin_.predicted, bin_.true) == (pytest.approx(0.75), pytest.approx(0.75))


def test_the_error_is_the_mean_over_answers_of_the_gap_of_their_bin():
    answers = [Answer(0.95, 0.55, "a"), Answer(1.2, 0.6, "a"), Answer(0.15, 0.15, "a")]
    found = calibrate(answers)  # a score above 1 falls into the last bin
    gap = (0.95 + 1.2) / 2 - (0.55 + 0.6) / 2
    assert found.ece.mean == pytest.approx(gap * 2 / 3)
    assert [b.n for b in found.bins] == [1, 2]


def test_an_annotator_who_stopped_counts_once():
    result = result_of(0.8, clicks=(0.5, 0.9, 0.9, 0.9), predicted=(0.6, 0.7, 0.7, 0.7))
    pairs = [(answer.predicted, answer.true) for answer in answers_of([result])]
    assert pairs == [(0.6, 0.5), (0.7, 0.9), (0.9, 0.8)]


def test_perfect_masks_have_an_average_precision_of_one():
    found = score_boxes([result_of(1.0), result_of(1.0, area=5000, sample="b")])
    assert (found.ap.mean, found.ap_50, found.ap_75) == (1, 1, 1)
    assert found.by_size[:2] == (1, 1)
    assert np.isnan(found.by_size[2])
    assert found.counts == (1, 1, 0)


def test_one_mask_in_two_is_good_up_to_its_iou():
    """A sure hit and a less sure miss: half the recall at full precision."""
    found = score_boxes([result_of(0.76, said=0.9), result_of(0.3, said=0.5)])
    reached = sum(threshold <= 0.76 for threshold in THRESHOLDS)
    assert found.ap_50 == found.ap_75 == pytest.approx(51 / 101)
    assert found.ap.mean == pytest.approx(51 / 101 * reached / len(THRESHOLDS))


def test_a_sure_miss_in_front_costs_precision():
    surely_wrong = score_boxes([result_of(0.9, said=0.5), result_of(0.3, said=0.9)])
    assert surely_wrong.ap_50 == pytest.approx(0.5 * 51 / 101)


@pytest.mark.parametrize(("area", "size"), [(1024, 0), (1025, 1), (9216, 1), (9217, 2)])
def test_sizes_are_those_of_coco(area, size):
    assert size_of(area) == size
