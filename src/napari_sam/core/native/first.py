"""What tokens of the bundled model's decoder find before the first block, in one pass."""

import ctypes
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam.core.native.library import address, ready_library

__all__ = ["FirstQuestions", "HintLayer", "can_ask_first"]

_WIDTH, _GROUP, _MOST = 16, 4, 64
_LOWEST = -1e30
_NUMBER = torch.float32


@dataclass(frozen=True, eq=False)
class HintLayer:
    """The first layer of the dense prompt's hints: (F, P) features to (32, P) codes.

    Attributes
    ----------
    features
        (F, P), to be there for a slice of the cells before it is asked.
    weight, bias
        (32, F) and (32,).
    """

    features: Tensor
    weight: Tensor
    bias: Tensor


def can_ask_first(queries_HTd: Tensor, rank: int) -> bool:
    """Whether :class:`FirstQuestions` works here; the library is not made for its sake."""
    heads, tokens, width = queries_HTd.shape
    rows = heads * (tokens + -tokens % _GROUP)
    return width == _WIDTH and max(rows, rank) <= _MOST and ready_library() is not None


class FirstQuestions:
    """Asks slices of the image's cells, and computes the dense prompt's codes there.

    Parameters
    ----------
    queries, folded
        (H, T, 16) and (H, T, R): products with keys and with codes add up to logits.
    keys, values
        (H, 16, P) and (H, P, 16).
    codes
        (R, P); the first 32 rows are written.
    hints
        What they are made of.
    """

    def __init__(
        self,
        queries: Tensor,
        folded: Tensor,
        keys: Tensor,
        values: Tensor,
        codes: Tensor,
        hints: HintLayer,
    ) -> None:
        self._shape = heads, tokens = queries.shape[:2]
        self._rank, count = codes.shape
        asked = [
            F.pad(each, (0, 0, 0, -tokens % _GROUP)).contiguous() for each in (queries, folded)
        ]
        weight = hints.weight.contiguous()
        self._padded = asked[0].shape[1]
        # The library sees addresses: whatever lies there lives as long as this does.
        self._alive = asked, keys, values, codes, hints, weight
        self._before = (
            *(address(each, _NUMBER) for each in (hints.features, weight, hints.bias)),
            *(ctypes.c_long(each) for each in (weight.shape[1], len(weight))),
            address(codes, _NUMBER),
            ctypes.c_long(self._rank),
            *(address(each, _NUMBER) for each in (keys, values)),
            ctypes.c_long(count),
            *(address(each, _NUMBER) for each in asked),
            *(ctypes.c_long(each) for each in (heads, self._padded)),
        )

    def __call__(self, part: slice) -> tuple[Tensor, Tensor]:
        """What the tokens find in the slice: means (H * T, 16 + R) and logs of the sums (H * T,).

        Means of values and of codes, weighted by the softmax over cells.

        Raises
        ------
        ValueError
            There are more tokens or codes than :func:`can_ask_first` takes.
        """
        library = ready_library()
        assert library is not None
        heads, tokens = self._shape
        mixed = torch.zeros(heads, self._padded, _WIDTH + self._rank)
        sums = torch.zeros(heads, self._padded)
        most = torch.full_like(sums, _LOWEST)
        refused = library.ask_first(
            *self._before,
            ctypes.c_long(part.start),
            ctypes.c_long(part.stop),
            *(address(each, _NUMBER) for each in (mixed, most, sums)),
        )
        if refused:
            raise ValueError(
                f"{heads * self._padded} rows and {self._rank} codes are not what was compiled."
            )
        mixed, most, sums = (each[:, :tokens].flatten(0, 1) for each in (mixed, most, sums))
        return mixed / sums[:, None], most + sums.log()
