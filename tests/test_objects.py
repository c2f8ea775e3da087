"""Objects: which points belong to which object, and that batches change no answer."""

import numpy as np
import pytest

from napari_sam._objects import ObjectPrompt, check_objects, decode_objects, objects_of
from napari_sam.core import object_prompts
from napari_sam.core.predictor import Predictor
from napari_sam.core.registry import get_spec
from napari_sam.core.runtime import choose_runtime
from napari_sam.errors import PromptError
from tests.untrained import untrained_model

BOXES = [(0.0, 0.0, 20.0, 20.0), (10.0, 10.0, 40.0, 40.0)]


def test_all_points_are_one_object() -> None:
    assert objects_of([(1, 2), (3, 4)], [(5, 6)], []) == [ObjectPrompt(((1, 2), (3, 4)), ((5, 6),))]


def test_each_point_is_an_object() -> None:
    assert objects_of([(1, 2), (3, 4)], [(5, 6)], [], each=True) == [
        ObjectPrompt(((1, 2),), ((5, 6),)),
        ObjectPrompt(((3, 4),), ((5, 6),)),
    ]


def test_points_refine_the_boxes_they_lie_in() -> None:
    assert objects_of([(5, 5), (15, 15)], [(30, 30)], BOXES) == [
        ObjectPrompt(((5, 5), (15, 15)), (), BOXES[0]),
        ObjectPrompt(((15, 15),), ((30, 30),), BOXES[1]),
    ]


def test_nothing_and_stray_points_are_refused() -> None:
    with pytest.raises(PromptError, match="nothing says where"):
        objects_of([], [(1, 2)], [])
    with pytest.raises(PromptError, match="none of the boxes"):
        objects_of([(50, 50)], [], BOXES)


def test_prompts_are_checked_before_the_image_is_encoded() -> None:
    check_objects(objects_of([], [], BOXES), (30, 30))
    with pytest.raises(PromptError, match="outside the image of 30 x 30"):
        check_objects(objects_of([(30, 5)], [], []), (30, 30))
    with pytest.raises(PromptError, match="y0 <= y1"):
        check_objects(objects_of([], [], [(9, 9, 5, 5)]), (30, 30))


def test_batches_keep_order_and_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_prompts, "BATCH", 2)
    predictor = Predictor(untrained_model(), get_spec("tiny"), runtime=choose_runtime("cpu"))
    embedding = predictor.encode(np.random.default_rng(0).normal(size=(40, 50)))
    objects = [
        ObjectPrompt(((5, 5),)),
        ObjectPrompt((), (), BOXES[0]),
        ObjectPrompt(((15, 15),)),
        ObjectPrompt(((5, 5),), ((9, 9),), BOXES[0]),
        ObjectPrompt(((25, 35),)),
    ]
    together = decode_objects(predictor, embedding, objects)
    assert together.low_res_logits.shape == (5, 1, *embedding.frame.low_res)
    for i, one in enumerate(objects):
        alone = decode_objects(predictor, embedding, [one])
        np.testing.assert_allclose(together.scores[i], alone.scores[0], atol=1e-4)
        np.testing.assert_allclose(
            together.low_res_logits[i],
            alone.low_res_logits[0],
            atol=1e-3 * alone.low_res_logits.std(),
        )
