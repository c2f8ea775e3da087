"""Laws of the ViT: windows, relative positions, position tables, shapes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_sam.core.architecture import ViTConfig
from napari_sam.core.modeling import image_encoder
from napari_sam.core.modeling.image_encoder import (
    Attention,
    ImageEncoderViT,
    join_windows,
    relative_table,
    resize_positions,
    split_windows,
)
from tests.golden.cases import VIT
from tests.golden.seeded import seeded_state

sides = st.integers(1, 12)


@settings(deadline=None)  # a busy machine is no failure
@given(batch=st.integers(1, 3), height=sides, width=sides, side=st.integers(1, 6))
def test_windows_join_to_what_was_split(batch: int, height: int, width: int, side: int) -> None:
    grid = torch.arange(1, batch * height * width * 2 + 1).float().view(batch, height, width, 2)
    windows = split_windows(grid, side)
    assert windows.shape == (batch * -(-height // side) * -(-width // side), side, side, 2)
    assert torch.equal(join_windows(windows, (height, width)), grid)
    assert windows.sum() == grid.sum()  # what was added are zeros


@settings(deadline=None)  # a busy machine is no failure
@given(height=sides, width=sides, side=st.integers(1, 6))
def test_windows_are_in_raster_order(height: int, width: int, side: int) -> None:
    grid = torch.arange(1, height * width + 1).float().view(1, height, width, 1)
    windows = split_windows(grid, side)
    columns = -(-width // side)
    for number, window in enumerate(windows):
        y, x = number // columns * side, number % columns * side
        piece = grid[0, y : y + side, x : x + side]
        assert torch.equal(window[: piece.shape[0], : piece.shape[1]], piece)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_relative_table_holds_query_minus_key(size: int) -> None:
    table = torch.arange(2 * size - 1).float()[:, None]
    looked_up = relative_table(table, size)[..., 0]
    for query in range(size):
        for key in range(size):
            assert looked_up[query, key] == query - key + size - 1


def naive_attention(attention: Attention, x_1hwD: Tensor) -> Tensor:
    """Pair by pair, as the formula reads: q.k / sqrt(d) + q.R_row + q.R_column."""
    _, h, w, D = x_1hwD.shape
    d = D // attention.num_heads
    heads = attention.qkv(x_1hwD.reshape(h * w, D)).view(h * w, 3, attention.num_heads, d)
    out = torch.zeros(h * w, attention.num_heads, d)
    for head in range(attention.num_heads):
        q, k, v = heads[:, 0, head], heads[:, 1, head], heads[:, 2, head]
        logits = torch.zeros(h * w, h * w)
        for i in range(h * w):
            for j in range(h * w):
                row = attention.rel_pos_h[i // w - j // w + h - 1]
                column = attention.rel_pos_w[i % w - j % w + w - 1]
                logits[i, j] = q[i] @ k[j] / d**0.5 + q[i] @ row + q[i] @ column
        out[:, head] = logits.softmax(-1) @ v
    projected: Tensor = attention.proj(out.view(1, h, w, D))
    return projected


def seeded(module: torch.nn.Module) -> None:
    shapes = {key: value.shape for key, value in module.state_dict().items()}
    module.load_state_dict(seeded_state(shapes, 3))


@torch.no_grad()
@pytest.mark.parametrize("max_bias_elements", [1, 2**24])
def test_attention_is_the_formula(max_bias_elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_encoder, "_MAX_BIAS_ELEMENTS", max_bias_elements)
    attention = Attention(12, 3, side=4)
    seeded(attention)
    x_1hwD = torch.randn(1, 4, 4, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attention(x_1hwD), naive_attention(attention, x_1hwD))


@torch.no_grad()
def test_pictures_of_a_batch_do_not_mix() -> None:
    attention = Attention(12, 3, side=4)
    seeded(attention)
    x_2hwD = torch.randn(2, 4, 4, 12, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([attention(x_2hwD[:1]), attention(x_2hwD[1:])])
    torch.testing.assert_close(attention(x_2hwD), alone)


def test_positions_of_the_native_size_are_untouched() -> None:
    table = torch.randn(1, 4, 4, 3)
    assert resize_positions(table, (4, 4)) is table


def test_positions_of_another_size_keep_a_constant_and_both_axes() -> None:
    constant = resize_positions(torch.full((1, 4, 4, 2), 0.7), (7, 3))
    torch.testing.assert_close(constant, torch.full((1, 7, 3, 2), 0.7))
    ramp = torch.arange(4.0)[None, :, None, None].expand(1, 4, 4, 1)
    resized = resize_positions(ramp, (8, 2))
    assert (resized.diff(dim=1) > 0).all()
    torch.testing.assert_close(resized[:, :, 0], resized[:, :, 1])


@torch.no_grad()
@pytest.mark.parametrize("canvas", [(128, 128), (64, 160), (16, 16)])
def test_any_multiple_of_the_patch_is_encoded(canvas: tuple[int, int]) -> None:
    assert isinstance(VIT.encoder, ViTConfig)
    encoder = ImageEncoderViT(VIT.encoder, grid_size=8, out_chans=32).eval()
    seeded(encoder)
    features = encoder(torch.randn(1, 3, *canvas))
    assert features.shape == (1, 32, canvas[0] // 16, canvas[1] // 16)
    assert features.isfinite().all()


def test_gradients_reach_the_position_tables() -> None:
    assert isinstance(VIT.encoder, ViTConfig)
    encoder = ImageEncoderViT(VIT.encoder, grid_size=8, out_chans=32)
    encoder(torch.randn(1, 3, 128, 128)).square().sum().backward()
    for key, parameter in encoder.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key
