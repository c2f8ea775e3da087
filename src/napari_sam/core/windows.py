"""Where the tokens of a grid are once they lie window by window. Knows torch only."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["WindowGroup", "WindowOrder", "token_index", "window_order"]


@dataclass(frozen=True)
class WindowGroup:
    """Windows of one shape: ``count`` windows of ``rows`` x ``columns`` real tokens."""

    count: int
    rows: int
    columns: int


@dataclass(frozen=True)
class WindowOrder:
    """Raster order of an (h, w) token grid <-> the order that keeps windows together.

    Attributes
    ----------
    to_windows, to_raster
        Index of the raster token at each place in window order, and the other way.
    groups
        Full windows, those cut at the right, at the bottom, and the corner, as they follow.
    """

    to_windows: Tensor
    to_raster: Tensor
    groups: tuple[WindowGroup, ...]


@lru_cache(maxsize=8)
def window_order(grid: tuple[int, int], side: int) -> WindowOrder:
    """The window order of a grid for windows of ``side`` tokens."""
    h, w = grid
    index = torch.arange(h * w).view(h, w)
    full_h, full_w = h // side * side, w // side * side
    pieces, groups = [], []
    for rows, row_side in ((slice(0, full_h), side), (slice(full_h, h), h - full_h)):
        for columns, column_side in ((slice(0, full_w), side), (slice(full_w, w), w - full_w)):
            part = index[rows, columns]
            if not part.numel():
                continue
            down, across = part.shape[0] // row_side, part.shape[1] // column_side
            cut = part.reshape(down, row_side, across, column_side).transpose(1, 2)
            pieces.append(cut.reshape(-1))
            groups.append(WindowGroup(down * across, row_side, column_side))
    order = torch.cat(pieces)
    return WindowOrder(order, torch.argsort(order), tuple(groups))


@lru_cache(maxsize=16)
def token_index(grid: tuple[int, int], side: int, window: int) -> Tensor:
    """The token, in window order, at each place of each window.

    Parameters
    ----------
    grid
        (h, w) tokens.
    side
        Of the windows that make the order.
    window
        Of the windows that are asked for; 0 for one as large as the grid.

    Returns
    -------
    Tensor
        (W, R, C) int32; -1 where a window stands out of the grid.
    """
    h, w = grid
    order = window_order(grid, side).to_raster.to(torch.int32).view(h, w)
    if not window:
        return order[None].contiguous()
    down, across = -(-h // window), -(-w // window)
    padded = torch.full((down * window, across * window), -1, dtype=torch.int32)
    padded[:h, :w] = order
    cut = padded.view(down, window, across, window).transpose(1, 2)
    return cut.reshape(-1, window, window).contiguous()  # of a single window it would be a view
