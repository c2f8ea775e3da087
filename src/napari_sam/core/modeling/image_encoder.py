"""SAM's vision transformer: patches, windows, relative positions, neck. Knows torch only.

Attribute names are those of the published checkpoints. Suffixes as in ``common.py``; D is a
token's width, d a head's, L the length of a table of relative positions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_sam.core.architecture import ViTConfig
from napari_sam.core.modeling.common import LayerNorm2d, MLPBlock

_LAYER_NORM_EPS = 1e-6
# The bias of a global block is (heads, 4096, 4096) at full size. A head at a time keeps it at
# 64 MiB; the windows of a block still go in one piece.
_MAX_BIAS_ELEMENTS = 2**24


class ImageEncoderViT(nn.Module):
    """Normalised picture to image embedding (SAM, appendix A; ViTDet).

    Parameters
    ----------
    config
        Shape of the transformer.
    grid_size
        Side in patches of the square grid that the position tables belong to.
    out_chans
        Channels of the image embedding.
    """

    def __init__(self, config: ViTConfig, *, grid_size: int, out_chans: int) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config.embed_dim, config.patch_size)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid_size, grid_size, config.embed_dim))
        self.blocks = nn.ModuleList(
            Block(
                config.embed_dim,
                config.num_heads,
                mlp_dim=int(config.embed_dim * config.mlp_ratio),
                window_size=0 if index in config.global_attn_indexes else config.window_size,
                grid_size=grid_size,
            )
            for index in range(config.depth)
        )
        self.neck = make_neck(config.embed_dim, out_chans)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """Encode a padded picture.

        Parameters
        ----------
        x_B3HW
            (B, 3, H, W) normalised and padded picture; H and W are multiples of the patch size.

        Returns
        -------
        Tensor
            (B, out_chans, H / patch, W / patch) image embedding.
        """
        x_BhwD = self.patch_embed(x_B3HW)
        x_BhwD = x_BhwD + resize_positions(self.pos_embed, (x_BhwD.shape[1], x_BhwD.shape[2]))
        for block in self.blocks:
            x_BhwD = block(x_BhwD)
        features: Tensor = self.neck(x_BhwD.permute(0, 3, 1, 2))
        return features


class PatchEmbed(nn.Module):
    """Patches to tokens: one convolution whose stride is its size."""

    def __init__(self, embed_dim: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, h, w, D)."""
        tokens_BDhw: Tensor = self.proj(x_B3HW)
        return tokens_BDhw.permute(0, 2, 3, 1)


class Block(nn.Module):
    """Pre-norm transformer block; ``window_size`` 0 means that it attends to the whole grid."""

    def __init__(
        self, dim: int, num_heads: int, *, mlp_dim: int, window_size: int, grid_size: int
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=_LAYER_NORM_EPS)
        self.attn = Attention(dim, num_heads, side=window_size or grid_size)
        self.norm2 = nn.LayerNorm(dim, eps=_LAYER_NORM_EPS)
        self.mlp = MLPBlock(dim, mlp_dim)
        self.window_size = window_size

    def forward(self, x_BhwD: Tensor) -> Tensor:
        """Map (B, h, w, D) to (B, h, w, D)."""
        normal = self.norm1(x_BhwD)
        if self.window_size:
            # Padding comes after the norm: padded tokens are zeros that attention does see.
            windows = split_windows(normal, self.window_size)
            grid = (x_BhwD.shape[1], x_BhwD.shape[2])
            attended = join_windows(self.attn(windows), grid)
        else:
            attended = self.attn(normal)
        x_BhwD = x_BhwD + attended
        out: Tensor = x_BhwD + self.mlp(self.norm2(x_BhwD))
        return out


