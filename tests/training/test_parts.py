"""The smaller parts of the trainer: optimiser, dropped blocks, networks behind one face, rounds."""

import math

import pytest
import torch

from napari_sam.core.modeling.micro import MicroSam
from napari_sam.core.modeling.sam import build_sam
from napari_sam.errors import TrainingError
from napari_sam.training.optimizer import layer_depths, learning_rate, parameter_groups
from napari_sam.training.params import TrainParams
from napari_sam.training.regularise import DropPath, encoder_blocks, recompute_blocks
from napari_sam.training.rounds import draw_rounds
from napari_sam.training.trainee import trainee_of
from tests.training.small import SMALL, SMALL_SAM


def sam() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_sam(SMALL_SAM)


def test_earlier_layers_learn_slower_and_vectors_do_not_decay():
    model = sam()
    depths = layer_depths(model)
    assert depths["image_encoder.patch_embed.proj.weight"] == depths["image_encoder.pos_embed"] == 0
    assert depths["image_encoder.blocks.1.mlp.lin1.weight"] == 2
    assert depths["mask_decoder.iou_token.weight"] == depths["image_encoder.neck.0.weight"] == 3
    groups = parameter_groups(model, TrainParams(layer_decay=0.5, weight_decay=0.1))
    assert {g["scale"] for g in groups} == {1.0, 0.5, 0.25, 0.125}
    assert all((p.ndim > 1) == (g["weight_decay"] > 0) for g in groups for p in g["params"])
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))


def test_what_is_frozen_is_in_no_group():
    model = sam()
    model.image_encoder.requires_grad_(False)
    groups = parameter_groups(model, TrainParams())
    learning = [p for p in model.parameters() if p.requires_grad]
    assert sum(len(g["params"]) for g in groups) == len(learning)


def test_the_learning_rate_rises_then_falls_to_a_fiftieth():
    params = TrainParams(learning_rate=1.0, warmup_steps=10)
    assert learning_rate(params, 4, 0.0) == pytest.approx(0.5)
    assert learning_rate(params, 99, 0.0) == 1
    assert learning_rate(params, 99, 0.5) == pytest.approx(0.51)
    assert learning_rate(params, 99, 1.0) == pytest.approx(0.02)


@pytest.mark.parametrize("model", [lambda: MicroSam(SMALL), sam])
def test_blocks_are_skipped_image_by_image_in_training_alone(model):
    network = model()
    blocks = list(encoder_blocks(network.image_encoder))
    assert len(blocks) == (3 if isinstance(network, MicroSam) else 2)
    drop = DropPath(network.image_encoder, 0.999)
    drop.seed(0)
    x = torch.randn(4, 4, 4, blocks[-1].norm1.weight.shape[0])
    last = blocks[-1].train()
    assert torch.equal(last(x), x)  # skipped with a chance of 0.999
    assert not torch.equal(blocks[0].train()(x), x)  # the first never is
    assert not torch.equal(last.eval()(x), x)


def test_the_mean_over_skips_is_the_block():
    network = MicroSam(SMALL)
    drop = DropPath(network.image_encoder, 0.5)
    drop.seed(1)
    last = list(encoder_blocks(network.image_encoder))[-1]
    x = torch.randn(1, 4, 4, 32).expand(4000, -1, -1, -1)
    whole = last.eval()(x[:1])
    torch.testing.assert_close(last.train()(x).mean(0), whole[0], atol=0.05, rtol=0.1)


def test_recomputing_changes_no_gradient():
    gradients = []
    for again in (False, True):
        torch.manual_seed(0)
        network = MicroSam(SMALL)
        if again:
            recompute_blocks(network.image_encoder)
        torch.manual_seed(1)
        encoded = network.encode_image(torch.rand(1, 3, 64, 64) * 255, canvas=(64, 64))
        encoded.features.square().sum().backward()
        gradients.append(network.image_encoder.blocks[0].mlp.lin1.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_sam_behind_the_face_answers_as_itself():
    """A box with a click, a click, and a mask alone, on two images."""
    network = sam().eval()
    trainee = trainee_of(network)
    images = torch.rand(2, 3, 64, 64) * 255
    with torch.no_grad():
        encoded = trainee.encode(images)
        boxed_and_clicked = [[8.5, 9.5], [40.5, 50.5], [20.5, 30.5]]
        points = torch.tensor([boxed_and_clicked, [[5.5, 6.5], [0, 0], [0, 0]]])
        labels = torch.tensor([[2, 3, 1], [1, -1, -1]])
        mask = torch.randn(2, 1, 16, 16)
        owner = torch.tensor([1, 0])
        logits, scores = trainee.decode(encoded, owner, points, labels, mask, torch.zeros(2))
        assert logits.shape == (2, 4, 16, 16) and scores.shape == (2, 4)
        for multimask, part in ((False, slice(0, 1)), (True, slice(1, 4))):
            alone = network.encode_image(images[1:], canvas=(64, 64))
            boxed, _ = network.decode(
                alone,
                points=torch.tensor([[[20.0, 30.0]]]),
                labels=torch.tensor([[1]]),
                boxes=torch.tensor([[8.0, 9.0, 40.0, 50.0]]),
                mask=mask[:1],
                multimask=multimask,
            )
            torch.testing.assert_close(logits[:1, part], boxed)
            alone = network.encode_image(images[:1], canvas=(64, 64))
            clicked, _ = network.decode(
                alone,
                points=torch.tensor([[[5.0, 6.0]]]),
                labels=torch.tensor([[1]]),
                boxes=None,
                mask=mask[1:],
                multimask=multimask,
            )
            torch.testing.assert_close(logits[1:, part], clicked)
        nothing = torch.full((1, 1), -1)
        logits, _ = trainee.decode(
            encoded, owner[1:], torch.zeros(1, 1, 2), nothing, mask[:1], torch.zeros(2)
        )
        assert logits.isfinite().all()


def test_other_networks_are_refused():
    with pytest.raises(TrainingError, match="Linear"):
        trainee_of(torch.nn.Linear(1, 1))


def test_eleven_rounds_have_two_without_a_click_one_of_them_last():
    generator = torch.Generator().manual_seed(0)
    params = TrainParams(first_rounds=9, last_rounds=9, mask_only_rounds=2)
    places = set()
    for _ in range(60):
        rounds = draw_rounds(params, 0.0, generator)
        assert len(rounds) == 11 and rounds.count(False) == 2
        assert rounds[0] and not rounds[-1]
        places.add(rounds.index(False))
    assert len(places) > 5


def test_rounds_grow_along_the_run():
    generator = torch.Generator().manual_seed(0)
    params = TrainParams(first_rounds=2, last_rounds=6)
    means = [
        sum(len(draw_rounds(params, fraction, generator)) for _ in range(200)) / 200
        for fraction in (0.0, 1.0)
    ]
    assert math.isclose(means[0], 1.5, abs_tol=0.3) and math.isclose(means[1], 5.5, abs_tol=0.3)
