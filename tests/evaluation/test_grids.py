"""The comparison of the two grids, on a scene that a fake model sees perfectly."""

import numpy as np
import pytest

from napari_sam.core.automatic import collect, select
from napari_sam.core.params import AutomaticParams
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.grids import Comparison, Share, compare, replay, row
from napari_sam.progress import finish
from napari_sam.testing import FakePredictor

PARAMS = AutomaticParams(points_per_side=16, pred_iou_thresh=0.7, points_per_batch=10)


def sample_with(*corners):
    """Bright squares of 7 x 7 pixels, each with the disc that the fake model sees in it."""
    picture = np.zeros((64, 64, 3), np.uint8)
    labels = np.zeros((64, 64), np.int32)
    for number, (y, x) in enumerate(corners, 1):
        picture[y : y + 7, x : x + 7] = 200
        labels[y : y + 7, x : x + 7] = number
    return Sample("scene", "fluorescence", "made", picture, labels, {})


@pytest.fixture
def sample():
    return sample_with((10, 10), (30, 40))


@pytest.fixture
def full(sample):
    return finish(collect(sample.picture, FakePredictor(radius=4), PARAMS, intensity="as_is"))


def as_values(records):
    return [(one.point, one.score, one.area, one.region) for one in records]


def test_a_replay_is_what_the_adaptive_grid_collects(sample, full):
    adaptive = PARAMS.changed(adaptive=True)
    job = collect(sample.picture, FakePredictor(radius=4), adaptive, intensity="as_is")
    real, replayed = finish(job), replay(sample.picture, full, PARAMS)
    assert as_values(replayed.records) == as_values(real.records)
    assert replayed.prompts == real.prompts < full.prompts == 256


def test_objects_and_masks_are_counted(sample, full):
    found = compare(sample, full, PARAMS)
    assert (found.objects, found.found) == (2, Share(2, 2))
    assert found.again.whole == len(select(full, PARAMS))
    assert 0 < found.again.value < 1  # the model sees discs in flat places, too
    assert found.prompts.part < found.prompts.whole == 256


def test_an_object_that_only_the_full_grid_finds_lowers_the_recall(full):
    dark = sample_with((10, 10), (30, 40), (50, 10))  # labelled, but a picture without contrast
    hidden = Sample("scene", "fluorescence", "made", np.zeros_like(dark.picture), dark.labels, {})
    found = compare(hidden, full, PARAMS)
    assert found.found.part < found.found.whole == 3
    assert found.found.value == found.found.part / 3


def test_counts_add_up():
    first = Comparison(9, Share(6, 8), Share(9, 10), Share(30, 100))
    second = Comparison(1, prompts=Share(20, 100))
    total = first + second
    assert (total.objects, total.found.value, total.again.value) == (10, 0.75, 0.9)
    assert total.prompts.value == 0.25
    assert second.found.value == second.again.value == 1
    assert row("all", total) == "| all | 10 | 8 | 6 | 75.0% | 90.0% of 10 | 25.0% |"
