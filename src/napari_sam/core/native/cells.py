"""The exchange between image cells and tokens in a two-way decoder, in one pass.

In the bundled model's the dense prompt may join the cells before, and they may become the finer
features of which masks are made.
"""

import ctypes
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.native.library import address, ready_library

__all__ = ["Exchange", "Exchanger", "Finer", "LowRank", "can_exchange", "can_refine"]

_LANES, _MOST, _MOST_CODES = 16, 128, 64
_WIDTHS = {torch.float32: (128, 256), torch.bfloat16: (256,)}
_FINE_WIDTH = 128
_NAMES = {torch.float32: "renew_cells_float", torch.bfloat16: "renew_cells_bfloat16"}
_PAIR = {torch.float32: 1, torch.bfloat16: 2}
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


def can_exchange(cells_PD: Tensor, *, rows: int, rank: int = 0) -> bool:
    """Whether :class:`Exchanger` works here; the library is not made for its sake.

    Parameters
    ----------
    cells_PD
        Of the size and kind of numbers that there will be.
    rows
        Of offers or questions, whichever are more.
    rank
        Of what is added beforehand.
    """
    fits = cells_PD.shape[1] in _WIDTHS[cells_PD.dtype] and rows <= _MOST and rank <= _MOST_CODES
    library = ready_library() if fits else None
    return library is not None and hasattr(library, _NAMES[cells_PD.dtype])


def can_refine(finer: Finer) -> bool:
    """Whether :class:`Exchanger` can also make these features here."""
    width = _FINE_WIDTH
    fits = finer.weight.shape == (width, width) and 4 * finer.out.shape[-1] == width
    return fits and ready_library() is not None


class Exchanger:
    """Lets image cells (P, D) and tokens exchange what they have, slice by slice of the cells.

    Parameters
    ----------
    exchange, questions
        What the cells meet, and (Q, D) what is looked for in them afterwards.
    cells
        (P, D) before and after, maybe the same; None: nobody wants them afterwards. Products are
        made of their kind of numbers, float32 or bfloat16; sums, softmax and norm are float32.
    positions
        (P, D) of the same kind, added to cells where they are keys or queries.
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
        before, after = cells
        self._count, self._dtype, width = len(questions), before.dtype, before.shape[1]
        self._rows = max(self._count, len(exchange.offers))
        self._mixed = (self._count + -self._count % _LANES, width)
        packed = (
            _by_column(exchange.offers, self._dtype),
            _by_column(exchange.bias, _NUMBER),
            _in_pairs(exchange.gifts, self._dtype),
            _by_column(questions, self._dtype),
        )
        # The library sees addresses: whatever lies there lives as long as this does.
        self._alive = exchange, packed, cells, positions, added, finer
        structures = _low_rank(added), _exchange(exchange, *packed[:3]), _finer(finer)
        self._cells = (
            *(None if x is None else address(x, self._dtype) for x in (before, after, positions)),
            ctypes.c_long(width),
        )
        self._rest = (
            *(None if each is None else ctypes.byref(each) for each in structures),
            address(packed[3], self._dtype),
            ctypes.c_long(self._count),
        )

    def __call__(self, part: slice) -> tuple[Tensor, Tensor]:
        """What the questions find in the slice's cells afterwards.

        Their means (Q, D), weighted by the softmax over cells, and the log of the sum of
        exponentials (Q,).

        Raises
        ------
        ValueError
            There are more rows or codes, or wider cells, than :func:`can_exchange` takes.
        """
        library = ready_library()
        assert library is not None
        mixed = torch.zeros(self._mixed)
        sums = torch.zeros(len(mixed))
        most = torch.full_like(sums, _LOWEST)
        refused = getattr(library, _NAMES[self._dtype])(
            *self._cells,
            ctypes.c_long(part.start),
            ctypes.c_long(part.stop),
            *self._rest,
            *(address(x, _NUMBER) for x in (mixed, most, sums)),
        )
        if refused:
            raise ValueError(
                f"{self._rows} rows of {self._mixed[1]} numbers are not what was compiled."
            )
        found = slice(self._count)
        return mixed[found] / sums[found, None], most[found] + sums[found].log()


def _by_column(x_GD: Tensor, dtype: torch.dtype) -> Tensor:
    """Transposed, with zeros up to whole vectors: (D, padded), in pairs down a column."""
    return _in_pairs(F.pad(x_GD.t(), (0, -len(x_GD) % _LANES)), dtype)


def _in_pairs(x_NX: Tensor, dtype: torch.dtype) -> Tensor:
    """Rows in pairs whose numbers take turns, as products of ``dtype`` want them."""
    pair = _PAIR[dtype]
    x_NX = F.pad(x_NX, (0, 0, 0, -len(x_NX) % pair)).to(dtype)
    return x_NX.view(-1, pair, x_NX.shape[1]).transpose(1, 2).contiguous()


def _low_rank(added: LowRank | None) -> _LowRank | None:
    if added is None:
        return None
    rank, stride = added.codes.shape
    return _LowRank(address(added.codes, _NUMBER), stride, address(added.weights, _NUMBER), rank)


def _exchange(exchange: Exchange, offers: Tensor, bias: Tensor, gifts: Tensor) -> _Exchange:
    norm = exchange.norm
    return _Exchange(
        *(address(each, each.dtype) for each in (offers, bias, gifts)),
        exchange.heads,
        len(exchange.gifts) // exchange.heads,
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
