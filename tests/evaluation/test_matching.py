"""Figures of matched objects against counts by hand, and laws that hold for all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_sam.evaluation.matching import (
    THRESHOLDS,
    Counts,
    average_precision,
    count_matches,
    iou_table,
    rank,
)

LABELS = arrays(np.int32, (6, 7), elements=st.sampled_from([0, 0, 1, 2, 5, 9]))


def test_by_hand():
    truth = np.zeros((4, 10), int)
    truth[:, 0:4], truth[:, 5:9] = 3, 7
    found = np.zeros((4, 10), int)
    found[:, 1:4], found[0, 5:9], found[3, 9] = 1, 2, 4
    ious = iou_table(truth, found)
    np.testing.assert_allclose(ious, [[0.75, 0, 0], [0, 0.25, 0]])
    counts = count_matches(ious, 0.5)
    assert counts == Counts(hits=1, extra=2, missed=1, iou=0.75)
    assert counts.f1 == pytest.approx(2 / 5)
    assert counts.accuracy == pytest.approx(1 / 4)
    assert counts.panoptic == pytest.approx(0.75 / 2.5)
    assert count_matches(ious, 0.8).hits == 0


def test_most_pairs_win_over_the_best_pair():
    ious = np.array([[0.9, 0.6], [0.55, 0.0]])
    assert count_matches(ious, 0.5).hits == 2


def test_nothing_and_nothing_is_perfect():
    empty = np.zeros((3, 3), int)
    counts = count_matches(iou_table(empty, empty), 0.5)
    assert (counts.f1, counts.accuracy, counts.panoptic) == (1, 1, 1)


def test_shapes_must_be_alike():
    with pytest.raises(ValueError, match="cannot be compared"):
        iou_table(np.zeros((2, 2), int), np.zeros((2, 3), int))


@given(LABELS, LABELS, st.sampled_from(THRESHOLDS))
def test_laws_of_counts(truth: np.ndarray, found: np.ndarray, threshold: float):
    ious = iou_table(truth, found)
    for i, a in enumerate(np.unique(truth[truth > 0])):
        for j, b in enumerate(np.unique(found[found > 0])):
            both, either = (truth == a) & (found == b), (truth == a) | (found == b)
            assert ious[i, j] == pytest.approx(both.sum() / either.sum())
    counts = count_matches(ious, threshold)
    assert counts.hits + counts.missed == ious.shape[0]
    assert counts.hits + counts.extra == ious.shape[1]
    assert 0 <= counts.panoptic <= counts.f1 + 1e-12
    assert counts.accuracy <= counts.f1
    assert count_matches(ious.T, threshold).hits == counts.hits
    perfect = count_matches(iou_table(truth, truth), threshold)
    assert (perfect.extra, perfect.missed, perfect.f1) == (0, 0, 1)


def test_average_precision_by_hand():
    """Two true objects; the surest answer is wrong, the next two are right."""
    ious = np.array([[0.1, 0.8, 0.0], [0.0, 0.0, 0.62]])
    precision = average_precision([rank(ious, [0.9, 0.7, 0.8])])
    assert precision[THRESHOLDS.index(0.5)] == pytest.approx(2 / 3)
    # At 0.7 only one is right: the third of three, recall one half.
    assert precision[THRESHOLDS.index(0.7)] == pytest.approx(51 / 101 / 3)
    assert precision[THRESHOLDS.index(0.85)] == 0


def test_two_answers_for_one_object_are_one_hit():
    ranking = rank(np.array([[0.9, 0.95]]), [0.5, 0.4])
    assert ranking.hits[0] == (True, False)


def test_average_precision_pools_images():
    good = rank(np.array([[1.0]]), [0.9])
    bad = rank(np.zeros((1, 1)), [0.95])
    assert average_precision([good])[0] == 1
    assert average_precision([good, bad])[0] == pytest.approx(51 / 101 / 2)
    assert average_precision([rank(np.zeros((2, 0)), [])])[0] == 0
    assert np.isnan(average_precision([rank(np.zeros((0, 1)), [0.5])])[0])
