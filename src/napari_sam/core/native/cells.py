"""The exchange between image cells and tokens in the bundled model's decoder, in one pass.

Before it the dense prompt may join the cells, and after it they may become the finer features of
which masks are made.
"""

import ctypes
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.native.library import address, ready_library

__all__ = ["Exchange", "Exchanger", "Finer", "LowRank", "can_exchange", "can_refine"]

_WIDTH, _LANES, _MOST = 128, 16, 64
_LOWEST = -1e30
_NUMBER = torch.float32


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


@dataclass(frozen=True, eq=False)
class LowRank:
    """What is added to the cells beforehand: ``codes.T @ weights``, of (R, P) and (R, D)."""

    codes: Tensor
    weights: Tensor


@dataclass(frozen=True, eq=False)
class Finer:
    """What the cells become: the product with weights plus a skip, normalised, through GELU.

    Attributes
    ----------
    weight, skip
        (D, 4 * C) and (P, 4 * C), a cell's four quarters; each quarter has a mean of zero.
    norm
        Of a quarter, with weight and bias.
    out
        (2 * h, 2 * w, C), to write.
    """

    weight: Tensor
    skip: Tensor
    norm: nn.LayerNorm
    out: Tensor


class _LowRank(ctypes.Structure):
    _fields_ = (
        ("codes", ctypes.c_void_p),
        ("stride", ctypes.c_long),
        ("weights", ctypes.c_void_p),
        ("rank", ctypes.c_long),
    )


class _Exchange(ctypes.Structure):
    _fields_ = (
        ("offers", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("gifts", ctypes.c_void_p),
        ("heads", ctypes.c_long),
        ("tokens", ctypes.c_long),
        ("norm_weight", ctypes.c_void_p),
        ("norm_bias", ctypes.c_void_p),
        ("epsilon", ctypes.c_float),
    )


class _Finer(ctypes.Structure):
    _fields_ = (
        ("weight", ctypes.c_void_p),
        ("skip", ctypes.c_void_p),
        ("norm_weight", ctypes.c_void_p),
        ("norm_bias", ctypes.c_void_p),
        ("epsilon", ctypes.c_float),
        ("columns", ctypes.c_long),
        ("to", ctypes.c_void_p),
    )


def can_exchange(offers_GD: Tensor, questions_QD: Tensor, *, rank: int = 0) -> bool:
    """Whether :class:`Exchanger` works here; the library is not made for its sake.

    ``rank`` is that of what is added beforehand.
    """
    fits = offers_GD.shape[1] == _WIDTH and max(len(offers_GD), len(questions_QD), rank) <= _MOST
    return fits and ready_library() is not None


def can_refine(finer: Finer) -> bool:
    """Whether :class:`Exchanger` can also make these features here."""
    fits = finer.weight.shape == (_WIDTH, _WIDTH) and 4 * finer.out.shape[-1] == _WIDTH
    return fits and ready_library() is not None


class Exchanger:
    """Lets image cells (P, D) and tokens exchange what they have, slice by slice of the cells.

    Parameters
    ----------
    exchange, questions
        What the cells meet, and (Q, D) what is looked for in them afterwards.
    cells
        (P, D) before and after, maybe the same; None: nobody wants them afterwards.
    positions
        (P, D), added to cells where they are keys or queries.
    added
        Joins the cells beforehand.
    finer
        What the cells become, too: see :func:`can_refine`.
    """

    def __init__(
        self,
        exchange: Exchange,
        questions: Tensor,
        cells: tuple[Tensor, Tensor | None],
        positions: Tensor,
        *,
        added: LowRank | None = None,
        finer: Finer | None = None,
    ) -> None:
        self._count = len(questions)
        self._questions = _by_column(questions)
        offers, bias = (_by_column(each) for each in (exchange.offers, exchange.bias))
        # The library sees addresses: whatever lies there lives as long as this does.
        self._alive = exchange, offers, bias, cells, positions, added, finer
        structures = _low_rank(added), _exchange(exchange, offers, bias), _finer(finer)
        self._cells = [None if x is None else address(x, _NUMBER) for x in (*cells, positions)]
        self._rest = (
            *(None if each is None else ctypes.byref(each) for each in structures),
            address(self._questions, _NUMBER),
            ctypes.c_long(self._count),
        )

    def __call__(self, part: slice) -> tuple[Tensor, Tensor]:
        """What the questions find in the slice's cells afterwards.

        Their means (Q, D), weighted by the softmax over cells, and the log of the sum of
        exponentials (Q,).
        """
        library = ready_library()
        assert library is not None
        mixed = torch.zeros(self._questions.shape[1], _WIDTH)
        sums = torch.zeros(len(mixed))
        most = torch.full_like(sums, _LOWEST)
        library.renew_cells(
            *self._cells,
            ctypes.c_long(part.start),
            ctypes.c_long(part.stop),
            *self._rest,
            *(address(x, _NUMBER) for x in (mixed, most, sums)),
        )
        found = slice(self._count)
        return mixed[found] / sums[found, None], most[found] + sums[found].log()


def _by_column(x_GD: Tensor) -> Tensor:
    """Transposed, with zeros up to whole vectors: (D, padded)."""
    return F.pad(x_GD.t(), (0, -len(x_GD) % _LANES)).contiguous()


def _low_rank(added: LowRank | None) -> _LowRank | None:
    if added is None:
        return None
    rank, stride = added.codes.shape
    return _LowRank(address(added.codes, _NUMBER), stride, address(added.weights, _NUMBER), rank)


def _exchange(exchange: Exchange, offers: Tensor, bias: Tensor) -> _Exchange:
    gifts, norm = exchange.gifts, exchange.norm
    return _Exchange(
        *(address(each, _NUMBER) for each in (offers, bias, gifts)),
        exchange.heads,
        len(gifts) // exchange.heads,
        *(address(each, _NUMBER) for each in (norm.weight, norm.bias)),
        norm.eps,
    )


def _finer(finer: Finer | None) -> _Finer | None:
    if finer is None:
        return None
    norm, out = finer.norm, finer.out
    return _Finer(
        *(address(each, _NUMBER) for each in (finer.weight, finer.skip, norm.weight, norm.bias)),
        norm.eps,
        out.shape[1] // 2,
        address(out, _NUMBER),
    )
