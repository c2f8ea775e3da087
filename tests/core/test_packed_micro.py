"""The packed form of the bundled model gives the plain modules' numbers, for every prompt."""

import copy
import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_sam.core import packed_micro
from napari_sam.core.modeling.common import EncodedImage
from napari_sam.core.modeling.micro import MicroSam
from napari_sam.core.network import load_model
from napari_sam.core.packed_micro import PackedMicroSam, pack_micro
from napari_sam.core.packed_micro_encoder import attend_in_slabs, pack_micro_encoder
from napari_sam.core.predictor import load_predictor
from napari_sam.core.prompts import Prompts
from napari_sam.core.registry import get_spec
from tests.core.modeling.test_micro import SMALL

CANVAS = (48, 80)
NOTHING = {"points": None, "labels": None, "boxes": None, "mask": None}
CLICK = {"points": torch.tensor([[[33.0, 20.0]]]), "labels": torch.tensor([[1]])}
CLICKS = {
    "points": torch.tensor([[[33.0, 20.0], [5.0, 40.0], [70.5, 9.0], [0.0, 0.0]]]),
    "labels": torch.tensor([[1, 0, 1, -1]]),
}
BOX = {"boxes": torch.tensor([[8.0, 6.0, 50.0, 33.0]])}
MASK = {"mask": 8 * torch.randn(1, 1, 12, 20, generator=torch.Generator().manual_seed(1))}
PROMPTS = {
    "click": CLICK,
    "clicks": CLICKS,
    "background click": {**CLICK, "labels": torch.tensor([[0]])},
    "box": BOX,
    "box and clicks": CLICKS | BOX,
    "mask": MASK,
    "click and mask": CLICK | MASK,
    "all": CLICKS | BOX | MASK,
}


@pytest.fixture(scope="module")
def plain() -> MicroSam:
    torch.manual_seed(0)
    model = MicroSam(SMALL).eval().requires_grad_(False)
    for parameter in model.parameters():  # zeros at the start would hide errors
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture
def packed(plain: MicroSam) -> PackedMicroSam:
    model = copy.deepcopy(plain)
    pack_micro_encoder(model.image_encoder, dtype=torch.float32)
    return PackedMicroSam(model)


@pytest.fixture(scope="module")
def encoded(plain: MicroSam) -> EncodedImage:
    picture = torch.rand(1, 3, *CANVAS, generator=torch.Generator().manual_seed(2)) * 255
    return plain.encode_image(picture, canvas=CANVAS)


