"""Compiled attention and norms against the plain formulas, in double precision."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_sam.core.native.attention import attend, can_attend
from napari_sam.core.native.library import why_no_library
from napari_sam.core.native.rows import add_and_normalise, can_normalise

pytestmark = pytest.mark.skipif(why_no_library() is not None, reason=str(why_no_library()))
FORMATS = [
    dtype
    for dtype in (torch.float32, torch.bfloat16)
    if why_no_library() is None and can_attend(64, dtype)
]


def plain(qkv: Tensor, index: Tensor, padding: Tensor, tables: Tensor) -> Tensor:
    """The formulas of SAM's attention, with every bias written out."""
    count, _, heads, width = qkv.shape
    _, rows, columns = index.shape
    by_row, by_column = (t.double().flip(0) for t in tables.split([2 * rows - 1, 2 * columns - 1]))
    rows_apart = torch.arange(rows)[:, None] - torch.arange(rows) + rows - 1
    columns_apart = torch.arange(columns)[:, None] - torch.arange(columns) + columns - 1
    tokens = torch.cat([qkv, padding[None]]).double()
    out = torch.zeros(count, heads, width, dtype=torch.float64)
    for window in index.long():
        places = window.flatten().where(window.flatten() >= 0, count)
        q, k, v = (tokens[places, i].transpose(0, 1) for i in range(3))
        grid = q.view(heads, rows, columns, width)
        bias = torch.einsum("hrcd,rkd->hrck", grid, by_row[rows_apart])[..., :, None]
        bias = bias + torch.einsum("hrcd,ckd->hrck", grid, by_column[columns_apart])[..., None, :]
        logits = q @ k.transpose(1, 2) * width**-0.5 + bias.reshape(heads, len(places), -1)
        attended = (logits.softmax(-1) @ v).transpose(0, 1)
        real = places < count
        out[places[real]] = attended[real]
    return out.flatten(1)


def scene(
    windows: int, grid: tuple[int, int], heads: int, width: int, *, padded: bool, spread: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows, columns = grid
    index = torch.full((windows, rows, columns), -1, dtype=torch.int32)
    real = (max(1, rows - 1), max(1, columns - 2)) if padded else grid
    count = windows * real[0] * real[1]
    order = torch.randperm(count, dtype=torch.int32)
    index[:, : real[0], : real[1]] = order.view(windows, *real)
    tables = torch.randn(2 * rows + 2 * columns - 2, width) * 0.2
    qkv = torch.randn(count, 3, heads, width)
    qkv[:, 0] *= spread
    return qkv, index, torch.randn(3, heads, width), tables


@pytest.mark.parametrize("dtype", FORMATS)
@settings(max_examples=25, deadline=None)
@given(
    windows=st.integers(1, 3),
    grid=st.tuples(st.integers(1, 20), st.integers(1, 36)),
    heads=st.integers(1, 3),
    width=st.sampled_from([16, 32, 64, 80]),
    padded=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_window(
    dtype: torch.dtype,
    windows: int,
    grid: tuple[int, int],
    heads: int,
    width: int,
    padded: bool,
    seed: int,
):
    torch.manual_seed(seed)
    tensors = scene(windows, grid, heads, width, padded=padded, spread=1.0)
    qkv, index, padding, tables = (t.to(dtype) if t.is_floating_point() else t for t in tensors)
    got = attend(qkv, index, padding, tables)
    tolerance = 2e-5 if dtype == torch.float32 else 4e-2
    assert (got - plain(qkv, index, padding, tables)).abs().max() <= tolerance


@pytest.mark.parametrize("dtype", FORMATS)
def test_the_whole_grid_of_a_picture(dtype: torch.dtype):
    torch.manual_seed(0)
    tensors = scene(1, (64, 64), 2, 64, padded=False, spread=1.0)
    qkv, index, padding, tables = (t.to(dtype) if t.is_floating_point() else t for t in tensors)
    expected = plain(qkv, index, padding, tables)
    error = (attend(qkv, index, padding, tables) - expected).abs().max()
    assert error <= (1e-4 if dtype == torch.float32 else 0.1) * expected.std()


@pytest.mark.parametrize("spread", [30.0, 1000.0])
def test_logits_far_apart_neither_overflow_nor_vanish(spread: float):
    """The reference moves while keys go by; each weight is 0 or 1 in the end."""
    torch.manual_seed(0)
    qkv, index, padding, tables = scene(2, (14, 14), 2, 64, padded=True, spread=spread)
    got = attend(qkv, index, padding, tables)
    expected = plain(qkv, index, padding, tables)
    assert got.isfinite().all()
    # Float logits of a few thousand are off by 1e-3 themselves.
    assert (got - expected).abs().max() <= 1e-5 * spread


def test_rising_logits_move_the_reference_every_time():
    qkv = torch.zeros(256, 3, 1, 16)
    qkv[:, 0] = 16.0
    qkv[:, 1:] = torch.arange(256.0)[:, None, None, None]
    index = torch.arange(256, dtype=torch.int32).view(1, 4, 64)
    got = attend(qkv, index, torch.zeros(3, 1, 16), torch.zeros(2 * 68 - 2, 16))
    torch.testing.assert_close(got, torch.full((256, 16), 255.0))


def test_any_number_of_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    tensors = scene(3, (14, 14), 2, 32, padded=True, spread=1.0)
    expected = attend(*tensors)
    for threads in (1, 3, 7):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert torch.equal(attend(*tensors), expected)


def test_other_widths_are_refused_beforehand():
    assert not can_attend(48, torch.float32)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("adds", [True, False])
def test_sum_and_norm(dtype: torch.dtype, adds: bool):
    torch.manual_seed(0)
    norm = torch.nn.LayerNorm(48, eps=1e-6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    assert can_normalise(norm, dtype)
    x = torch.randn(37, 48) * 3 + 50
    added = torch.randn(37, 48).to(dtype) if adds else None
    summed = x + added if added is not None else x.clone()
    with torch.no_grad():
        expected = norm.double()(summed.double())
        got = add_and_normalise(x, added, norm.float(), dtype=dtype)
    assert torch.equal(x, summed)
    assert got.dtype == dtype
    tolerance = {torch.float32: 2e-5, torch.bfloat16: 1e-2}[dtype]
    torch.testing.assert_close(got.double(), expected, rtol=tolerance, atol=tolerance)


def test_rows_of_another_width_are_refused_beforehand():
    assert not can_normalise(torch.nn.LayerNorm(40), torch.float32)


def test_strided_rows_are_an_error_and_not_wrong_numbers():
    norm = torch.nn.LayerNorm(16)
    with pytest.raises(ValueError, match="contiguous"):
        add_and_normalise(torch.randn(16, 4).t(), None, norm, dtype=torch.float32)
