"""What the bundled model's score head sees of a mask."""

import pytest
import torch

from napari_sam.core.modeling.micro_score_head import (
    ScoreHead,
    agreement,
    gather_evidence,
    mask_regions,
    mask_statistics,
    pool_features,
)


def square(low: float = -20.0, high: float = 20.0) -> torch.Tensor:
    """(1, 1, 16, 16) logits of a mask of 8 x 8 cells."""
    logits = torch.full((1, 1, 16, 16), low)
    logits[..., 4:12, 4:12] = high
    return logits


def test_regions_of_a_square():
    inside, ring, border = mask_regions(square())[0, :, 0]
    assert inside.sum() == 64
    assert ring.sum() == 12 * 12 - 64  # two cells around it
    assert border.sum() == 10 * 10 - 6 * 6  # one cell on either side
    assert not (inside * ring).any()


def test_regions_of_an_empty_mask_and_of_one_without_an_outside():
    assert not mask_regions(square(high=-20.0)).any()
    inside, ring, border = mask_regions(square(low=20.0))[0, :, 0]
    assert inside.all() and not ring.any() and not border.any()


def test_features_are_averaged_over_each_region():
    fine = torch.arange(6.0).view(1, 3, 2)
    regions = torch.tensor([[[1.0, 0, 1], [0, 0, 0]]])
    assert torch.equal(pool_features(regions, fine), torch.tensor([[[2.0, 3], [0, 0]]]))


def test_agreement_with_the_others_best_first():
    masks = torch.zeros(1, 3, 4, 4)
    masks[0, 0, :2] = masks[0, 1, :2] = 1
    masks[0, 2, 1:] = 1  # one row in common with the others, four in all
    assert torch.equal(agreement(masks)[0], torch.tensor([[1, 0.25], [1, 0.25], [0.25, 0.25]]))
    assert not agreement(torch.zeros(1, 3, 4, 4)).any()


def test_statistics_of_sharp_soft_and_empty_masks():
    sharp, soft = square(), square(low=-0.5, high=0.5)
    size, stability, inside, undecided, exists = mask_statistics(sharp, mask_regions(sharp))[
        0, 0, :5
    ]
    assert (stability, undecided, exists) == (1, 0, 1)
    assert inside == pytest.approx(1)
    assert size == pytest.approx(torch.tensor(65.0).log().item() / 8)
    assert mask_statistics(soft, mask_regions(soft))[0, 0, 1] == 0
    empty = square(high=-20.0)
    assert mask_statistics(empty, mask_regions(empty)).abs().max() < 1e-6


def test_what_the_head_scales_by_is_in_its_weights():
    head = ScoreHead(8, 4, 2).eval()
    logits = torch.randn(3, 2, 8, 8)
    regions = mask_regions(logits)
    pooled = pool_features(regions.flatten(3).flatten(1, 2), torch.randn(3, 64, 4))
    evidence = gather_evidence(
        torch.randn(3, 8), torch.randn(3, 2, 8), logits, regions, pooled.unflatten(1, (3, 2))
    )
    before = head(evidence)
    assert before.shape == (3, 2) and before.min() > 0 and before.max() < 1
    head.load_state_dict(head.state_dict() | {"input_mean": evidence.mean((0, 1))})
    assert not torch.equal(head(evidence), before)
