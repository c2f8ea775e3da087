"""The exchange between image cells and tokens in the bundled model's decoder, in one pass."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.native.library import address, ready_library

__all__ = ["Exchange", "can_exchange", "exchanger"]

_WIDTH, _LANES, _MOST = 128, 16, 64
_LOWEST = -1e30


@dataclass(frozen=True, eq=False)
class Exchange:
    """What cells (P, D) meet: G rows, heads times tokens.

    Attributes
    ----------
    offers, bias
        (G, D) and (G, 1): products with cells plus positions are logits.
    gifts
        (G, D) that are added to cells, by the softmax over each head's tokens.
    heads
        Number of heads.
    norm
        Of the sums, with weight and bias.
    """

    offers: Tensor
    bias: Tensor
    gifts: Tensor
    heads: int
    norm: nn.LayerNorm


def can_exchange(offers_GD: Tensor, questions_QD: Tensor) -> bool:
    """Whether :func:`exchanger` works here; the library is not made for its sake."""
    fits = offers_GD.shape[1] == _WIDTH and max(len(offers_GD), len(questions_QD)) <= _MOST
    return fits and ready_library() is not None


def exchanger(
    exchange: Exchange, questions_QD: Tensor
) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """What takes cells (p, D) before, cells (p, D) after to write, and positions (p, D).

    It returns what the questions find in the cells after: their means (Q, D), weighted by the
    softmax over cells, and the log of the sum of exponentials (Q,).
    """
    library = ready_library()
    assert library is not None
    norm, count = exchange.norm, len(questions_QD)
    offers, bias, questions = (
        F.pad(x.t(), (0, -len(x) % _LANES)).contiguous()
        for x in (exchange.offers, exchange.bias, questions_QD)
    )
    gifts = exchange.gifts.contiguous()
    number = torch.float32

    def renew(before: Tensor, after: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        mixed = torch.zeros(questions.shape[1], _WIDTH)
        sums = torch.zeros(questions.shape[1])
        most = torch.full_like(sums, _LOWEST)
        library.renew_cells(
            *(address(x, number) for x in (before, after, positions)),
            ctypes.c_long(len(before)),
            *(address(x, number) for x in (offers, bias, gifts)),
            ctypes.c_long(exchange.heads),
            ctypes.c_long(len(gifts) // exchange.heads),
            address(norm.weight, number),
            address(norm.bias, number),
            ctypes.c_float(norm.eps),
            address(questions, number),
            ctypes.c_long(count),
            *(address(x, number) for x in (mixed, most, sums)),
        )
        return mixed[:count] / sums[:count, None], most[:count] + sums[:count].log()

    return renew
