"""SAM's two-way transformer where the compiled library passes over the cells.

A block's second half and the next block's first half meet each cell once. Equals ``_two_way`` and
``_click`` of ``packed_decoder.py``, for which it is. Knows torch and the plain modules. Suffixes as
in ``core/packed_attention.py``.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_sam.core.native.cells import Exchange, Exchanger, can_exchange
from napari_sam.core.packed_attention import FoldedAttention, ImageSide
from napari_sam.core.packed_click import Found, join
from napari_sam.core.threads import Run

if TYPE_CHECKING:
    from napari_sam.core.packed_decoder import PackedTwoWayBlock

__all__ = ["can_pass", "read_later", "two_way"]


def can_pass(image: ImageSide, tokens: int, heads: int) -> bool:
    """Whether :func:`two_way` works here, for so many tokens of an object."""
    return can_exchange(image.cells, rows=tokens * heads)


def two_way(
    blocks: Sequence["PackedTwoWayBlock"],
    last: FoldedAttention,
    token_pe: Tensor,
    image: ImageSide,
    positions: Tensor,
    wanted: range,
    cells: Tensor,
    *,
    parts: Sequence[slice],
    run: Run,
) -> Tensor:
    """Tokens (b, 1 + M, D) before the last norm: for the scores and for the wanted masks.

    Parameters
    ----------
    blocks, last
        The transformer.
    token_pe
        (b, T, D) tokens at the start, which are their own positions.
    image, positions
        What all prompts share, and (P, D) the positions of the cells in the same numbers.
    wanted
        Masks.
    cells
        (b, P, D), written.
    parts, run
        Slices of an object's cells, and what runs them.
    """
    block, *others = blocks
    tokens = block.attend_to_self(token_pe)
    tokens = block.think(tokens, block.asked.ask_first(tokens + token_pe, image))
    before = image.cells.expand_as(cells)

    def look(exchanges: list[Exchange], questions_bRD: Tensor) -> Tensor:
        asked = zip(exchanges, questions_bRD, before, cells, strict=True)
        return torch.stack(
            [
                _pass_over(Exchanger(exchange, questions, (old, new), positions), parts, run)
                for exchange, questions, old, new in asked
            ]
        )

    for following in others:
        exchanges = block.asking.exchanges(tokens + token_pe, tokens, block.plain.norm4)
        block = following
        tokens = block.attend_to_self(tokens, token_pe)
        mixed_bRD = look(exchanges, block.asked.questions(tokens + token_pe))
        tokens = block.think(tokens, block.asked.take(mixed_bRD))
        before = cells
    exchanges = block.asking.exchanges(tokens + token_pe, tokens, block.plain.norm4)
    tokens, token_pe = (read_later(each, wanted) for each in (tokens, token_pe))
    return tokens + last.take(look(exchanges, last.questions(tokens + token_pe)))


def _pass_over(exchanger: Exchanger, parts: Sequence[slice], run: Run) -> Tensor:
    """Means of the cells (R, D) that an object's questions find."""
    found: dict[int, Found] = {}

    def look(i: int) -> None:
        found[i] = Found(*exchanger(parts[i]))

    run([partial(look, i) for i in range(len(parts))])
    return join([found[i] for i in range(len(parts))])


def read_later(tokens_bTD: Tensor, wanted: range) -> Tensor:
    """The first token, for the scores, and those of the wanted masks."""
    return torch.cat([tokens_bTD[:, :1], tokens_bTD[:, 1 + wanted.start : 1 + wanted.stop]], dim=1)
