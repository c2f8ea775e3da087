"""Cells and tokens in one compiled pass beside the same in torch."""

import pytest
import torch
from torch import Tensor, nn

from napari_sam.core.native.cells import Exchange, can_exchange, exchanger
from napari_sam.core.native.library import load_library

HEADS, WIDTH = 4, 128


@pytest.fixture
def norm() -> nn.LayerNorm:
    norm = nn.LayerNorm(WIDTH).requires_grad_(False)
    norm.weight.add_(0.1 * torch.randn(WIDTH))
    norm.bias.add_(0.1 * torch.randn(WIDTH))
    return norm


def in_torch(
    exchange: Exchange, questions: Tensor, cells: Tensor, positions: Tensor
) -> list[Tensor]:
    logits = torch.addmm(exchange.bias, exchange.offers, (cells + positions).t())
    weights = logits.view(exchange.heads, -1, len(cells)).softmax(1).flatten(0, 1)
    after = exchange.norm(cells + weights.t() @ exchange.gifts)
    logits = questions @ (after + positions).t()
    return [after, logits.softmax(-1) @ after, logits.logsumexp(-1)]


@pytest.mark.skipif(load_library() is None, reason="no compiled library")
@pytest.mark.parametrize("sharpness", [0.1, 1.0, 10.0])
@pytest.mark.parametrize(
    ("count", "tokens", "asked"),
    [(1, 1, 1), (31, 7, 5), (32, 7, 7), (33, 4, 4), (300, 16, 5), (1000, 7, 16)],
)
def test_equals_torch(
    norm: nn.LayerNorm, count: int, tokens: int, asked: int, sharpness: float
) -> None:
    cells, positions = torch.randn(2, count, WIDTH)
    rows = HEADS * tokens
    offers = sharpness * torch.randn(rows, WIDTH) / 8
    exchange = Exchange(offers, torch.randn(rows, 1), torch.randn(rows, WIDTH), HEADS, norm)
    questions = sharpness * torch.randn(HEADS * asked, WIDTH) / 8
    assert can_exchange(exchange.offers, questions)
    expected = in_torch(exchange, questions, cells, positions)
    found = exchanger(exchange, questions)
    beside = torch.full((count + 2, WIDTH), 7.0)
    after = beside[1:-1]
    for before in (cells, after):  # also in place
        after.copy_(cells)
        got = found(before, after, positions)
        for one, other in zip((after, *got), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert (beside[[0, -1]] == 7).all(), "written beside the cells"


def test_only_what_fits() -> None:
    fits = torch.zeros(HEADS * 16, WIDTH)
    assert can_exchange(fits, fits) == (load_library() is not None)
    assert not can_exchange(torch.zeros(HEADS * 17, WIDTH), fits)
    assert not can_exchange(fits, torch.zeros(HEADS * 17, WIDTH))
    assert not can_exchange(torch.zeros(HEADS, 64), torch.zeros(HEADS, 64))
