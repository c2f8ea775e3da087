"""Closer looks: which objects, where, and that their masks come back to the image's pixels."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from napari_sam.core.closer_look import AROUND, LOOKS_KEPT, SMALL, closer_look, prompts_in
from napari_sam.core.detail import Detail
from napari_sam.core.frame import EMPTY_LOGIT, Frame
from napari_sam.core.modeling.common import EncodedImage
from napari_sam.core.object_prompts import ObjectPrompt, decode_objects
from napari_sam.core.predictor import Predictor
from napari_sam.core.prompts import Prompts
from napari_sam.core.registry import get_spec
from napari_sam.core.runtime import choose_runtime

SIDE = 1280  # of a picture that the model sees at 0.8 of its size: 1024


@dataclass
class Bright:
    """A network whose masks are what is bright, and which is sure of what it sees large."""

    encoded: int = 0

    def encode_image(self, picture_13HW: Tensor, *, canvas: tuple[int, int]) -> EncodedImage:
        self.encoded += 1
        height, width = picture_13HW.shape[-2:]
        padded = torch.zeros(1, 1, *canvas)
        padded[..., :height, :width] = picture_13HW[:, :1] - 100
        return EncodedImage(torch.nn.functional.avg_pool2d(padded, 4), None)

    def decode(
        self,
        encoded: EncodedImage,
        *,
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None,
        mask: Tensor | None,
        multimask: bool,
        least_score: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        asked = boxes if boxes is not None else points
        assert asked is not None
        count = 3 if multimask else 1
        logits = encoded.features.expand(len(asked), count, -1, -1)
        share = (logits[:, 0] > 0).float().mean((1, 2)) ** 0.5  # the larger it looks, the surer
        return logits.clone(), share[:, None] * torch.linspace(1, 0.8, count)


@pytest.fixture
def network() -> Bright:
    return Bright()


@pytest.fixture
def predictor(network: Bright) -> Predictor:
    return Predictor(network, get_spec("tiny"), runtime=choose_runtime("cpu"))


def square(y: int, x: int, side: int) -> np.ndarray:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[y : y + side, x : x + side] = 200
    return image


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_a_small_object_is_seen_larger_and_its_mask_is_finer(predictor: Predictor) -> None:
    image = square(601, 333, 11)
    truth = image[..., 0] > 0
    click = Prompts(points=[[[606, 338]]], point_labels=[[1]])
    embedding = predictor.encode(image, intensity="as_is")
    closer = predictor.decode(embedding, click)
    plain = predictor.decode(replace(embedding, picture=None), click)
    assert set(closer.details) == {0} and not plain.details
    assert closer.scores.max() > plain.scores.max()
    assert iou(closer.mask(0), truth) > 0.85 > iou(plain.mask(0), truth)
    # All ways to the mask agree, and the cells that are given back show the same object.
    np.testing.assert_array_equal(closer.masks()[0, 0], closer.mask(0, 0))
    np.testing.assert_array_equal(closer.logits(0, 0) > 0, closer.mask(0, 0))
    assert iou(closer.low_res_logits[0, 0] > 0, plain.low_res_logits[0, 0] > 0) >= 0.5


def test_a_large_object_is_not_asked_for_again(predictor: Predictor, network: Bright) -> None:
    embedding = predictor.encode(square(300, 300, 200), intensity="as_is")
    assert not predictor.decode(embedding, Prompts(boxes=[[300, 300, 500, 500]])).details
    assert network.encoded == 1


def test_the_answer_that_expects_less_is_dropped(predictor: Predictor) -> None:
    # A box around nothing bright: neither answer has a mask, and the crop promises no more.
    embedding = predictor.encode(square(300, 300, 200), intensity="as_is")
    assert not predictor.decode(embedding, Prompts(boxes=[[900, 900, 910, 910]])).details


def test_grids_and_other_models_take_no_closer_look(predictor: Predictor) -> None:
    image, prompts = square(601, 333, 11), Prompts(boxes=[[601, 333, 612, 344]])
    embedding = predictor.encode(image, intensity="as_is")
    assert predictor.decode(embedding, prompts).details
    assert not predictor.decode(embedding, prompts, least_score=-np.inf).details
    plain = replace(predictor.spec, looks_closer=False)
    other = Predictor(predictor.network, plain, runtime=predictor.runtime)
    assert other.encode(image, intensity="as_is").picture is None
    assert not get_spec("vit_b").looks_closer


def test_corrections_look_at_the_same_crop_again(predictor: Predictor, network: Bright) -> None:
    embedding = predictor.encode(square(601, 333, 11), intensity="as_is")
    first = predictor.decode(embedding, Prompts(boxes=[[601, 333, 612, 344]]), multimask=False)
    again = Prompts(
        points=[[[604, 335]]],
        point_labels=[[1]],
        boxes=[[601, 333, 612, 344]],
        mask_logits=first.low_res_logits[:, 0],
    )
    assert predictor.decode(embedding, again, multimask=False).details
    assert network.encoded == 2


def test_only_the_last_crops_are_kept_whoever_asks(predictor: Predictor) -> None:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    corners = [(y, x) for y in range(40, 1240, 200) for x in range(40, 1240, 100)]
    for y, x in corners:
        image[y : y + 11, x : x + 11] = 200
    embedding = predictor.encode(image, intensity="as_is")

    def ask(corner: tuple[int, int]) -> bool:
        y, x = corner
        return bool(predictor.decode(embedding, Prompts(boxes=[[y, x, y + 11, x + 11]])).details)

    before = embedding.nbytes
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, corners))
    assert len(corners) > LOOKS_KEPT == len(embedding._looks)
    assert embedding.nbytes > before  # who bounds memory by it sees them


def test_objects_asked_together_keep_their_details(predictor: Predictor) -> None:
    image = np.maximum(square(601, 333, 11), square(40, 1001, 300))
    embedding = predictor.encode(image, intensity="as_is")
    asked = [
        ObjectPrompt(box=(40, 1001, 340, 1279)),
        ObjectPrompt(positive=((606, 338),), box=(601, 333, 612, 344)),
    ]
    answer = decode_objects(predictor, embedding, asked)
    assert set(answer.details) == {1}
    assert iou(answer.mask(1), square(601, 333, 11)[..., 0] > 0) > 0.85


frames = st.sampled_from([(640, 640), (300, 500), (1024, 700), (3000, 2000)])


@given(frames, st.floats(0, 1), st.floats(0, 1), st.floats(1, 200), st.floats(0.2, 1))
def test_a_crop_holds_the_box_with_room_around(
    size: tuple[int, int], down: float, right: float, long: float, slim: float
) -> None:
    frame = Frame.fit(size, least=640, most=1024, multiple=16, mask_stride=4)
    y, x = down * (size[0] - 2), right * (size[1] - 2)
    box = [y, x, min(y + long, size[0] - 0.5), min(x + long * slim, size[1] - 0.5)]
    empty = np.full(frame.low_res, -5, np.float32)
    look = closer_look(Prompts(boxes=[box]), 0, empty, frame)
    longer = max(box[2] - box[0], box[3] - box[1])
    assert (look is not None) == (longer * max(frame.scale) < SMALL)
    if look is None:
        return
    (top, bottom), (left, end) = ((s.start, s.stop) for s in look.region)
    assert 0 <= top < bottom <= size[0] and 0 <= left < end <= size[1]
    assert top <= box[0] + 0.5 and box[2] - 0.5 <= bottom
    assert left <= box[1] + 0.5 and box[3] - 0.5 <= end
    assert max(look.height, look.width) <= longer * AROUND * 2**0.5 + 2


def test_prompts_move_with_the_crop_and_far_clicks_are_left_out() -> None:
    frame = Frame.fit((640, 640), least=640, most=640, multiple=16, mask_stride=4)
    mask = np.full((1, 640, 640), -9, np.float32)
    mask[0, 100:110, 200:210] = 9
    prompts = Prompts(
        points=[[[105, 205], [600, 10], [103, 199]]],
        point_labels=[[1, 0, 0]],
        boxes=[[100, 200, 110, 210]],
        mask_logits=mask,
    )
    look = closer_look(prompts, 0, np.full((160, 160), -1, np.float32), frame)
    assert look is not None
    local = prompts_in(prompts, 0, look, frame)
    assert local.point_labels.tolist() == [[1, -1, 0]]
    np.testing.assert_allclose(local.points[0, [0, 2]], [[105 - look.y, 205 - look.x],
                                                         [103 - look.y, 199 - look.x]])  # fmt: skip
    np.testing.assert_allclose(local.boxes[0, :2], [100 - look.y, 200 - look.x])
    assert local.mask_logits.shape == (1, look.height, look.width)
    assert (local.mask_logits > 0).sum() == 100


def test_a_click_far_from_the_answer_makes_it_large() -> None:
    frame = Frame.fit((640, 640), least=640, most=640, multiple=16, mask_stride=4)
    answer = np.full((160, 160), -1, np.float32)
    answer[50:52, 50:52] = 1
    near = Prompts(points=[[[202, 202]]], point_labels=[[1]])
    far = Prompts(points=[[[202, 202], [400, 400]]], point_labels=[[1, 1]])
    assert closer_look(near, 0, answer, frame) is not None
    assert closer_look(far, 0, answer, frame) is None


@given(st.integers(0, 900), st.integers(0, 900), st.integers(10, 60), st.floats(-9, 9))
def test_cells_are_means_of_what_the_crop_shows(y: int, x: int, side: int, value: float) -> None:
    whole = Frame.fit((1000, 1000), least=640, most=640, multiple=16, mask_stride=4)
    crop = Frame.fit((side, side), least=192, most=192, multiple=16, mask_stride=4)
    detail = Detail(
        (slice(y, y + side), slice(x, x + side)),
        crop,
        np.full((2, *crop.low_res), value, np.float32),
    )
    cells = detail.cells(whole)
    assert cells.shape == (2, *whole.low_res)
    edges = np.arange(whole.low_res[0] + 1) * 4 / whole.scale[0]
    cover = [
        np.clip(np.minimum(edges[1:], start + side) - np.maximum(edges[:-1], start), 0, None)
        / np.diff(edges)
        for start in (y, x)
    ]
    share = np.outer(*cover)
    expected = share * value + (1 - share) * EMPTY_LOGIT
    np.testing.assert_allclose(cells[0], expected, atol=1e-3)