def assert_same(got: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    assert got[0].shape == expected[0].shape
    assert (got[0] - expected[0]).abs().max() <= 1e-4 * expected[0].std()
    torch.testing.assert_close(got[1], expected[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", PROMPTS)
def test_same_masks_and_scores(
    plain: MicroSam, packed: PackedMicroSam, encoded: EncodedImage, kind: str, multimask: bool
):
    prompt = NOTHING | PROMPTS[kind]
    expected = plain.decode(encoded, **prompt, multimask=multimask)
    for _ in range(2):  # the second time with memory and image side of the first
        assert_same(packed.decode(encoded, **prompt, multimask=multimask), expected)


@pytest.mark.parametrize("count", [1, 5, 64])
def test_same_for_batches(
    plain: MicroSam, packed: PackedMicroSam, encoded: EncodedImage, count: int
):
    torch.manual_seed(count)
    prompt = NOTHING | {
        "points": torch.rand(count, 2, 2) * 48,
        "labels": torch.randint(-1, 2, (count, 2)),
        "mask": torch.randn(count, 1, 12, 20),
    }
    expected = plain.decode(encoded, **prompt, multimask=True)
    assert_same(packed.decode(encoded, **prompt, multimask=True), expected)


def test_slices_of_any_size_give_the_same(
    plain: MicroSam,
    packed: PackedMicroSam,
    encoded: EncodedImage,
    monkeypatch: pytest.MonkeyPatch,
):
    expected = plain.decode(encoded, **(NOTHING | CLICK), multimask=True)
    for size in (7, 59, 60, 61):
        monkeypatch.setattr(packed_micro, "CELLS_AT_ONCE", size)
        assert_same(packed.decode(encoded, **(NOTHING | CLICK), multimask=True), expected)


def test_images_of_different_sizes_in_turn(plain: MicroSam, packed: PackedMicroSam):
    images = [
        plain.encode_image(torch.rand(1, 3, *size) * 255, canvas=size)
        for size in ((32, 48), (64, 32), (32, 48), (16, 16))
    ]
    for image in [*images, *images]:
        expected = plain.decode(image, **(NOTHING | CLICK), multimask=True)
        assert_same(packed.decode(image, **(NOTHING | CLICK), multimask=True), expected)


@pytest.mark.parametrize("canvas", [(48, 80), (160, 96)])
def test_same_embedding(plain: MicroSam, packed: PackedMicroSam, canvas: tuple[int, int]):
    """The second canvas has windows that are cut at its border."""
    picture = torch.rand(1, 3, canvas[0] - 5, canvas[1] - 9) * 255
    expected = plain.encode_image(picture, canvas=canvas)
    got = packed.encode_image(picture, canvas=canvas)
    for one, other in zip(got, expected, strict=True):
        assert (one - other).abs().max() <= 1e-4 * other.std()


def test_bfloat16_is_near(plain: MicroSam):
    packed = copy.deepcopy(plain)
    pack_micro_encoder(packed.image_encoder, dtype=torch.bfloat16)
    size = (288, 304)  # more tokens than global attention takes at once
    picture = torch.rand(1, 3, *size) * 255
    expected = plain.encode_image(picture, canvas=size)
    for got, exact in zip(packed.encode_image(picture, canvas=size), expected, strict=True):
        assert got.dtype == torch.float32
        assert (got - exact).std() <= 0.02 * exact.std()


def test_slabs_are_attention():
    q, k, v = torch.randn(3, 2, 3, 300, 8)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(attend_in_slabs(q, k, v), expected, rtol=1e-4, atol=1e-5)


def test_poor_candidates_are_emptied(
    plain: MicroSam, packed: PackedMicroSam, encoded: EncodedImage
):
    for model in (plain, packed):
        logits, scores = model.decode(encoded, **(NOTHING | CLICK), multimask=True)
        least = scores.median().item()
        kept, same = model.decode(encoded, **(NOTHING | CLICK), multimask=True, least_score=least)
        poor = scores <= least
        assert poor.any() and not poor.all()
        assert torch.equal(same, scores)
        assert torch.equal(kept[~poor], logits[~poor])
        assert (kept[poor] == -32).all()


def test_an_image_side_goes_with_its_embedding(packed: PackedMicroSam):
    image = packed.encode_image(torch.rand(1, 3, 32, 32) * 255, canvas=(32, 32))
    packed.decode(image, **(NOTHING | CLICK), multimask=True)
    assert len(packed.decoder.sides) == 1
    del image
    gc.collect()
    assert len(packed.decoder.sides) == 0


def test_threads_do_not_disturb_each_other(plain: MicroSam, packed: PackedMicroSam):
    images = [
        plain.encode_image(torch.rand(1, 3, *size) * 255, canvas=size)
        for size in ((32, 48), (32, 48), (64, 32))
    ]
    expected = [plain.decode(i, **(NOTHING | CLICK), multimask=True) for i in images]

    def decode(number: int) -> tuple[Tensor, Tensor]:
        return packed.decode(images[number], **(NOTHING | CLICK), multimask=True)

    order = [0, 1, 2, 1, 0, 2] * 5
    with ThreadPoolExecutor(2) as pool:
        for number, got in zip(order, pool.map(decode, order), strict=True):
            assert_same(got, expected[number])


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("count", [1, 2, 12])  # eight tokens; more than a compiled pass takes
def test_the_bundled_weights_give_the_same_masks(count: int):
    spec = get_spec("tiny")
    plain = load_model(spec).requires_grad_(False)
    predictor = load_predictor("tiny", device="cpu")
    y, x = np.mgrid[:96, :128]
    image = 200.0 * ((y - 40) ** 2 + (x - 50) ** 2 < 300) + 3 * np.sin(x)
    embedding = predictor.encode(image)
    points = np.array([[[40 + 2 * i, 50 - 2 * i] for i in range(count)]], np.float32) % 90
    signs = [[int(i < 6) for i in range(count)]]
    click = Prompts(points=points, point_labels=signs)
    got = predictor.decode(embedding, click)
    assert predictor.decode(embedding, click).mask(0)[40, 50]
    point = torch.from_numpy(embedding.frame.points_to_model(points))
    logits, scores = plain.decode(
        EncodedImage(embedding.features, embedding.skip),
        **(NOTHING | {"points": point, "labels": torch.tensor(signs)}),
        multimask=True,
    )
    assert np.abs(got.scores - scores.numpy()).max() <= 1e-4
    removed = got.low_res_logits == -1  # by drop_fragments
    difference = np.abs(got.low_res_logits - logits.numpy())[~removed]
    assert difference.max() <= 1e-4 * logits.std()


def test_only_the_bundled_model_is_packed(plain: MicroSam):
    other = torch.nn.Linear(2, 2)
    assert pack_micro(other) is other
    assert isinstance(pack_micro(copy.deepcopy(plain)), PackedMicroSam)


def test_no_two_threads_get_the_same_workspace(packed: PackedMicroSam):
    """A workspace that two prompts write into at once gives masks of neither."""
    cells = torch.zeros(6, 4)

    def take(_: int) -> int:
        workspace = packed.decoder._take_workspace(cells)
        number = id(workspace)
        assert number not in taken
        taken.add(number)
        taken.remove(number)
        packed.decoder._spare.append(workspace)
        return number

    taken: set[int] = set()
    first, second = (packed.decoder._take_workspace(cells) for _ in range(2))
    assert first is not second
    packed.decoder._spare.extend([first, second])
    assert packed.decoder._take_workspace(cells) is not packed.decoder._take_workspace(cells)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take, range(2000)))
