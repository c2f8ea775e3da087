import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_sam.training.losses import (
    AuxiliaryHead,
    auxiliary_loss,
    dice_loss,
    focal_loss,
    mask_iou,
    roi_mask_loss,
    roi_weights,
    sam_mask_loss,
)


def disc(size: int = 32, radius: float = 8.0) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (((y - size / 2) ** 2 + (x - size / 2) ** 2) < radius**2).float()[None, None]


def test_perfect_logits_cost_nothing_and_wrong_ones_much():
    target = disc()
    right, wrong = (target - 0.5) * 40, (0.5 - target) * 40
    roi = roi_weights(torch.tensor([[32.0, 32.0, 96.0, 96.0]]), (32, 32), 4)
    for loss in (sam_mask_loss(right, target), roi_mask_loss(right, target, roi)):
        assert loss.item() < 1e-3
    for loss in (sam_mask_loss(wrong, target), roi_mask_loss(wrong, target, roi)):
        assert loss.item() > 1


def test_focal_loss_against_its_formula():
    logits, target = torch.tensor([[[[2.0]]]]), torch.tensor([[[[1.0]]]])
    p = torch.sigmoid(logits)
    expected = -0.25 * (1 - p) ** 2 * p.log()
    assert focal_loss(logits, target).item() == pytest.approx(expected.item(), rel=1e-5)


def test_dice_of_half_overlap():
    target = torch.zeros(1, 1, 1, 4)
    target[..., :2] = 1
    logits = torch.tensor([[[[-99.0, 99.0, 99.0, -99.0]]]])
    assert dice_loss(logits, target).item() == pytest.approx(1 - 3 / 5)


@given(st.integers(4, 40), st.integers(4, 40), st.integers(1, 60), st.integers(1, 60))
def test_roi_weights_average_near_the_box(x0: int, y0: int, w: int, h: int):
    roi = roi_weights(torch.tensor([[x0, y0, x0 + w, y0 + h]]).float(), (32, 32), 4)
    assert roi.shape == (1, 1, 32, 32)
    assert roi.sum().item() == pytest.approx(1.3, abs=1e-4)


def test_iou_of_masks():
    target = disc() > 0.5
    assert mask_iou((target.float() - 0.5), target).item() == 1
    assert mask_iou(torch.full_like(target, -1.0, dtype=torch.float32), target).item() == 0


def test_auxiliary_loss_falls_when_it_is_learned():
    torch.manual_seed(0)
    labels = torch.zeros(1, 16, 16, dtype=torch.long)
    labels[0, 3:9, 4:12] = 1
    features, skip = torch.randn(1, 8, 8, 8), torch.randn(1, 8, 16, 16)
    head = AuxiliaryHead(8, 8)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    values = []
    for _ in range(40):
        loss = auxiliary_loss(head(features, skip), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0]


def test_auxiliary_loss_without_any_object():
    loss = auxiliary_loss(torch.zeros(1, 4, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long))
    assert torch.isfinite(loss)
