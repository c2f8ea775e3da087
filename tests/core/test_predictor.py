"""Predictor: any image, any prompt, any thread; on an untrained network, seeded."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_sam.core.predictor import MaskPrediction, Predictor, check_inside, load_predictor
from napari_sam.core.prompts import Prompts
from napari_sam.core.registry import get_spec
from napari_sam.core.runtime import choose_runtime
from napari_sam.errors import ImageError, PromptError, UnknownModelError, WeightsError
from tests.untrained import untrained_model

SPEC = get_spec("tiny")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(untrained_model(), SPEC, runtime=choose_runtime("cpu"))


def picture(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4000, shape, dtype=np.uint16)


def click(y: float, x: float) -> Prompts:
    return Prompts(points=[[[y, x]]], point_labels=[[1]])


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 200), (200, 1), (7, 9), (15, 33, 2), (64, 80, 3), (90, 64, 4), (70, 60, 5),
     (300, 500), (2048, 1500)],
)  # fmt: skip
def test_masks_have_the_images_size(predictor: Predictor, shape: tuple[int, ...]) -> None:
    embedding = predictor.encode(picture(*shape))
    assert embedding.model_name == "tiny"
    assert embedding.features.shape[0] == 1
    assert torch.isfinite(embedding.features).all()
    prediction = predictor.decode(embedding, click(shape[0] // 2, shape[1] // 2))
    assert prediction.low_res_logits.shape == (1, 3, *embedding.frame.low_res)
    assert prediction.low_res_logits.dtype == np.float32
    assert prediction.scores.shape == (1, 3)
    assert prediction.masks().shape == (1, 3, *shape[:2])
    assert prediction.mask(0).shape == shape[:2]
    assert np.isfinite(prediction.low_res_logits).all()


@pytest.mark.parametrize("fill", [0, 9, np.nan])
def test_constant_images_give_finite_answers(predictor: Predictor, fill: float) -> None:
    embedding = predictor.encode(np.full((40, 50), fill))
    assert np.isfinite(predictor.decode(embedding, click(20, 20)).low_res_logits).all()


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kinds", ["points", "boxes", "points boxes", "boxes mask", "points mask"])
def test_many_objects_at_once_are_each_as_alone(
    predictor: Predictor, kinds: str, multimask: bool
) -> None:
    embedding = predictor.encode(picture(160, 200))
    rng = np.random.default_rng(1)
    given = {
        "points": rng.uniform(0, 100, (3, 2, 2)),
        "point_labels": np.array([[1, 0], [1, -1], [1, 1]]),
        "boxes": np.array([[5, 5, 40, 60], [10, 20, 90, 99], [0, 0, 99, 139]]),
        "mask_logits": rng.normal(size=(3, *embedding.frame.low_res)) * 5,
    }
    chosen = {
        name: value
        for name, value in given.items()
        if name.split("_")[0].removesuffix("s")
        in [kind.removesuffix("s") for kind in kinds.split()]
    }
    together = predictor.decode(embedding, Prompts(**chosen), multimask=multimask)
    assert together.scores.shape == (3, 3 if multimask else 1)
    for i in range(3):
        one = Prompts(**{name: value[i : i + 1] for name, value in chosen.items()})
        alone = predictor.decode(embedding, one, multimask=multimask)
        spread = alone.low_res_logits.std()
        np.testing.assert_allclose(
            together.low_res_logits[i], alone.low_res_logits[0], atol=1e-3 * spread
        )
        np.testing.assert_allclose(together.scores[i], alone.scores[0], atol=1e-4)


def test_the_prompt_matters(predictor: Predictor) -> None:
    embedding = predictor.encode(picture(100, 140))
    answers = [
        predictor.decode(embedding, prompts).low_res_logits
        for prompts in (click(20, 20), click(80, 120), Prompts(boxes=[[10, 10, 50, 50]]))
    ]
    spread = answers[0].std()
    assert np.abs(answers[0] - answers[1]).max() > 0.01 * spread
    assert np.abs(answers[0] - answers[2]).max() > 0.01 * spread


def test_threads_share_a_predictor(predictor: Predictor) -> None:
    images = [picture(60 + 10 * i, 90, seed=i) for i in range(4)]

    def work(image: np.ndarray) -> MaskPrediction:
        return predictor.decode(predictor.encode(image), click(20, 30))

    serial = [work(image) for image in images]
    with ThreadPoolExecutor(2) as pool:
        parallel = list(pool.map(work, images * 2))
    for one, other in zip(serial * 2, parallel, strict=True):
        np.testing.assert_allclose(one.low_res_logits, other.low_res_logits, rtol=1e-4, atol=1e-5)
        assert one.frame == other.frame


def test_encoding_again_gives_the_same_bits(predictor: Predictor) -> None:
    image = picture(80, 70)
    first, second = predictor.encode(image), predictor.encode(image.copy())
    assert torch.equal(first.features, second.features)


def test_a_mask_is_taken_at_low_res_and_at_the_images_size(predictor: Predictor) -> None:
    embedding = predictor.encode(picture(100, 140))
    for size in (embedding.frame.low_res, (100, 140)):
        prompts = Prompts(points=[[[5, 5]]], point_labels=[[1]], mask_logits=np.zeros((1, *size)))
        assert predictor.decode(embedding, prompts).scores.shape == (1, 3)
    with pytest.raises(PromptError, match=r"they must be low-res .* or of its own size"):
        predictor.decode(embedding, Prompts(mask_logits=np.zeros((1, 17, 19))))


def test_prediction_can_be_fed_back(predictor: Predictor) -> None:
    embedding = predictor.encode(picture(100, 140))
    first = predictor.decode(embedding, click(50, 50))
    refined = Prompts(
        points=[[[50, 50], [10, 10]]],
        point_labels=[[1, 0]],
        mask_logits=first.low_res_logits[:, first.best()[0]],
    )
    assert predictor.decode(embedding, refined, multimask=False).masks().shape == (1, 1, 100, 140)


def test_intensity_and_channels_reach_the_picture(predictor: Predictor) -> None:
    image = picture(64, 64, 2)
    by_channel = [predictor.encode(image, channels=(c,)).features for c in (0, 1)]
    assert not torch.equal(*by_channel)
    same = predictor.encode(image[..., 1]).features
    assert torch.equal(by_channel[1], same)
    with pytest.raises(ImageError):
        predictor.encode(image, intensity="as_is")


@pytest.mark.parametrize(("y", "x"), [(-0.6, 5), (5, -0.6), (39.6, 5), (5, 59.6)])
def test_points_outside_the_image_are_refused(predictor: Predictor, y: float, x: float) -> None:
    embedding = predictor.encode(picture(40, 60))
    with pytest.raises(PromptError, match=r"lies outside the image of 40 x 60 pixels"):
        predictor.decode(embedding, click(y, x))


def test_the_half_pixel_around_the_image_belongs_to_it() -> None:
    for y, x in ((-0.5, -0.5), (39.5, 59.5)):
        check_inside(click(y, x), (40, 60))


def test_a_padding_point_may_lie_anywhere() -> None:
    prompts = Prompts(points=[[[5, 5], [-9, 999]]], point_labels=[[1, -1]])
    check_inside(prompts, (40, 60))


def test_boxes_may_reach_over_the_edge_but_must_touch_the_image() -> None:
    check_inside(Prompts(boxes=[[-10, -10, 100, 100]]), (40, 60))
    with pytest.raises(PromptError, match=r"box .* outside"):
        check_inside(Prompts(boxes=[[0, 0, 5, 5], [50, 0, 70, 20]]), (40, 60))


def test_an_embedding_of_another_model_is_refused(predictor: Predictor) -> None:
    other = Predictor(predictor._model, get_spec("vit_b"), runtime=predictor.runtime)
    embedding = predictor.encode(picture(40, 60))
    with pytest.raises(PromptError, match="made by model 'tiny', this is 'vit_b'"):
        other.decode(embedding, click(5, 5))


def test_labels_number_objects_and_the_surer_one_stays_on_top() -> None:
    from napari_sam.core.frame import Frame

    frame = Frame.fit((16, 16), least=16, most=16, multiple=16, mask_stride=4)
    low = np.full((2, 1, 4, 4), -5, np.float32)
    low[0, 0, :, :3] = 5
    low[1, 0, :, 1:] = 5
    scores = np.array([[0.9], [0.5]], np.float32)
    labels = MaskPrediction(low, scores, frame).to_labels()
    assert labels.dtype == np.uint32
    assert set(np.unique(labels)) <= {0, 1, 2}
    assert labels[8, 8] == 1
    assert labels[8, 15] == 2
    swapped = MaskPrediction(low, scores[::-1].copy(), frame).to_labels()
    assert swapped[8, 8] == 2
    assert swapped[8, 0] == 1


def test_unknown_models_and_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="Did you mean 'vit_b'"):
        load_predictor("vitb")
    with pytest.raises(WeightsError, match=r"nowhere\.pth"):
        load_predictor("tiny", weights=tmp_path / "nowhere.pth")