class Attention(nn.Module):
    """Self-attention with a learned bias for the distance in rows and in columns (MViTv2).

    ``side`` is the side of the grid or window that the distance tables are made for.
    """

    def __init__(self, dim: int, num_heads: int, *, side: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, dim // num_heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, dim // num_heads))

    def forward(self, x_BhwD: Tensor) -> Tensor:
        """Map (B, h, w, D) to (B, h, w, D); each of the B attends within itself."""
        B, h, w, D = x_BhwD.shape
        qkv = self.qkv(x_BhwD).reshape(B, h * w, 3, self.num_heads, D // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2).unbind(0)  # each (G, N, d)
        table_hhd = relative_table(self.rel_pos_h, h)
        table_wwd = relative_table(self.rel_pos_w, w)

        together = max(1, _MAX_BIAS_ELEMENTS // (h * w) ** 2)
        parts = [
            _attend(*qkv_part, relative_bias(qkv_part[0], table_hhd, table_wwd))
            for qkv_part in zip(
                q.split(together), k.split(together), v.split(together), strict=True
            )
        ]
        attended = torch.cat(parts) if len(parts) > 1 else parts[0]
        attended = attended.view(B, self.num_heads, h, w, -1).permute(0, 2, 3, 1, 4)
        out: Tensor = self.proj(attended.reshape(B, h, w, D))
        return out


def _attend(q_GNd: Tensor, k_GNd: Tensor, v_GNd: Tensor, bias_GNN: Tensor) -> Tensor:
    """Attention of G heads; the axis in front is what torch's fused kernel for CPUs asks for."""
    out_1GNd = F.scaled_dot_product_attention(
        q_GNd[None], k_GNd[None], v_GNd[None], attn_mask=bias_GNN[None]
    )
    return out_1GNd[0]


def make_neck(in_chans: int, out_chans: int) -> nn.Sequential:
    """Last layers of both encoders: 1 x 1 and 3 x 3 convolution, each with a layer norm."""
    return nn.Sequential(
        nn.Conv2d(in_chans, out_chans, kernel_size=1, bias=False),
        LayerNorm2d(out_chans),
        nn.Conv2d(out_chans, out_chans, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(out_chans),
    )


def resize_positions(table_1hwD: Tensor, grid: tuple[int, int]) -> Tensor:
    """Fit a table of absolute positions to another grid, bicubically.

    Parameters
    ----------
    table_1hwD
        (1, h, w, D) table.
    grid
        (height, width) wanted, in tokens.

    Returns
    -------
    Tensor
        (1, *grid, D); the very table where it has that size already.
    """
    if table_1hwD.shape[1:3] == grid:
        return table_1hwD
    planes = table_1hwD.permute(0, 3, 1, 2)
    resized = F.interpolate(planes, size=grid, mode="bicubic", align_corners=False)
    return resized.permute(0, 2, 3, 1)


def relative_table(table_Ld: Tensor, size: int) -> Tensor:
    """Look up the distance embedding of each query and key position along one axis.

    Parameters
    ----------
    table_Ld
        (L, d) one row a distance, from the most negative to the most positive; interpolated
        linearly where L is not 2 * size - 1.
    size
        Positions along the axis.

    Returns
    -------
    Tensor
        (size, size, d): query position, key position, embedding of query minus key.
    """
    length = 2 * size - 1
    if table_Ld.shape[0] != length:
        table_Ld = F.interpolate(table_Ld.t()[None], size=length, mode="linear")[0].t()
    position = torch.arange(size, device=table_Ld.device)
    distance = position[:, None] - position[None, :]
    return table_Ld[distance + size - 1]


def relative_bias(q_GNd: Tensor, table_hhd: Tensor, table_wwd: Tensor) -> Tensor:
    """Compute what the distances add to the attention logits.

    Parameters
    ----------
    q_GNd
        (G, h * w, d) queries, unscaled: the official code biases with those.
    table_hhd, table_wwd
        Embeddings of the row and column distances, from :func:`relative_table`.

    Returns
    -------
    Tensor
        (G, h * w, h * w) bias of each query (dimension 1) towards each key (dimension 2).
    """
    h, w = table_hhd.shape[0], table_wwd.shape[0]
    q_Ghwd = q_GNd.reshape(-1, h, w, q_GNd.shape[2])
    # einsum leaves its batch axis first in memory; their sum is far larger than a copy of these.
    rows = torch.einsum("ghwd,hkd->ghwk", q_Ghwd, table_hhd).contiguous()
    columns = torch.einsum("ghwd,wkd->ghwk", q_Ghwd, table_wwd).contiguous()
    return (rows[..., :, None] + columns[..., None, :]).view(-1, h * w, h * w)


def split_windows(x_BhwD: Tensor, side: int) -> Tensor:
    """Cut a grid of tokens into windows, padded with zeros at the bottom and right.

    Parameters
    ----------
    x_BhwD
        (B, h, w, D) tokens.
    side
        Side of a window in tokens.

    Returns
    -------
    Tensor
        (B * windows, side, side, D), the windows of one picture in raster order.
    """
    B, h, w, D = x_BhwD.shape
    # No negative numbers: an exporter to ONNX rounds their quotients to the wrong side.
    rows, columns = (h + side - 1) // side, (w + side - 1) // side
    padded = F.pad(x_BhwD, (0, 0, 0, columns * side - w, 0, rows * side - h))
    cut = padded.reshape(B, rows, side, columns, side, D)
    return cut.transpose(2, 3).reshape(-1, side, side, D)


def join_windows(windows: Tensor, grid: tuple[int, int]) -> Tensor:
    """Undo :func:`split_windows` and drop the padding.

    Parameters
    ----------
    windows
        (B * windows, side, side, D).
    grid
        (h, w) of the grid before it was padded.

    Returns
    -------
    Tensor
        (B, h, w, D).
    """
    h, w = grid
    side, D = windows.shape[1], windows.shape[3]
    rows, columns = (h + side - 1) // side, (w + side - 1) // side
    cut = windows.view(-1, rows, columns, side, side, D).transpose(2, 3)
    return cut.reshape(-1, rows * side, columns * side, D)[:, :h, :w]
