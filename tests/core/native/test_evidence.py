"""What the score head sees, in one compiled pass beside the same in torch."""

import pytest
import torch

from napari_sam.core.modeling.micro_score_head import CERTAIN
from napari_sam.core.native.evidence import can_look, look
from napari_sam.core.native.library import load_library
from napari_sam.core.packed_micro_score import kinds_of, look_at


def blobs(height: int, width: int, seed: int) -> torch.Tensor:
    """Four masks of smooth noise, so that all kinds of places are there; the last is empty."""
    noise = torch.randn(1, 4, height + 4, width + 4, generator=torch.Generator().manual_seed(seed))
    logits = 12 * torch.nn.functional.avg_pool2d(noise, 5, 1)[0]
    logits[3] = -3
    return logits.contiguous()


@pytest.mark.skipif(load_library() is None, reason="no compiled library")
@pytest.mark.parametrize(
    ("height", "width", "rows"),
    [
        (40, 70, slice(0, 40)),
        (40, 70, slice(11, 12)),
        (40, 70, slice(30, 40)),
        (2, 2, slice(0, 2)),
        (6, 1, slice(0, 3)),
        (1, 33, slice(0, 1)),
    ],
)
def test_equals_torch(height: int, width: int, rows: slice) -> None:
    logits, fine = blobs(height, width, 0), torch.randn(height, width, 32)
    assert can_look(logits, fine)
    expected = look_at(logits[:, rows], kinds_of(logits)[:, :, rows], fine[rows])
    names = ("count", "probability", "features", "wide", "sure", "both")
    for name, got in zip(names, look(logits, fine, rows, certain=CERTAIN), strict=True):
        wanted = getattr(expected, name).float()
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4, msg=name)


def test_large_masks_are_summed_as_exactly() -> None:
    if load_library() is None:
        pytest.skip("no compiled library")
    logits, fine = torch.full((4, 256, 256), 2.0), torch.rand(256, 256, 32)
    features = look(logits, fine, slice(0, 256), certain=CERTAIN)[2]
    deep = fine.double().sum((0, 1)).float()
    torch.testing.assert_close(features[0], deep.expand(4, -1), rtol=1e-6, atol=0)


def test_only_what_fits() -> None:
    fine = torch.zeros(2, 2, 32)
    assert can_look(torch.zeros(4, 2, 2), fine) == (load_library() is not None)
    assert not can_look(torch.zeros(3, 2, 2), fine)
    assert not can_look(torch.zeros(4, 2, 2), torch.zeros(2, 2, 16))
