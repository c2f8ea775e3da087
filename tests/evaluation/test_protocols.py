"""Scribbles, proposals and volumes with predictors that know the truth."""

import numpy as np
import pytest

from napari_sam.core.strokes import MOST_POINTS
from napari_sam.errors import ImageError
from napari_sam.evaluation import scribbles, volumes
from napari_sam.evaluation.baselines import ClassicalImage, walk_from_seeds
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.exams import Findings, Question
from napari_sam.evaluation.metrics import dice_of, iou
from napari_sam.evaluation.params import EvaluationParams
from napari_sam.evaluation.proposals import Recalled, average_recall
from tests.evaluation.fakes import PerfectPredictor, discs


def picture_of(labels):
    return np.repeat(np.where(labels > 0, 200, 20).astype(np.uint8)[..., None], 3, -1)


@pytest.fixture
def scribbled(tmp_path):
    """One disc, two people; a third drew nothing inside."""
    labels = (discs() == 1).astype(np.int32)
    positive, negative = np.zeros((2, 3, *labels.shape), bool)
    positive[0, 15, 8:22] = positive[1, 8:22, 15] = True
    negative[:, 50, 10:70] = True
    np.savez(tmp_path / "s.npz", positive=positive, negative=negative)
    item = {"scribbles": "s.npz", "label_kind": "binary"}
    return Sample("m/1", "MRI", "m", picture_of(labels), labels, item, root=tmp_path)


def test_points_of_a_stroke_begin_in_its_middle_and_spread():
    stroke = np.zeros((40, 40), bool)
    stroke[20, 5:36] = True
    points = scribbles.stroke_points(stroke)
    assert points[0] == (20, 20)
    assert sorted(x for _, x in points[1:3]) == [5, 35]
    assert len(points) == MOST_POINTS
    assert not scribbles.stroke_points(np.zeros((4, 4), bool))


def test_every_person_s_scribble_is_one_answer(scribbled):
    model = PerfectPredictor(scribbled.labels)
    question = Question(scribbled, "MRI (m)", EvaluationParams())
    found = scribbles.ask(model, question)
    assert [(r.person, r.inside, r.both, r.click) for r in found] == [(0, 1, 1, 1), (1, 1, 1, 1)]
    inside, both = model.asked[1][0], model.asked[3][0]  # each is asked twice
    assert set(inside.point_labels.ravel()) == {1}
    assert set(both.point_labels.ravel()) == {0, 1}
    assert [multimask for _, multimask in model.asked[:3]] == [True, False, False]
    walked = scribbles.ask_classical(question)
    assert [r.both > 0.9 for r in walked] == [True, True]
    findings = Findings({"fake": found}, walked, {}, question.params)
    (row,) = scribbles.write_section(findings).blocks[0].rows
    assert row[:4] == ("MRI (m)", "1", "2", "1.000")


def test_scribbles_of_another_size_are_refused(scribbled, tmp_path):
    np.savez(tmp_path / "s.npz", positive=np.ones((1, 3, 3)), negative=np.ones((1, 3, 3)))
    with pytest.raises(ImageError, match="wanted is"):
        scribbles.read_strokes(scribbled)


def test_a_walk_over_a_thinned_picture_sees_thin_strokes(monkeypatch):
    monkeypatch.setattr("napari_sam.evaluation.baselines.SEEDED_SIDE", 80)
    labels = np.zeros((153, 201), np.int32)
    labels[30:120, 50:150] = 1
    strokes = np.zeros((2, *labels.shape), bool)
    strokes[0, 76, 61:141] = strokes[1, 16, 21:181] = True
    found = walk_from_seeds(ClassicalImage(picture_of(labels)), *strokes)
    assert iou(found, labels > 0) > 0.9


def test_recall_is_the_mean_over_thresholds_and_by_size():
    images = [Recalled((100, 2000), (1.0, 0.74), 5), Recalled((100,), (0.2,), 7)]
    found = average_recall(images)
    assert found.everything.mean == pytest.approx((1 + 0.5 + 0) / 3)
    assert found.by_size[:2] == (pytest.approx(0.5), pytest.approx(0.5))
    assert np.isnan(found.by_size[2])
    assert (found.counts, found.per_image) == ((2, 1, 0), 6)


def test_objects_of_a_stack_are_put_together_from_their_planes():
    labels = discs()
    stack = np.stack([labels, labels, np.where(labels == 2, 2, 0)])
    sample = Sample("v/1", "CT", "v", np.stack([*map(picture_of, stack)]), stack, {})
    question = Question(sample, "CT (v)", EvaluationParams())
    found = volumes.ask(PerfectPredictor(labels), question)
    assert [(r.label, r.n_planes) for r in found] == [(1, 2), (2, 3), (3, 2), (4, 2)]
    assert {value for r in found for value in r.ious.values()} == {1}
    ellipses = volumes.ask_classical(question)
    assert all(0.85 < r.ious[volumes.ELLIPSE] < 1 for r in ellipses[:3])
    findings = Findings({"fake": found}, ellipses, {}, question.params)
    (row,) = volumes.write_section(findings).blocks[0].rows
    assert row[:5] == ("CT (v)", "1", "4", "1.000", "1.000")


def test_a_plane_that_is_missed_costs_its_voxels():
    labels = discs()
    stack = np.stack([labels, labels])

    class Blind(PerfectPredictor):
        def encode(self, image, *, intensity="percentile"):
            self.labels = np.zeros_like(labels) if self.asked else labels
            return super().encode(image, intensity=intensity)

        def _truth(self, prompts, i):
            return super()._truth(prompts, i) if self.labels.any() else self.labels > 0

    sample = Sample("v/1", "CT", "v", np.stack([picture_of(labels)] * 2), stack, {})
    found = volumes.ask(Blind(labels), Question(sample, "g", EvaluationParams()))
    assert {r.ious[volumes.BOX] for r in found} == {0.5}
    assert dice_of(0.5) == pytest.approx(2 / 3)
