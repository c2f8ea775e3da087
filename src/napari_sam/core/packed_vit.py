"""SAM's ViT encoder the way a CPU runs it fastest; same numbers as ``modeling/image_encoder.py``.

Weights are packed once for oneDNN, with GELU fused. Tokens stay in window order through the whole
trunk, so cutting windows costs nothing; those that only pad a window are never computed. Attention,
residual sums and norms are those of the compiled library (``native/``) where there is one, else
``slab_attention.py`` and torch. Knows torch and the plain modules; chosen in ``engines/fit.py``.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.modeling.image_encoder import (
    Attention,
    Block,
    ImageEncoderViT,
    resize_positions,
)
from napari_sam.core.native.attention import attend, can_attend
from napari_sam.core.native.rows import add_and_normalise, can_normalise
from napari_sam.core.slab_attention import SlabAttention, reversed_tables
from napari_sam.core.windows import WindowOrder, token_index, window_order

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


class Attend(Protocol):
    """Attention of one block: (N, 3, H, d) to (N, H * d), tokens in window order."""

    def __call__(self, qkv_N3Hd: Tensor, order: WindowOrder, grid: tuple[int, int]) -> Tensor:
        """Attend within windows, or to the whole ``grid``."""
        ...


class CompiledAttention:
    """As :class:`SlabAttention`, by the compiled library."""

    def __init__(self, attention: Attention, *, window: int, side: int, dtype: torch.dtype) -> None:
        self.attention = attention
        self.window = window
        self.side = side
        self.dtype = dtype
        self.padding = attention.qkv.bias.detach().to(dtype).view(3, attention.num_heads, -1)

    def __call__(self, qkv_N3Hd: Tensor, order: WindowOrder, grid: tuple[int, int]) -> Tensor:
        """Attend within windows, or to the whole grid."""
        keys = (self.window, self.window) if self.window else grid
        tables = reversed_tables(self.attention, keys).to(self.dtype)
        return attend(qkv_N3Hd, token_index(grid, self.side, self.window), self.padding, tables)


def pack_attention(attention: Attention, *, window: int, side: int, dtype: torch.dtype) -> Attend:
    """The fastest attention that this machine has for a block.

    Parameters
    ----------
    attention
        Of the plain block.
    window
        Side of its windows; 0: it attends to all.
    side
        Of the windows that make the order of the tokens.
    dtype
        Of the products.
    """
    width = attention.qkv.in_features // attention.num_heads
    if can_attend(width, dtype):
        return CompiledAttention(attention, window=window, side=side, dtype=dtype)
    return SlabAttention(attention, window=window, dtype=dtype)


class PackedBlock:
    """One transformer block on (N, D) tokens in window order.

    Parameters
    ----------
    block
        The plain one; its large weights move into this.
    side
        Of the windows that make the order of the tokens.
    dtype
        Of the products.
    rows
        Usual number of tokens.
    """

    def __init__(self, block: Block, *, side: int, dtype: torch.dtype, rows: int) -> None:
        attention = block.attn
        self.heads = attention.num_heads
        self.dtype = dtype
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.attend = pack_attention(attention, window=block.window_size, side=side, dtype=dtype)
        self.compiled = can_normalise(block.norm1, dtype)
        pack = partial(pack_linear, dtype=dtype, rows=rows)
        self.qkv = pack(attention.qkv.weight, attention.qkv.bias)
        self.proj = pack(attention.proj.weight, attention.proj.bias)
        mlp = block.mlp
        self.lin1 = pack(mlp.lin1.weight, mlp.lin1.bias, gelu=True)
        self.lin2 = pack(mlp.lin2.weight, mlp.lin2.bias)
        # The packed copies serve from now on; two of everything would double the memory.
        for layer in (attention.qkv, attention.proj, mlp.lin1, mlp.lin2):
            layer.weight = nn.Parameter(torch.empty(0), requires_grad=False)

    def __call__(
        self, x_ND: Tensor, added_ND: Tensor | None, order: WindowOrder, grid: tuple[int, int]
    ) -> Tensor:
        """Attention and MLP on the residual stream, which is changed.

        Parameters
        ----------
        x_ND
            The stream, float32.
        added_ND
            What the block before has still to add to it.

        Returns
        -------
        Tensor
            (N, D) what is still to be added after this block.
        """
        qkv = self.qkv(self._take_in(x_ND, added_ND, self.norm1)).view(len(x_ND), 3, self.heads, -1)
        attended = self.proj(self.attend(qkv, order, grid))
        del qkv
        return self.lin2(self.lin1(self._take_in(x_ND, attended, self.norm2)))

    def _take_in(self, x_ND: Tensor, added_ND: Tensor | None, norm: nn.LayerNorm) -> Tensor:
        if self.compiled:
            return add_and_normalise(x_ND, added_ND, norm, dtype=self.dtype)
        if added_ND is not None:
            x_ND += added_ND
        normal: Tensor = norm(x_ND)
        return normal.to(self.dtype)


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

    Attributes
    ----------
    compiled
        Whether the compiled library computes its attention.
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
        self.blocks = [
            PackedBlock(block, side=self.window_size, dtype=dtype, rows=rows) for block in blocks
        ]
        self.neck = encoder.neck
        self.compiled = all(isinstance(block.attend, CompiledAttention) for block in self.blocks)

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
        rest: Tensor | None = None
        for block in self.blocks:
            rest = block(tokens, rest, order, (h, w))
        if rest is not None:
            tokens += rest
        raster = tokens.index_select(0, order.to_raster).view(1, h, w, -1)
        features: Tensor = self.neck(raster.permute(0, 3, 1, 2))
        return features


def pack_image_encoder(model: nn.Module, *, dtype: torch.dtype) -> None:
    """Replace a model's plain ViT encoder by a packed one; other encoders stay as they are."""
    encoder = getattr(model, "image_encoder", None)
    if isinstance(encoder, ImageEncoderViT):
        model.image_encoder = PackedViT(encoder, dtype=dtype)
