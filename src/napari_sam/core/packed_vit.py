"""SAM's ViT encoder the way a CPU runs it fastest; same numbers as ``modeling/image_encoder.py``.

Four things differ from the plain modules. Weights are packed once for oneDNN, with GELU fused.
Tokens stay in window order through the whole trunk, so cutting windows costs nothing. Tokens that
only pad a window are never computed: they are known to be the qkv bias, and serve as keys only.
Attention runs in slabs that stay in cache, with the position bias built slab by slab, never as a
whole. Knows torch and the plain modules; chosen in ``core/engines/fit.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.modeling.image_encoder import (
    Attention,
    Block,
    ImageEncoderViT,
    resize_positions,
)

GLOBAL_ROWS = {torch.float32: 256, torch.bfloat16: 512}  # queries a slab: keys * rows fit in L2/L3
WINDOWS_AT_ONCE = 4
Linear = Callable[[Tensor], Tensor]


def pack_linear(
    layer_weight: Tensor, bias: Tensor | None, *, dtype: torch.dtype, rows: int, gelu: bool = False
) -> Linear:
    """A linear layer (with GELU) whose weights lie as oneDNN likes them for ``rows`` tokens.

    The packing operators of torch are private: a small case is checked when first used, and where
    they are missing or wrong a plain ``F.linear`` is returned.
    """
    weight = layer_weight.detach().to(dtype).contiguous()
    offset = None if bias is None else bias.detach().to(dtype)
    if _packing_works(dtype):
        return _packed(weight, offset, rows=rows, gelu=gelu)

    def plain(x: Tensor) -> Tensor:
        out = F.linear(x, weight, offset)
        return F.gelu(out) if gelu else out

    return plain


def _packed(weight: Tensor, offset: Tensor | None, *, rows: int, gelu: bool) -> Linear:
    operators = torch.ops.mkldnn
    packed = operators._reorder_linear_weight(weight, rows)
    after = "gelu" if gelu else "none"

    def run(x: Tensor) -> Tensor:
        out: Tensor = operators._linear_pointwise(x, packed, offset, after, [], "none")
        return out

    return run


@lru_cache
def _packing_works(dtype: torch.dtype) -> bool:
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(8, 16, generator=generator).to(dtype) for _ in range(2))
    try:
        got = _packed(weight, None, rows=8, gelu=True)(x)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    return torch.allclose(got.float(), F.gelu(x.float() @ weight.float().t()), atol=0.1)


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


class PackedBlock:
    """One transformer block on (1, N, D) tokens in window order."""

    def __init__(self, block: Block, *, dtype: torch.dtype, rows: int) -> None:
        attention = block.attn
        self.attention = attention
        self.heads = attention.num_heads
        self.window_size = block.window_size
        self.dtype = dtype
        self.norm1, self.norm2 = block.norm1, block.norm2
        bias = attention.qkv.bias.detach().to(dtype)
        self.qkv_bias = bias.view(3, self.heads, -1)
        pack = partial(pack_linear, dtype=dtype, rows=rows)
        self.qkv = pack(attention.qkv.weight, attention.qkv.bias)
        self.proj = pack(attention.proj.weight, attention.proj.bias)
        mlp = block.mlp
        self.lin1 = pack(mlp.lin1.weight, mlp.lin1.bias, gelu=True)
        self.lin2 = pack(mlp.lin2.weight, mlp.lin2.bias)
        # The packed copies serve from now on; two of everything would double the memory.
        for layer in (attention.qkv, attention.proj, mlp.lin1, mlp.lin2):
            layer.weight = nn.Parameter(torch.empty(0), requires_grad=False)

    def __call__(self, x_ND: Tensor, order: WindowOrder, grid: tuple[int, int]) -> Tensor:
        """Add attention and MLP to the tokens, in place."""
        normal = self.norm1(x_ND).to(self.dtype)
        qkv = self.qkv(normal).view(len(x_ND), 3, self.heads, -1)
        if self.window_size:
            attended = self._attend_windows(qkv, order)
        else:
            attended = self._attend_globally(qkv, order, grid)
        x_ND += self.proj(attended)
        del qkv, attended
        x_ND += self.lin2(self.lin1(self.norm2(x_ND).to(self.dtype)))
        return x_ND

    def _attend_windows(self, qkv_N3Hd: Tensor, order: WindowOrder) -> Tensor:
        side = self.window_size
        tables = reversed_tables(self.attention, (side, side)).to(self.dtype)
        out = torch.empty_like(qkv_N3Hd[:, 0])
        start = 0
        for group in order.groups:
            size = group.rows * group.columns
            for first in range(0, group.count, WINDOWS_AT_ONCE):
                count = min(WINDOWS_AT_ONCE, group.count - first)
                part = slice(start + first * size, start + (first + count) * size)
                windows = qkv_N3Hd[part].view(count, group.rows, group.columns, *qkv_N3Hd.shape[1:])
                out[part] = self._attend_some_windows(windows, tables)
            start += group.count * size
        return out.flatten(1)

    def _attend_some_windows(self, qkv_WRC3Hd: Tensor, tables: Tensor) -> Tensor:
        """Attention of a few windows of R x C real tokens; returns (W * R * C, H, d)."""
        count, rows, columns = qkv_WRC3Hd.shape[:3]
        side, heads = self.window_size, self.heads
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


class PackedViT(nn.Module):
    """Drop-in for :class:`ImageEncoderViT` on CPUs, made from a trained one.

    Parameters
    ----------
    encoder
        The plain encoder, in eval mode on the CPU. Its large weights move into this module: do
        not use it afterwards.
    dtype
        float32 for the plain encoder's numbers, bfloat16 for speed (residuals and norms stay
        float32).
    """

    def __init__(self, encoder: ImageEncoderViT, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        patch = encoder.patch_embed.proj
        self.patch_size = patch.kernel_size[0]
        self.pos_embed = encoder.pos_embed
        blocks = [cast(Block, block) for block in encoder.blocks]
        self.window_size = max(block.window_size for block in blocks) or 1
        rows = encoder.pos_embed.shape[1] * encoder.pos_embed.shape[2]
        self.patch_embed = pack_linear(
            patch.weight.flatten(1), patch.bias, dtype=torch.float32, rows=rows
        )
        self.blocks = [PackedBlock(block, dtype=dtype, rows=rows) for block in blocks]
        self.neck = encoder.neck

    @torch.no_grad()
    def forward(self, x_B3HW: Tensor) -> Tensor:
        """Encode normalised, padded pictures (B, 3, H, W) to (B, C, h, w)."""
        with torch.autocast("cpu", enabled=False):
            return torch.cat([self._encode(picture) for picture in x_B3HW.float()])

    def _encode(self, picture_3HW: Tensor) -> Tensor:
        side = self.patch_size
        h, w = picture_3HW.shape[1] // side, picture_3HW.shape[2] // side
        order = window_order((h, w), self.window_size)
        patches = picture_3HW.view(3, h, side, w, side).permute(1, 3, 0, 2, 4)
        positions = resize_positions(self.pos_embed, (h, w)).reshape(h * w, -1)
        tokens = self.patch_embed(patches.reshape(h * w, -1)) + positions
        tokens = tokens.index_select(0, order.to_windows)
        for block in self.blocks:
            tokens = block(tokens, order, (h, w))
        raster = tokens.index_select(0, order.to_raster).view(1, h, w, -1)
        features: Tensor = self.neck(raster.permute(0, 3, 1, 2))
        return features


def pack_image_encoder(model: nn.Module, *, dtype: torch.dtype) -> None:
    """Replace a model's plain ViT encoder by a packed one; other encoders stay as they are."""
    encoder = getattr(model, "image_encoder", None)
    if isinstance(encoder, ImageEncoderViT):
        model.image_encoder = PackedViT(encoder, dtype=dtype)
