"""TinyViT, the image encoder of MobileSAM and of micro-sam's vit_t models. Knows torch only.

Attribute names are those of the published checkpoints. The classifier that those also carry is
never run, so it is not built: the registry names the keys that a loader leaves out.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_sam.core.architecture import TinyViTConfig
from napari_sam.core.modeling.image_encoder import join_windows, make_neck, split_windows


class TinyViT(nn.Module):
    """Normalised picture to image embedding (TinyViT, section 3.4; MobileSAM, section 3).

    Parameters
    ----------
    config
        Shape of the stages.
    out_chans
        Channels of the image embedding.
    """

    def __init__(self, config: TinyViTConfig, *, out_chans: int) -> None:
        super().__init__()
        self.patch_embed = Stem(config.embed_dims[0])
        self.layers = nn.ModuleList(Stage(config, index) for index in range(len(config.embed_dims)))
        self.neck = make_neck(config.embed_dims[-1], out_chans)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """Encode a padded picture.

        Parameters
        ----------
        x_B3HW
            (B, 3, H, W) normalised and padded picture; H and W are multiples of the stride.

        Returns
        -------
        Tensor
            (B, out_chans, H / stride, W / stride) image embedding.
        """
        x_BChw = self.patch_embed(x_B3HW)
        for stage in self.layers:
            x_BChw = stage(x_BChw)
        features: Tensor = self.neck(x_BChw)
        return features


class ConvNorm(nn.Sequential):
    """Convolution without bias, then batch norm (official names ``c``, ``bn``)."""

    def __init__(
        self, in_chans: int, out_chans: int, *, size: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        conv = nn.Conv2d(
            in_chans, out_chans, size, stride, padding=size // 2, groups=groups, bias=False
        )
        super().__init__(OrderedDict(c=conv, bn=nn.BatchNorm2d(out_chans)))


class Stem(nn.Module):
    """Picture to the first stage's width at a quarter of its size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvNorm(3, width // 2, size=3, stride=2),
            nn.GELU(),
            ConvNorm(width // 2, width, size=3, stride=2),
        )

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, C, H / 4, W / 4)."""
        out: Tensor = self.seq(x_B3HW)
        return out


class Stage(nn.Module):
    """Blocks of one width, then the merging to the next stage's width, if there is a next."""

    def __init__(self, config: TinyViTConfig, index: int) -> None:
        super().__init__()
        width = config.embed_dims[index]
        blocks = range(config.depths[index])
        if index == 0:
            hidden = int(width * config.mbconv_expand_ratio)
            self.blocks = nn.ModuleList(MBConv(width, hidden) for _ in blocks)
        else:
            self.blocks = nn.ModuleList(
                TinyViTBlock(
                    width,
                    config.num_heads[index],
                    window_size=config.window_sizes[index],
                    mlp_dim=int(width * config.mlp_ratio),
                    conv_size=config.local_conv_size,
                )
                for _ in blocks
            )
        self.downsample: PatchMerging | None = None
        if index + 1 < len(config.embed_dims):
            self.downsample = PatchMerging(
                width, config.embed_dims[index + 1], stride=config.merge_strides[index]
            )

    def forward(self, x_BChw: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, next C, h / stride, w / stride)."""
        for block in self.blocks:
            x_BChw = block(x_BChw)
        return x_BChw if self.downsample is None else self.downsample(x_BChw)


class MBConv(nn.Module):
    """Inverted bottleneck: widen, depthwise convolution, narrow, add."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, hidden)
        self.conv2 = ConvNorm(hidden, hidden, size=3, groups=hidden)
        self.conv3 = ConvNorm(hidden, width)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C, h, w)."""
        inner = F.gelu(self.conv1(x_BChw))
        inner = F.gelu(self.conv2(inner))
        out: Tensor = self.conv3(inner) + x_BChw
        return F.gelu(out)


class PatchMerging(nn.Module):
    """Convolutions to the next stage's width, with a stride."""

    def __init__(self, in_chans: int, out_chans: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_chans, out_chans)
        self.conv2 = ConvNorm(out_chans, out_chans, size=3, stride=stride, groups=out_chans)
        self.conv3 = ConvNorm(out_chans, out_chans)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, next C, h / stride, w / stride)."""
        inner = F.gelu(self.conv1(x_BChw))
        inner = F.gelu(self.conv2(inner))
        out: Tensor = self.conv3(inner)
        return out


class TinyViTBlock(nn.Module):
    """Windowed attention, depthwise convolution, MLP."""

    def __init__(
        self, width: int, num_heads: int, *, window_size: int, mlp_dim: int, conv_size: int
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.attn = WindowAttention(width, num_heads, side=window_size)
        self.local_conv = ConvNorm(width, width, size=conv_size, groups=width)
        self.mlp = NormMLP(width, mlp_dim)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C, h, w)."""
        x_BhwC = x_BChw.permute(0, 2, 3, 1)
        windows = split_windows(x_BhwC, self.window_size)
        attended = self.attn(windows.flatten(1, 2)).view_as(windows)
        x_BhwC = x_BhwC + join_windows(attended, (x_BhwC.shape[1], x_BhwC.shape[2]))
        x_BhwC = self.local_conv(x_BhwC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out_BhwC: Tensor = x_BhwC + self.mlp(x_BhwC)
        return out_BhwC.permute(0, 3, 1, 2)


class WindowAttention(nn.Module):
    """Self-attention in a square window, with one learned bias a head and distance.

    The norm lies inside, so the zero padding of the last windows becomes the norm's bias.
    """

    def __init__(self, width: int, num_heads: int, *, side: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, side * side))
        self.attention_bias_idxs: Tensor
        self.register_buffer("attention_bias_idxs", _distance_indexes(side), persistent=False)

    def forward(self, x_GNC: Tensor) -> Tensor:
        """Map (windows, N, C) to (windows, N, C); each window attends within itself."""
        # The columns of qkv are head by head (q, k, v), unlike in SAM's own transformer.
        qkv = self.qkv(self.norm(x_GNC)).unflatten(2, (self.num_heads, 3, -1))
        q, k, v = qkv.permute(3, 0, 2, 1, 4).unbind(0)  # each (windows, heads, N, d)
        bias_1HNN = self.attention_biases[:, self.attention_bias_idxs][None]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias_1HNN)
        out: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return out


class NormMLP(nn.Module):
    """Layer norm and two linear layers (official names ``norm``, ``fc1``, ``fc2``)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to (..., width)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return out


def _distance_indexes(side: int) -> Tensor:
    """(N, N) column of ``attention_biases`` for each pair of cells: |dy| * side + |dx|."""
    axis = torch.arange(side)
    distance = (axis[:, None] - axis[None, :]).abs()
    rows, columns = distance[:, None, :, None], distance[None, :, None, :]
    return (rows * side + columns).reshape(side * side, side * side)
