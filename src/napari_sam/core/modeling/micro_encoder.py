"""Image encoder of the bundled model: convolutions to stride 8, attention at stride 16.

A from-scratch hybrid for CPUs. It has no absolute position table (a depth-wise convolution in each
block carries position instead), so it takes any size whose sides are multiples of 16. Knows torch
only; what becomes of the features is the decoder's business.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.modeling.common import EncodedImage, MLPBlock


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a (B, C, H, W) tensor, free of copies in channels-last."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise each pixel's channel vector; shape unchanged."""
        return super().forward(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Norm, 3 x 3 convolution, GELU, 3 x 3 convolution, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Shape unchanged."""
        out: Tensor = x_BCHW + self.conv2(F.gelu(self.conv1(self.norm(x_BCHW))))
        return out


class SelfAttention(nn.Module):
    """Multi-head self-attention over (B, N, D) tokens."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Shape unchanged."""
        b, n, d = x_BND.shape
        qkv = self.qkv(x_BND).view(b, n, 3, self.num_heads, d // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(b, n, d))
        return out


class EncoderBlock(nn.Module):
    """Pre-norm transformer block with convolutional positions and scaled residuals.

    Parameters
    ----------
    dim
        Width of the tokens.
    num_heads
        Heads of the attention.
    window_size
        Side of the square attention window in tokens; 0 attends globally.
    """

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.window_size = window_size
        self.position = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1 = nn.LayerNorm(dim)
        self.attn = SelfAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLPBlock(dim, 4 * dim)
        self.scale1 = nn.Parameter(torch.full((dim,), 0.3))
        self.scale2 = nn.Parameter(torch.full((dim,), 0.3))
        nn.init.zeros_(self.position.weight)
        nn.init.zeros_(self.position.bias)  # type: ignore[arg-type]

    def forward(self, x_BhwD: Tensor) -> Tensor:
        """Shape unchanged."""
        x = x_BhwD + self.position(x_BhwD.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = x + self.scale1 * self._attend(self.norm1(x))
        out: Tensor = x + self.scale2 * self.mlp(self.norm2(x))
        return out

    def _attend(self, x_BhwD: Tensor) -> Tensor:
        b, h, w, d = x_BhwD.shape
        size = self.window_size
        if not size or (h <= size and w <= size):
            whole: Tensor = self.attn(x_BhwD.reshape(b, h * w, d)).view(b, h, w, d)
            return whole
        padded = F.pad(x_BhwD, (0, 0, 0, -w % size, 0, -h % size))
        rows, columns = padded.shape[1] // size, padded.shape[2] // size
        windows = padded.view(b, rows, size, columns, size, d).transpose(2, 3)
        mixed: Tensor = self.attn(windows.reshape(-1, size * size, d))
        grid = mixed.view(b, rows, columns, size, size, d).transpose(2, 3)
        return grid.reshape(padded.shape)[:, :h, :w]


class MicroEncoder(nn.Module):
    """Convolution stages at strides 2, 4, 8, transformer at 16, fused back to stride 8.

    Parameters
    ----------
    stage_dims
        Channels at strides 2, 4 and 8.
    stage_depths
        Residual blocks at strides 2, 4 and 8.
    embed_dim, depth, num_heads, window_size
        Of the transformer; every third block attends globally.
    out_chans
        Channels of the image embedding (stride 8).
    skip_chans
        Channels of the finer features (stride 4).
    """

    def __init__(
        self,
        *,
        stage_dims: tuple[int, int, int],
        stage_depths: tuple[int, int, int],
        embed_dim: int,
        depth: int,
        num_heads: int,
        window_size: int,
        out_chans: int,
        skip_chans: int,
    ) -> None:
        super().__init__()
        dim2, dim4, dim8 = stage_dims
        self.stage2 = nn.Sequential(nn.Conv2d(3, dim2, 3, 2, 1), nn.GELU())
        self.stage4 = nn.Sequential(ChannelNorm(dim2), nn.Conv2d(dim2, dim4, 3, 2, 1))
        self.stage8 = nn.Sequential(ChannelNorm(dim4), nn.Conv2d(dim4, dim8, 3, 2, 1))
        stages = (self.stage2, self.stage4, self.stage8)
        for stage, dim, count in zip(stages, stage_dims, stage_depths, strict=True):
            stage.extend([ResidualBlock(dim) for _ in range(count)])
        self.patch_embed = nn.Sequential(ChannelNorm(dim8), nn.Conv2d(dim8, embed_dim, 3, 2, 1))
        self.blocks = nn.ModuleList(
            EncoderBlock(embed_dim, num_heads, 0 if i % 3 == 2 else window_size)
            for i in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.upscale = nn.Linear(embed_dim, 4 * out_chans)
        self.lateral = nn.Conv2d(dim8, out_chans, 1)
        self.neck = nn.Sequential(ResidualBlock(out_chans), ChannelNorm(out_chans))
        self.skip = nn.Conv2d(dim4, skip_chans, 1)

    def forward(self, x_B3HW: Tensor) -> EncodedImage:
        """Encode normalised images.

        Parameters
        ----------
        x_B3HW
            (B, 3, H, W), H and W multiples of 16.

        Returns
        -------
        EncodedImage
            features (B, out_chans, H / 8, W / 8), skip (B, skip_chans, H / 4, W / 4).
        """
        x4 = self.stage4(self.stage2(x_B3HW.contiguous(memory_format=torch.channels_last)))
        x8 = self.stage8(x4)
        tokens = self.patch_embed(x8).permute(0, 2, 3, 1)
        for block in self.blocks:
            tokens = block(tokens)
        b, h, w, _ = tokens.shape
        coarse = self.upscale(self.norm(tokens)).view(b, h, w, 2, 2, -1)
        coarse = coarse.permute(0, 5, 1, 3, 2, 4).reshape(b, -1, 2 * h, 2 * w)
        return EncodedImage(self.neck(coarse + self.lateral(x8)), self.skip(x4))
