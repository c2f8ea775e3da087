"""Masks of two precisions beside each other, on a scene that fake models see."""

import numpy as np
import pytest

from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.params import EvaluationParams
from napari_sam.evaluation.precisions import Agreement, agree, row
from napari_sam.testing import FakePredictor

PARAMS = EvaluationParams(objects_per_image=10)


@pytest.fixture
def sample():
    labels = np.zeros((64, 64), np.int32)
    labels[10:21, 10:21], labels[40:51, 40:51] = 1, 2
    return Sample("scene", "fluorescence", "made", np.zeros((64, 64, 3), np.uint8), labels, {})


def test_the_same_model_agrees_with_itself(sample):
    found = agree(FakePredictor(radius=5), FakePredictor(radius=5), sample, PARAMS)
    assert found.ious == (1.0,) * 4  # a click and a box for each of two objects
    assert found.same_choice == (True, True)


def test_other_masks_lower_the_agreement(sample):
    found = agree(FakePredictor(radius=5), FakePredictor(radius=6), sample, PARAMS)
    assert all(value < 1 for value in found.ious[:2])


def test_an_image_without_objects_adds_nothing(sample):
    empty = Sample("e", "m", "d", sample.picture, np.zeros_like(sample.labels), {})
    found = agree(FakePredictor(), FakePredictor(), empty, PARAMS)
    assert found == Agreement()
    assert (found + Agreement((0.9, 1.0), (True,))).ious == (0.9, 1.0)


def test_a_row_has_mean_share_and_least():
    line = row("made", Agreement((0.9, 1.0, 1.0, 0.98), (True, False)))
    assert line == "| made | 4 | 0.9700 | 75.00% | 0.900 | 50.00% |"
