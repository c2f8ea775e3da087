"""TinyViT: shapes on any canvas, distance indexes, windows that do not see each other."""

import pytest
import torch

from napari_sam.core.architecture import TinyViTConfig
from napari_sam.core.modeling.tiny_vit import TinyViT, WindowAttention
from tests.golden.cases import TINY_VIT
from tests.golden.seeded import seeded_state


def encoder() -> TinyViT:
    assert isinstance(TINY_VIT.encoder, TinyViTConfig)
    net = TinyViT(TINY_VIT.encoder, out_chans=16).eval()
    net.load_state_dict(seeded_state({k: v.shape for k, v in net.state_dict().items()}, 3))
    return net


@torch.no_grad()
@pytest.mark.parametrize("canvas", [(128, 128), (64, 160), (16, 16)])
def test_any_multiple_of_the_stride_is_encoded(canvas: tuple[int, int]) -> None:
    features = encoder()(torch.randn(2, 3, *canvas))
    assert features.shape == (2, 16, canvas[0] // 16, canvas[1] // 16)
    assert features.isfinite().all()


def test_distance_indexes_are_row_major_and_symmetric() -> None:
    indexes = WindowAttention(4, 1, side=3).attention_bias_idxs
    for i in range(9):
        for j in range(9):
            assert indexes[i, j] == abs(i // 3 - j // 3) * 3 + abs(i % 3 - j % 3)
    assert torch.equal(indexes, indexes.T)


@torch.no_grad()
def test_windows_attend_within_themselves() -> None:
    attention = WindowAttention(8, 2, side=3).eval()
    windows = torch.randn(4, 9, 8)
    changed = windows.clone()
    changed[2] += 1
    before, after = attention(windows), attention(changed)
    assert torch.equal(before[[0, 1, 3]], after[[0, 1, 3]])


def test_bias_indexes_are_not_in_the_state_dict() -> None:
    assert not [key for key in encoder().state_dict() if key.endswith("idxs")]


def test_gradients_reach_every_parameter() -> None:
    net = encoder().train()
    net(torch.randn(2, 3, 64, 64)).square().sum().backward()
    missing = [key for key, value in net.named_parameters() if value.grad is None]
    assert not missing
