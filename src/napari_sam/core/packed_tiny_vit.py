"""TinyViT as a CPU runs it fastest; same numbers as ``modeling/tiny_vit.py`` in float32.

Channels lie innermost, so that 1 x 1 convolutions are linear layers. Batch norms are folded into
the weights, which are packed once for oneDNN with GELU fused; what is widened in a bottleneck is
made of some rows at a time and never leaves the cores' caches. In bfloat16 products alone are;
residuals and norms stay float32. Knows torch and the plain modules; chosen in
``core/engines/fit.py``.

Suffixes: h, w grid, C channels, N tokens of a window.
"""

from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.modeling.image_encoder import join_windows, split_windows
from napari_sam.core.modeling.tiny_vit import (
    ConvNorm,
    MBConv,
    PatchMerging,
    Stage,
    TinyViT,
    TinyViTBlock,
    WindowAttention,
)
from napari_sam.core.packed_vit import Linear, pack_linear
from napari_sam.core.threads import side_by_side

ROWS = 4096  # tokens that the packing is made for: a stage of 64 x 64; others work as well
NUMBERS_AT_ONCE = 1 << 20  # of what a bottleneck widens: 4 MB a worker


def fold(layer: ConvNorm) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with its batch norm in it."""
    conv, norm = cast(nn.Conv2d, layer.c), cast(nn.BatchNorm2d, layer.bn)
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = norm.weight.double() / (variance.double() + norm.eps).sqrt()
    weight = conv.weight.double() * scale[:, None, None, None]
    bias = norm.bias.double() - mean.double() * scale
    return weight.float(), bias.float()


class Convolution:
    """A folded convolution of (h, w, C), by default with its own zero padding."""

    def __init__(self, layer: ConvNorm, *, dtype: torch.dtype) -> None:
        weight, bias = fold(layer)
        conv = cast(nn.Conv2d, layer.c)
        self.stride, self.groups = conv.stride[0], conv.groups
        self.reach = conv.kernel_size[0] // 2
        self.weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = bias.to(dtype)

    def __call__(self, x_hwC: Tensor, *, padded_rows: bool = False) -> Tensor:
        """Convolve; with ``padded_rows`` the rows beyond the border are there already."""
        padding = (0 if padded_rows else self.reach, self.reach)
        x_1Chw = x_hwC.permute(2, 0, 1)[None]
        out = F.conv2d(x_1Chw, self.weight, self.bias, self.stride, padding, 1, self.groups)
        return out[0].permute(1, 2, 0)


class Bottleneck:
    """:class:`MBConv` or :class:`PatchMerging`: widen, convolve each channel, narrow."""

    def __init__(self, plain: MBConv | PatchMerging, *, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.widen = _pointwise(plain.conv1, dtype=dtype, gelu=True)
        self.middle = Convolution(plain.conv2, dtype=dtype)
        self.narrow = _pointwise(plain.conv3, dtype=dtype)
        self.wide, self.out = (
            cast(nn.Conv2d, layer.c).out_channels for layer in (plain.conv1, plain.conv3)
        )
        self.adds = isinstance(plain, MBConv)

    def __call__(self, x_hwC: Tensor) -> Tensor:
        """(h / stride, w / stride, C) float32."""
        h, w, _ = x_hwC.shape
        stride = self.middle.stride
        rows = -(-h // stride)
        out = x_hwC.new_empty(rows, -(-w // stride), self.out)
        step = max(1, NUMBERS_AT_ONCE // (w * self.wide * stride))
        parts = [slice(i, min(i + step, rows)) for i in range(0, rows, step)]
        side_by_side([partial(self._make, x_hwC, part, out[part]) for part in parts])
        return out

    def _make(self, x_hwC: Tensor, part: slice, out: Tensor) -> None:
        """Some rows of the result."""
        h, w, _ = x_hwC.shape
        stride, reach = self.middle.stride, self.middle.reach
        first, last = part.start * stride - reach, (part.stop - 1) * stride + reach + 1
        there = x_hwC[max(first, 0) : min(last, h)]
        wide = self.widen(there.to(self.dtype).flatten(0, 1)).view(len(there), w, -1)
        # The padding lies around what is widened, not around what comes in.
        beyond = (max(-first, 0), max(last - h, 0))
        if any(beyond):
            wide = F.pad(wide, (0, 0, 0, 0, *beyond))
        inner = F.gelu(self.middle(wide, padded_rows=True))
        made = self.narrow(inner.flatten(0, 1)).view(out.shape).float()
        out.copy_(F.gelu(made + x_hwC[part]) if self.adds else made)


class PackedBlock:
    """:class:`TinyViTBlock` on (h, w, C) float32."""

    def __init__(self, plain: TinyViTBlock, *, dtype: torch.dtype) -> None:
        self.dtype, self.side = dtype, plain.window_size
        self.attention = PackedAttention(plain.attn, dtype=dtype)
        self.local = Convolution(plain.local_conv, dtype=torch.float32)
        mlp = plain.mlp
        self.norm = mlp.norm
        self.widen = pack_linear(mlp.fc1.weight, mlp.fc1.bias, dtype=dtype, rows=ROWS, gelu=True)
        self.narrow = pack_linear(mlp.fc2.weight, mlp.fc2.bias, dtype=dtype, rows=ROWS)

    def __call__(self, x_hwC: Tensor) -> Tensor:
        """Shape unchanged."""
        h, w, width = x_hwC.shape
        windows = split_windows(x_hwC[None], self.side)
        attended = self.attention(windows.flatten(1, 2)).view_as(windows)
        x = self.local(x_hwC + join_windows(attended, (h, w))[0]).reshape(-1, width)
        x = x + self.narrow(self.widen(self.norm(x).to(self.dtype))).float()
        return x.view(h, w, width)


class PackedAttention:
    """:class:`WindowAttention` with its biases laid out."""

    def __init__(self, plain: WindowAttention, *, dtype: torch.dtype) -> None:
        self.heads, self.norm, self.dtype = plain.num_heads, plain.norm, dtype
        self.qkv = pack_linear(plain.qkv.weight, plain.qkv.bias, dtype=dtype, rows=ROWS)
        self.proj = pack_linear(plain.proj.weight, plain.proj.bias, dtype=dtype, rows=ROWS)
        self.bias_1HNN = plain.attention_biases[:, plain.attention_bias_idxs][None].contiguous()

    def __call__(self, x_GNC: Tensor) -> Tensor:
        """Map (windows, N, C) to (windows, N, C), float32."""
        groups, count, width = x_GNC.shape
        qkv = self.qkv(self.norm(x_GNC).to(self.dtype).flatten(0, 1)).float()
        qkv = qkv.view(groups, count, self.heads, 3, -1).permute(3, 0, 2, 1, 4)
        q, k, v = qkv
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias_1HNN)
        mixed = attended.transpose(1, 2).reshape(-1, width)
        return self.proj(mixed.to(self.dtype)).float().view(x_GNC.shape)


class PackedTinyViT(nn.Module):
    """Drop-in for :class:`TinyViT` on CPUs, made from a trained one in eval mode."""

    @torch.no_grad()
    def __init__(self, plain: TinyViT, *, dtype: torch.dtype) -> None:
        super().__init__()
        first, _, second = plain.patch_embed.seq
        self.stem = [
            Convolution(cast(ConvNorm, layer), dtype=torch.float32) for layer in (first, second)
        ]
        self.steps: list[Bottleneck | PackedBlock] = []
        for stage in plain.layers:
            assert isinstance(stage, Stage)
            for block in stage.blocks:
                kind = Bottleneck if isinstance(block, MBConv) else PackedBlock
                self.steps.append(kind(block, dtype=dtype))  # type: ignore[arg-type]
            if stage.downsample is not None:
                self.steps.append(Bottleneck(stage.downsample, dtype=dtype))
        self.neck = plain.neck

    @torch.no_grad()
    def forward(self, x_B3HW: Tensor) -> Tensor:
        """Encode normalised, padded pictures (B, 3, H, W) to (B, C, h, w)."""
        with torch.autocast("cpu", enabled=False):
            return torch.cat([self._encode(picture) for picture in x_B3HW.float()])

    def _encode(self, picture_3HW: Tensor) -> Tensor:
        first, second = self.stem
        x_hwC = second(F.gelu(first(picture_3HW.permute(1, 2, 0).contiguous())))
        for step in self.steps:
            x_hwC = step(x_hwC)
        features: Tensor = self.neck(x_hwC.permute(2, 0, 1)[None])
        return features


def _pointwise(layer: ConvNorm, *, dtype: torch.dtype, gelu: bool = False) -> Linear:
    weight, bias = fold(layer)
    return pack_linear(weight.flatten(1), bias, dtype=dtype, rows=ROWS, gelu=gelu)


def pack_tiny_vit(model: nn.Module, *, dtype: torch.dtype) -> None:
    """Replace a model's plain TinyViT by a packed one; other encoders stay as they are."""
    encoder = getattr(model, "image_encoder", None)
    if isinstance(encoder, TinyViT):
        model.image_encoder = PackedTinyViT(encoder, dtype=dtype)
