"""SAM's attention in plain torch as a CPU runs it fastest; of an encoder that keeps window order.

In slabs that stay in cache, with the position bias built slab by slab, never as a whole. Tokens
that only pad a window serve as keys only: they are known to be the qkv bias.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam.core.modeling.image_encoder import Attention
from napari_sam.core.windows import WindowOrder

__all__ = ["SlabAttention", "reversed_tables", "skewed_bias"]

GLOBAL_ROWS = {torch.float32: 256, torch.bfloat16: 512}  # queries a slab: keys * rows fit in L2/L3
WINDOWS_AT_ONCE = 4


def reversed_tables(attention: Attention, keys: tuple[int, int]) -> Tensor:
    """Both distance tables, fitted to a grid of keys, reversed and stacked: (2n - 1 + 2m - 1, d).

    Reversed, a row's or column's biases run forward in memory (see :func:`skewed_bias`).
    """
    tables = []
    for table, size in zip((attention.rel_pos_h, attention.rel_pos_w), keys, strict=True):
        fitted = table.detach()
        if len(fitted) != 2 * size - 1:
            fitted = F.interpolate(fitted.t()[None], size=2 * size - 1, mode="linear")[0].t()
        tables.append(fitted.flip(0))
    return torch.cat(tables)


def skewed_bias(
    q_GNd: Tensor, tables: Tensor, queries: tuple[int, int], keys: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Bias of each query towards each row and each column of keys, without a gather.

    One product with both tables; bias[r, c, k] then lies at table place k + n - 1 - r, so that a
    view whose stride along r is one short reads it off.

    Parameters
    ----------
    q_GNd
        (G, R * C, d) unscaled queries at the first R x C places of the grid of keys.
    tables
        From :func:`reversed_tables`.
    queries, keys
        (R, C) and (n, m).

    Returns
    -------
    tuple of Tensor
        (G, R, C, n) and (G, R, C, m).
    """
    (rows, columns), (n, m) = queries, keys
    products = (q_GNd.reshape(-1, q_GNd.shape[-1]) @ tables.t()).view(-1)
    length = len(tables)
    count = q_GNd.shape[0]
    whole = rows * columns * length
    by_row = products.as_strided(
        (count, rows, columns, n), (whole, columns * length - 1, length, 1), n - 1
    )
    by_column = products.as_strided(
        (count, rows, columns, m), (whole, columns * length, length - 1, 1), 2 * n - 1 + m - 1
    )
    return by_row, by_column


class SlabAttention:
    """Attention of one block: (N, 3, H, d) to (N, H * d), tokens in window order.

    Parameters
    ----------
    attention
        Of the plain encoder: its position tables and qkv bias.
    window
        Side of the windows, in tokens; 0 attends to all.
    dtype
        Of the products.
    """

    def __init__(self, attention: Attention, *, window: int, dtype: torch.dtype) -> None:
        self.attention = attention
        self.heads = attention.num_heads
        self.window = window
        self.dtype = dtype
        self.qkv_bias = attention.qkv.bias.detach().to(dtype).view(3, self.heads, -1)

    def __call__(self, qkv_N3Hd: Tensor, order: WindowOrder, grid: tuple[int, int]) -> Tensor:
        """Attend within windows, or to the whole grid."""
        if self.window:
            return self._attend_windows(qkv_N3Hd, order)
        return self._attend_globally(qkv_N3Hd, order, grid)

    def _attend_windows(self, qkv_N3Hd: Tensor, order: WindowOrder) -> Tensor:
        side = self.window
        tables = reversed_tables(self.attention, (side, side)).to(self.dtype)
        out = torch.empty_like(qkv_N3Hd[:, 0])
        start = 0
        for group in order.groups:
            size = group.rows * group.columns
            for first in range(0, group.count, WINDOWS_AT_ONCE):
                count = min(WINDOWS_AT_ONCE, group.count - first)
                part = slice(start + first * size, start + (first + count) * size)
                windows = qkv_N3Hd[part].view(count, group.rows, group.columns, *qkv_N3Hd.shape[1:])
                out[part] = self._attend_some(windows, tables)
            start += group.count * size
        return out.flatten(1)

    def _attend_some(self, qkv_WRC3Hd: Tensor, tables: Tensor) -> Tensor:
        """Attention of a few windows of R x C real tokens; returns (W * R * C, H, d)."""
        count, rows, columns = qkv_WRC3Hd.shape[:3]
        side, heads = self.window, self.heads
        q, k, v = qkv_WRC3Hd.permute(3, 0, 4, 1, 2, 5)
        if (rows, columns) != (side, side):
            shape = (count, heads, side, side, q.shape[-1])
            padded = self.qkv_bias[1:, None, :, None, None].expand(2, *shape).contiguous()
            padded[0, :, :, :rows, :columns] = k
            padded[1, :, :, :rows, :columns] = v
            k, v = padded
        groups = count * heads
        q_GNd = q.reshape(groups, rows * columns, -1)
        k_GMd, v_GMd = (t.reshape(groups, side * side, -1) for t in (k, v))
        by_row, by_column = skewed_bias(q_GNd, tables, (rows, columns), (side, side))
        logits = (by_row[..., None] + by_column[..., None, :]).view(groups, rows * columns, -1)
        logits = torch.baddbmm(logits, q_GNd * q_GNd.shape[-1] ** -0.5, k_GMd.transpose(1, 2))
        attended = torch.bmm(logits.softmax(-1), v_GMd)
        return attended.view(count, heads, rows * columns, -1).transpose(1, 2).flatten(0, 1)

    def _attend_globally(
        self, qkv_N3Hd: Tensor, order: WindowOrder, grid: tuple[int, int]
    ) -> Tensor:
        h, w = grid
        tokens = h * w
        tables = reversed_tables(self.attention, grid).to(self.dtype)
        raster = qkv_N3Hd.index_select(0, order.to_raster)
        out = torch.empty_like(raster[:, 0])
        rows = GLOBAL_ROWS[self.dtype]
        buffer = torch.empty(min(rows, tokens), tokens, dtype=self.dtype)
        for head in range(self.heads):
            q, k, v = (raster[:, i, head].contiguous() for i in range(3))
            by_row, by_column = skewed_bias(q[None], tables, grid, grid)
            by_row, by_column = by_row.reshape(tokens, h, 1), by_column.reshape(tokens, 1, w)
            q = q * q.shape[-1] ** -0.5
            for start in range(0, tokens, rows):
                part = slice(start, min(start + rows, tokens))
                slab = buffer[: part.stop - part.start]
                torch.add(by_row[part], by_column[part], out=slab.view(-1, h, w))
                torch.addmm(slab, q[part], k.t(), out=slab)
                torch.softmax(slab, -1, out=slab)
                out[part, head] = torch.mm(slab, v)
        return out.flatten(1).index_select(0, order.to_windows)
