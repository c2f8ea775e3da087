"""Edges: thinning, matching, figures, and the protocol with a predictor that knows the truth."""

import numpy as np
import pytest
import tifffile

from napari_sam.errors import ImageError
from napari_sam.evaluation.contours import (
    THRESHOLDS,
    match_pixels,
    partition_edges,
    score_edges,
    suppress_non_maxima,
    tally,
)
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.edges import EXAM, people_of
from napari_sam.evaluation.exams import Findings, Question
from napari_sam.evaluation.params import EvaluationParams
from tests.evaluation.fakes import PerfectPredictor, discs


def test_edges_of_a_partition_are_one_pixel_wide():
    labels = np.zeros((20, 20), np.int32)
    labels[:, 8:] = 1
    edges = partition_edges(labels)
    assert edges.sum() == 20
    assert edges[:, 7].all()


@pytest.mark.parametrize("turned", [False, True])
def test_a_blurred_line_is_thinned_to_its_ridge(turned):
    x = np.arange(40)
    blurred = np.repeat(np.exp(-((x - 17.0) ** 2) / 18)[None], 40, 0)
    thin = suppress_non_maxima(blurred.T if turned else blurred)
    thin = thin.T if turned else thin
    assert (np.flatnonzero(thin[20] > 0.01) == [17]).all()


def test_a_slanted_line_is_thinned_too():
    yy, xx = np.mgrid[:60, :60]
    blurred = np.exp(-((yy - xx) ** 2) / 36)
    thin = suppress_non_maxima(blurred) > 0.5
    assert 40 <= thin[10:50].sum() <= 80
    assert (np.abs((yy - xx)[thin]) <= 1).all()


def test_pixels_match_one_to_one_within_the_radius():
    first = np.array([[0, 0], [0, 1], [9, 9]])
    second = np.array([[0, 2], [5, 5]])
    assert match_pixels(first, second, 2.0).sum() == 1  # two want the same partner
    assert match_pixels(first, second, 0.5).sum() == 0
    assert match_pixels(first, np.empty((0, 2), int), 2.0).tolist() == [False] * 3


def test_the_drawn_edges_themselves_are_perfect():
    edges = partition_edges(discs())
    counts = tally(edges.astype(float), [edges, edges])
    assert len(counts) == len(THRESHOLDS)
    recalled, total, right, found = counts[0]
    assert recalled == total == 2 * found
    assert right == found
    scores = score_edges([counts])
    assert (scores.ods.mean, scores.ois.mean, scores.r50.mean) == (1, 1, 1)


def test_average_precision_covers_all_recalls_that_thresholds_give():
    edges = partition_edges(discs())
    fading = edges * np.linspace(1, 0.01, edges.shape[1])  # each threshold finds another part
    assert score_edges([tally(fading, [edges])]).ap.mean > 0.95
    one_recall = tally(edges.astype(float), [edges])
    assert score_edges([one_recall]).ap.mean == pytest.approx(1 / 101)


def test_each_image_has_its_own_best_threshold():
    """One image is good at low thresholds, one at high ones: OIS is ahead of ODS."""
    half = len(THRESHOLDS) // 2
    good, bad = (10, 10, 10, 10), (10, 10, 10, 100)
    low = tuple(good if k < half else bad for k in range(len(THRESHOLDS)))
    high = tuple(bad if k < half else good for k in range(len(THRESHOLDS)))
    scores = score_edges([low, high])
    assert scores.ois.mean == 1
    precision = 20 / 110
    assert scores.ods.mean == pytest.approx(2 * precision / (1 + precision))


@pytest.fixture
def sample(tmp_path):
    labels = discs((240, 320), ((60, 60), (160, 80), (120, 240), (0, 160)), 40)
    tifffile.imwrite(tmp_path / "all.tif", np.stack([labels, labels]).astype(np.uint8))
    picture = np.repeat(np.where(labels > 0, 200, 20).astype(np.uint8)[..., None], 3, -1)
    item = {"labels_all": "all.tif"}
    return Sample("b/1", "photograph", "b", picture, labels, item, root=tmp_path)


def test_perfect_masks_have_nearly_perfect_edges(sample):
    question = Question(sample, "g", EvaluationParams())
    found = EXAM.ask(PerfectPredictor(sample.labels), question)
    classical = EXAM.ask_classical(question)
    assert score_edges([found[0].counts]).ods.mean > 0.97
    findings = Findings({"fake": found}, classical, {"b/1": "manual"}, question.params)
    table = EXAM.section(findings).blocks[0]
    assert [row[1] for row in table.rows] == ["fake", "Sobel of the picture"]


def test_people_who_drew_on_another_image_are_refused(sample, tmp_path):
    tifffile.imwrite(tmp_path / "all.tif", np.zeros((2, 5, 5), np.uint8))
    with pytest.raises(ImageError, match="wanted is"):
        people_of(sample)
