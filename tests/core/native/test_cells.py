"""Cells and tokens in one compiled pass beside the same in torch."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.native.cells import (
    Exchange,
    Exchanger,
    Finer,
    LowRank,
    can_exchange,
    can_refine,
)
from napari_sam.core.native.library import load_library

HEADS, WIDTH, FINE = 4, 128, 32
compiled = pytest.mark.skipif(load_library() is None, reason="no compiled library")


@pytest.fixture
def norm() -> Callable[[int], nn.LayerNorm]:
    def make(width: int) -> nn.LayerNorm:
        norm = nn.LayerNorm(width).requires_grad_(False)
        norm.weight.add_(0.1 * torch.randn(width))
        norm.bias.add_(0.1 * torch.randn(width))
        return norm

    return make


def in_torch(
    exchange: Exchange, questions: Tensor, cells: Tensor, positions: Tensor
) -> list[Tensor]:
    logits = torch.addmm(exchange.bias, exchange.offers, (cells + positions).t())
    weights = logits.view(exchange.heads, -1, len(cells)).softmax(1).flatten(0, 1)
    after = exchange.norm(cells + weights.t() @ exchange.gifts)
    logits = questions @ (after + positions).t()
    return [after, logits.softmax(-1) @ after, logits.logsumexp(-1)]


def exchange_of(
    norm: nn.LayerNorm, tokens: int, asked: int, sharpness: float = 1.0, heads: int = HEADS
) -> tuple[Exchange, Tensor]:
    (width,), rows = norm.normalized_shape, heads * tokens
    offers = sharpness * torch.randn(rows, width) / 8
    exchange = Exchange(offers, torch.randn(rows, 1), torch.randn(rows, width), heads, norm)
    return exchange, sharpness * torch.randn(heads * asked, width) / 8


@compiled
@pytest.mark.parametrize("sharpness", [0.1, 1.0, 10.0])
@pytest.mark.parametrize(
    ("count", "tokens", "asked"),
    [(1, 1, 1), (31, 7, 5), (32, 7, 7), (33, 4, 4), (300, 16, 5), (1000, 7, 16)],
)
def test_equals_torch(
    norm: Callable[[int], nn.LayerNorm], count: int, tokens: int, asked: int, sharpness: float
) -> None:
    cells, positions = torch.randn(2, count, WIDTH)
    exchange, questions = exchange_of(norm(WIDTH), tokens, asked, sharpness)
    assert can_exchange(cells, rows=max(len(exchange.offers), len(questions)))
    expected = in_torch(exchange, questions, cells, positions)
    beside = torch.full((count + 2, WIDTH), 7.0)
    after = beside[1:-1]
    for before in (cells, after):  # also in place
        after.copy_(cells)
        found = Exchanger(exchange, questions, (before, after), positions)
        got = found(slice(0, count))
        for one, other in zip((after, *got), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert (beside[[0, -1]] == 7).all(), "written beside the cells"


@compiled
@pytest.mark.parametrize(("tokens", "asked"), [(7, 5), (1, 1), (16, 16), (9, 3)])
@pytest.mark.parametrize("part", [slice(0, 80), slice(3, 4), slice(16, 45)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_width_of_sam(
    norm: Callable[[int], nn.LayerNorm],
    tokens: int,
    asked: int,
    part: slice,
    dtype: torch.dtype,
) -> None:
    cells, positions = torch.randn(2, 80, 256).to(dtype)
    exchange, questions = exchange_of(norm(256), tokens, asked, heads=8)
    if not can_exchange(cells, rows=8 * max(tokens, asked)):
        pytest.skip("not compiled for these numbers")
    expected = in_torch(exchange, questions, cells[part].float(), positions[part].float())
    after = torch.full_like(cells, 7)
    got = Exchanger(exchange, questions, (cells, after), positions)(part)
    scales = (1, 1, 1) if dtype == torch.float32 else (400, 400, 400)
    for one, other, scale in zip((after[part], *got), expected, scales, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=1e-4 * scale, atol=1e-4 * scale)
    after[part] = 7
    assert (after == 7).all(), "written beside the slice"


@compiled
@pytest.mark.parametrize("rank", [1, 33, 64])
@pytest.mark.parametrize("part", [slice(0, 96), slice(5, 6), slice(33, 96), slice(30, 67)])
def test_the_dense_prompt_joins_first(
    norm: Callable[[int], nn.LayerNorm], rank: int, part: slice
) -> None:
    cells, positions, after = torch.randn(3, 96, WIDTH)
    untouched = after.clone()
    exchange, questions = exchange_of(norm(WIDTH), 7, 7)
    added = LowRank(torch.randn(rank, 96), torch.randn(rank, WIDTH))
    joined = cells + added.codes.t() @ added.weights
    expected = in_torch(exchange, questions, joined[part], positions[part])
    got = Exchanger(exchange, questions, (cells, after), positions, added=added)(part)
    for one, other in zip((after[part], *got), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-4)
    after[part] = untouched[part]
    assert after.equal(untouched), "written beside the slice"


@compiled
@pytest.mark.parametrize("grid", [(1, 1), (5, 3), (4, 8), (12, 7)])
def test_cells_become_finer_features(
    norm: Callable[[int], nn.LayerNorm], grid: tuple[int, int]
) -> None:
    h, w = grid
    cells, positions = torch.randn(2, h * w, WIDTH)
    exchange, questions = exchange_of(norm(WIDTH), 7, 5)
    weight, skip = (
        (x - x.mean(-1, keepdim=True)).flatten(1)
        for x in (torch.randn(WIDTH, 4, FINE), torch.randn(h * w, 4, FINE))
    )
    beside = torch.full((2 * h + 2, 2 * w, FINE), 7.0)
    finer = Finer(weight, skip, norm(FINE), beside[1:-1])
    assert can_refine(finer)
    after, *expected = in_torch(exchange, questions, cells, positions)
    quarters = F.gelu(finer.norm((after @ weight + skip).view(h, w, 2, 2, FINE)))
    drawn = quarters.transpose(1, 2).reshape(2 * h, 2 * w, FINE)
    found = Exchanger(exchange, questions, (cells, None), positions, finer=finer)
    for rows in (slice(0, h // 2), slice(h // 2, h)):
        found(slice(rows.start * w, rows.stop * w))
    torch.testing.assert_close(finer.out, drawn, rtol=1e-4, atol=1e-4)
    assert (beside[[0, -1]] == 7).all(), "written beside the features"
    for one, other in zip(found(slice(0, h * w)), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@compiled
def test_what_does_not_fit_is_refused_not_left_undone(
    norm: Callable[[int], nn.LayerNorm],
) -> None:
    cells, positions = torch.randn(2, 8, WIDTH)
    exchange, questions = exchange_of(norm(WIDTH), 33, 1)  # 132 rows
    with pytest.raises(ValueError, match="132"):
        Exchanger(exchange, questions, (cells, None), positions)(slice(0, 8))


def test_only_what_fits() -> None:
    cells, compiled = torch.zeros(4, WIDTH), load_library() is not None
    assert can_exchange(cells, rows=128, rank=64) == compiled
    assert can_exchange(torch.zeros(4, 256), rows=128) == compiled
    assert not can_exchange(cells, rows=129)
    assert not can_exchange(torch.zeros(4, 64), rows=1)
    assert not can_exchange(cells.bfloat16(), rows=1)
    assert not can_exchange(cells, rows=1, rank=65)
    narrow = torch.zeros(64, 64)
    assert not can_refine(Finer(narrow, narrow, nn.LayerNorm(16), torch.zeros(2, 2, 16)))
