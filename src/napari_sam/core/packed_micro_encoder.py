"""The transformer of the bundled model's encoder as a CPU runs it fastest.

Same numbers as ``modeling/micro_encoder.py`` in float32. Weights are packed once for oneDNN with
GELU fused, and the residual scales are folded into them. In bfloat16 global attention runs in slabs
that stay in cache (torch's fused attention gains nothing from bfloat16 on CPUs without AMX);
residuals and norms stay float32. The convolutions are left alone: channels-last they already run at
the processor's peak. Knows torch and the plain modules; chosen in ``core/packed_micro.py``.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.modeling.micro_encoder import EncoderBlock, MicroEncoder, SelfAttention
from napari_sam.core.packed_vit import Linear, pack_linear

ROWS = 1600  # tokens that the packing is made for: a 640 x 640 canvas; others work as well
QUERIES_AT_ONCE = 256


class PackedAttention(nn.Module):
    """:class:`SelfAttention` over (B, N, D) tokens, with its residual scale folded in."""

    def __init__(self, plain: SelfAttention, scale: Tensor, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.heads, self.dtype = plain.num_heads, dtype
        self.qkv = pack_linear(plain.qkv.weight, plain.qkv.bias, dtype=dtype, rows=ROWS)
        self.proj = _pack_scaled(plain.proj, scale, dtype=dtype)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Shape unchanged, float32."""
        b, n, d = x_BND.shape
        qkv = self.qkv(x_BND.to(self.dtype).reshape(b * n, d))
        q, k, v = qkv.view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.dtype == torch.float32:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = attend_in_slabs(q, k, v)
        out = self.proj(mixed.transpose(1, 2).reshape(b * n, d))
        return out.view(b, n, d).float()


def attend_in_slabs(q_BHNd: Tensor, k_BHNd: Tensor, v_BHNd: Tensor) -> Tensor:
    """Softmax attention of (B, H, N, d) by plain products, some queries at a time."""
    b, heads, n, width = q_BHNd.shape
    queries, keys, values = (t.reshape(b * heads, n, width) for t in (q_BHNd, k_BHNd, v_BHNd))
    queries = queries * width**-0.5
    if n <= QUERIES_AT_ONCE:
        weights = torch.bmm(queries, keys.transpose(1, 2)).softmax(-1)
        return torch.bmm(weights, values).view(q_BHNd.shape)
    mixed = torch.empty_like(queries)
    buffer = queries.new_empty(QUERIES_AT_ONCE, n)
    for group in range(b * heads):
        for start in range(0, n, QUERIES_AT_ONCE):
            part = slice(start, start + QUERIES_AT_ONCE)
            slab = buffer[: min(QUERIES_AT_ONCE, n - start)]
            torch.mm(queries[group, part], keys[group].t(), out=slab)
            torch.softmax(slab, -1, out=slab)
            torch.mm(slab, values[group], out=mixed[group, part])
    return mixed.view(q_BHNd.shape)


class PackedEncoderBlock(EncoderBlock):
    """Drop-in for :class:`EncoderBlock`, made from a trained one; windows are cut as there."""

    def __init__(self, plain: EncoderBlock, *, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.window_size, self.dtype = plain.window_size, dtype
        self.position, self.norm1, self.norm2 = plain.position, plain.norm1, plain.norm2
        self.attn = cast(
            SelfAttention, PackedAttention(plain.attn, plain.scale1.detach(), dtype=dtype)
        )
        lin1, lin2 = plain.mlp.lin1, plain.mlp.lin2
        self.lin1 = pack_linear(lin1.weight, lin1.bias, dtype=dtype, rows=ROWS, gelu=True)
        self.lin2 = _pack_scaled(lin2, plain.scale2.detach(), dtype=dtype)

    def forward(self, x_BhwD: Tensor) -> Tensor:
        """Shape unchanged, float32."""
        with torch.autocast("cpu", enabled=False):
            x: Tensor = x_BhwD.float()
            x = x + self.position(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            x += self._attend(self.norm1(x))
            normal = self.norm2(x).to(self.dtype).flatten(0, -2)
            x += self.lin2(self.lin1(normal)).view(x.shape)
            return x


def _pack_scaled(layer: nn.Linear, scale: Tensor, *, dtype: torch.dtype) -> Linear:
    weight, bias = layer.weight.detach() * scale[:, None], layer.bias.detach() * scale
    return pack_linear(weight, bias, dtype=dtype, rows=ROWS)


def pack_micro_encoder(encoder: MicroEncoder, *, dtype: torch.dtype) -> None:
    """Replace the encoder's transformer blocks by packed ones, in place."""
    encoder.blocks = nn.ModuleList(
        PackedEncoderBlock(cast(EncoderBlock, block), dtype=dtype) for block in encoder.blocks
    )
