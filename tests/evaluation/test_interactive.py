import numpy as np
import pytest

from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.interactive import choose_objects, evaluate_sample, play_clicks
from napari_sam.evaluation.params import EvaluationParams
from tests.evaluation.fakes import PerfectPredictor, discs


def sample_of(labels):
    picture = np.repeat(np.where(labels > 0, 200, 20).astype(np.uint8)[..., None], 3, -1)
    return Sample("discs/1", "fluorescence", "discs", picture, labels, {})


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_a_perfect_predictor_scores_one_everywhere(chunk):
    labels = discs()
    params = EvaluationParams(chunk=chunk)
    results = evaluate_sample(PerfectPredictor(labels), sample_of(labels), params, group="g")
    assert [result.label for result in results] == [1, 2, 3, 4]
    for result in results:
        assert result.clicks == (1,) * 11
        assert (result.oracle, result.box, result.group) == (1, 1, "g")
        assert result.predicted == (0.75,) * 11
        assert result.predicted_box == 0.75
        assert result.area == np.count_nonzero(labels == result.label)


def test_who_sees_no_error_stops_clicking():
    labels = discs()
    predictor = PerfectPredictor(labels)
    evaluate_sample(predictor, sample_of(labels), EvaluationParams())
    assert [multimask for _, multimask in predictor.asked] == [True, False]  # a click and a box


def test_corrections_feed_the_mask_back_and_ask_for_one_mask():
    labels = discs()
    predictor = PerfectPredictor(labels, blind_rounds=2)
    truths = [labels == label for label in (1, 2)]
    embedding = predictor.encode(sample_of(labels).picture, intensity="as_is")
    sittings = play_clicks(predictor, embedding, truths, rounds=4)
    assert [multimask for _, multimask in predictor.asked] == [True, False, False]
    for number, (prompts, _) in enumerate(predictor.asked, 1):
        assert prompts.points.shape == (2, number, 2)
        assert (prompts.mask_logits is None) == (number == 1)
    fed_back = predictor.asked[2][0].mask_logits > 0
    for sitting, truth, shown in zip(sittings, truths, fed_back, strict=True):
        assert len(sitting.clicks) == 3
        assert all(click.positive for click in sitting.clicks)
        np.testing.assert_array_equal(shown, sitting.masks[1])
        np.testing.assert_array_equal(sitting.masks[3], truth)
        assert len(sitting.candidates) == 3


def test_the_oracle_may_be_better_than_the_chosen_mask():
    class Modest(PerfectPredictor):
        def decode(self, embedding, prompts, *, multimask=True):
            answer = super().decode(embedding, prompts, multimask=multimask)
            answer.scores[:] = answer.scores[:, ::-1]  # the true mask is last and now scored low
            return answer

    labels = discs()
    for result in evaluate_sample(Modest(labels), sample_of(labels), EvaluationParams(clicks=1)):
        assert result.clicks == (0,)
        assert result.oracle == 1


def test_small_objects_are_left_out_and_many_are_drawn_the_same_way_every_time():
    labels = np.repeat(np.arange(50, dtype=np.int32)[:, None], 30, axis=1)
    labels[7, 15:] = 0
    params = EvaluationParams(objects_per_image=10)
    chosen = choose_objects(labels, "a", params)
    assert len(chosen) == 10
    assert list(chosen) == sorted(set(chosen))
    assert 0 not in chosen
    assert chosen == choose_objects(labels, "a", params)
    assert chosen != choose_objects(labels, "b", params)
    everything = choose_objects(labels, "a", EvaluationParams(objects_per_image=99))
    assert set(everything) == set(range(1, 50)) - {7}


def test_an_image_without_objects_has_no_results():
    labels = np.zeros((20, 30), np.int32)
    assert evaluate_sample(PerfectPredictor(labels), sample_of(labels), EvaluationParams()) == []
