import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.core.architecture import MicroConfig
from napari_sam.core.modeling.micro import MicroSam, best_answers, join_boxes
from napari_sam.core.modeling.micro_encoder import EncoderBlock
from napari_sam.core.modeling.micro_prompt_encoder import PixelPositions, cell_centres
from napari_sam.core.registry import get_spec

SMALL = MicroConfig(
    stage_dims=(8, 12, 16),
    stage_depths=(0, 1, 1),
    embed_dim=24,
    depth=3,
    num_heads=2,
    window_size=3,
    out_chans=16,
    skip_chans=8,
    mask_in_chans=4,
    decoder_depth=2,
    decoder_num_heads=2,
)


@pytest.fixture(scope="module")
def model() -> MicroSam:
    torch.manual_seed(0)
    built = MicroSam(SMALL).eval().requires_grad_(False)
    for parameter in built.parameters():  # zeros at the start would hide errors
        parameter.add_(0.05 * torch.randn_like(parameter))
    return built


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6))
def test_any_multiple_of_16_is_encoded(model: MicroSam, rows: int, columns: int):
    height, width = 16 * rows, 16 * columns
    picture = torch.rand(1, 3, height, width) * 255
    encoded = model.encode_image(picture, canvas=(height, width))
    assert encoded.features.shape == (1, 16, height // 8, width // 8)
    assert encoded.skip is not None
    assert encoded.skip.shape == (1, 8, height // 4, width // 4)


def test_padding_repeats_the_edge(model: MicroSam):
    picture = torch.rand(1, 3, 30, 41) * 255
    by_hand = torch.cat([picture, picture[..., -1:].expand(-1, -1, -1, 7)], -1)
    by_hand = torch.cat([by_hand, by_hand[..., -1:, :].expand(-1, -1, 2, -1)], -2)
    padded = model.encode_image(picture, canvas=(32, 48))
    expected = model.encode_image(by_hand, canvas=(32, 48))
    torch.testing.assert_close(padded.features, expected.features)


@pytest.mark.parametrize("multimask", [True, False])
def test_a_batch_of_objects_equals_one_by_one(model: MicroSam, multimask: bool):
    encoded = model.encode_image(torch.rand(1, 3, 48, 64) * 255, canvas=(48, 64))
    points = torch.rand(5, 2, 2) * 48
    labels = torch.tensor([[1, 0], [1, -1], [1, 1], [0, 1], [1, -1]])
    mask = torch.randn(5, 1, 12, 16)
    together = model.decode(
        encoded, points=points, labels=labels, boxes=None, mask=mask, multimask=multimask
    )
    assert together[0].shape == (5, 3 if multimask else 1, 12, 16)
    for i in range(5):
        alone = model.decode(
            encoded,
            points=points[i : i + 1],
            labels=labels[i : i + 1],
            boxes=None,
            mask=mask[i : i + 1],
            multimask=multimask,
        )
        torch.testing.assert_close(together[0][i : i + 1], alone[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(together[1][i : i + 1], alone[1], rtol=1e-4, atol=1e-4)


def test_prompts_of_several_images_at_once(model: MicroSam):
    """Training decodes many images together: each prompt sees its own image only."""
    pictures = torch.rand(2, 3, 32, 32) * 255
    both = model.encode_image(pictures, canvas=(32, 32))
    points, labels = torch.rand(3, 2, 2) * 32, torch.tensor([[1, -1]] * 3)
    index = torch.tensor([1, 0, 1])
    together, _ = model.decode_batch(both, index, points, labels)
    for i in range(3):
        picture = pictures[index[i]][None]
        single = model.encode_image(picture, canvas=(32, 32))
        alone, _ = model.decode_batch(
            single, torch.zeros(1, dtype=torch.long), points[i : i + 1], labels[i : i + 1]
        )
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-4)


def test_every_prompt_kind_changes_the_answer(model: MicroSam):
    encoded = model.encode_image(torch.rand(1, 3, 32, 32) * 255, canvas=(32, 32))
    point = {"points": torch.tensor([[[9.0, 9.0]]]), "labels": torch.tensor([[1]])}
    box = torch.tensor([[4.0, 4.0, 20.0, 20.0]])
    mask = torch.randn(1, 1, 8, 8)
    nothing = {"points": None, "labels": None, "boxes": None, "mask": None}
    kinds = [point, {"boxes": box}, {"mask": mask}, point | {"boxes": box}, point | {"mask": mask}]
    answers = [model.decode(encoded, **(nothing | kind), multimask=True)[0] for kind in kinds]
    for i, first in enumerate(answers):
        for second in answers[i + 1 :]:
            assert not torch.allclose(first, second, atol=1e-3)


def test_boxes_become_labelled_corners_and_points_get_a_padding_token():
    points, labels = join_boxes(None, None, torch.tensor([[1.0, 2.0, 5.0, 6.0]]), None)
    assert points.tolist() == [[[1.5, 2.5], [5.5, 6.5]]]
    assert labels.tolist() == [[2, 3]]
    points, labels = join_boxes(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[1]]), None, None)
    assert labels.tolist() == [[1, -1]]
    assert points.shape == (1, 2, 2)


def test_windows_are_independent_of_each_other():
    torch.manual_seed(0)
    block = EncoderBlock(8, 2, window_size=4).eval().requires_grad_(False)
    tokens = torch.randn(1, 8, 12, 8)
    changed = tokens.clone()
    changed[:, 4:, 8:] += 1
    difference = (block(tokens) - block(changed)).abs().sum(-1)[0]
    assert (difference[:4] == 0).all()
    assert (difference[4:, :8] == 0).all()
    assert (difference[4:, 8:] > 0).all()


def test_positions_are_bounded_and_tell_pixels_apart():
    layer = PixelPositions(32)
    features = layer(cell_centres((8, 8), 1, torch.device("cpu")))
    assert features.abs().max() <= 1
    distance = torch.cdist(features, features) + 9 * torch.eye(64)
    assert distance.min() > 1e-2


def test_the_answer_is_the_best_mask_where_one_is_clearly_best():
    logits = torch.randn(2, 4, 8, 8)
    scores = torch.tensor([[0.2, 0.1, 0.0, 0.95], [0.05, 0.1, 0.9, 0.2]])
    answers, said = best_answers(logits, scores, multimask=True)
    torch.testing.assert_close(answers[:, 0], logits[[0, 1], [3, 2]], atol=1e-4, rtol=0)
    assert torch.equal(answers[0, 1:], logits[0, [0, 1]])
    assert torch.equal(answers[1, 1:], logits[1, [3, 1]])
    assert torch.equal(said, torch.tensor([[0.95, 0.2, 0.1], [0.9, 0.2, 0.1]]))


def test_masks_that_are_equally_good_are_averaged():
    logits = torch.randn(1, 4, 8, 8)
    answers, said = best_answers(logits, torch.full((1, 4), 0.8), multimask=False)
    weights = torch.tensor([0.4, 0, 0, 0]).softmax(0)
    torch.testing.assert_close(answers[0, 0], (weights[:, None, None] * logits[0]).sum(0))
    assert torch.equal(said, torch.tensor([[0.8]]))


def test_the_shipped_architecture_has_the_stated_size():
    architecture = get_spec("tiny").architecture
    assert isinstance(architecture, MicroConfig)
    parameters = sum(p.numel() for p in MicroSam(architecture).parameters())
    assert 6.5e6 < parameters < 7e6
