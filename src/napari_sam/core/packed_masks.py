"""Image cells to mask logits as a CPU does it fastest; the last third of ``packed_decoder.py``.

Cells lie one after the other, so that a transposed 2 x 2 convolution is a linear layer, its norm
one over the last dimension, and the product with a mask's kernel another linear layer; only the
logits are put in their places on the canvas. Knows torch and the plain modules.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.modeling.common import LayerNorm2d
from napari_sam.core.modeling.mask_decoder import MLP
from napari_sam.core.packed_vit import Linear, pack_linear

SLAB = 1024  # cells at once: what lies between the layers stays in the L2 caches
SIDE = 2  # of each transposed convolution


class PackedMasks:
    """Upscaling and hypernetworks of a decoder; their large weights move here.

    Parameters
    ----------
    upscaling
        Transposed convolution, norm, GELU, transposed convolution, GELU.
    hypernetworks
        One MLP a mask token.
    dtype
        Of matrix products.
    """

    def __init__(
        self, upscaling: nn.Sequential, hypernetworks: nn.ModuleList, *, dtype: torch.dtype
    ) -> None:
        self.dtype = dtype
        first, norm, _, second, _ = upscaling
        self.norm = cast(LayerNorm2d, norm)
        self.hypernetworks = [cast(MLP, mlp) for mlp in hypernetworks]
        self.first = _pack(cast(nn.ConvTranspose2d, first), dtype=dtype, rows=SLAB)
        self.second = _pack(
            cast(nn.ConvTranspose2d, second), dtype=dtype, rows=SLAB * SIDE**2, gelu=True
        )

    def kernels(self, tokens_bMD: Tensor, wanted: range) -> Tensor:
        """Kernels (b, M, C) of the wanted mask tokens."""
        made = [self.hypernetworks[i](tokens_bMD[:, i]) for i in wanted]
        return torch.stack(made, dim=1)

    def form(self, cells_PD: Tensor, kernels_MC: Tensor, out_MHW: Tensor) -> None:
        """Write the logits (M, 4 * h, 4 * w) of one object's cells (h * w, D)."""
        masks, height, width = out_MHW.shape
        h, w = height // SIDE**2, width // SIDE**2
        # One kernel for each place that the last layer makes of a cell: a block for each.
        blocks = torch.eye(SIDE**2)[:, None, :, None] * kernels_MC.t()[None, :, None, :]
        blocks = blocks.reshape(-1, SIDE**2 * masks).to(self.dtype)
        rows = max(1, SLAB // w)
        for start in range(0, h, rows):
            part = cells_PD[start * w : (start + rows) * w]
            count = len(part) // w
            logits = self._slab(part, blocks).view(count, w, SIDE, SIDE, SIDE, SIDE, masks)
            place = out_MHW[:, start * SIDE**2 : (start + count) * SIDE**2]
            place = place.view(masks, count, SIDE, SIDE, w, SIDE, SIDE)
            place.copy_(logits.permute(6, 0, 2, 4, 1, 3, 5))

    def _slab(self, cells_PD: Tensor, blocks: Tensor) -> Tensor:
        fine = self.first(cells_PD.to(self.dtype)).view(len(cells_PD) * SIDE**2, -1)
        fine = F.layer_norm(
            fine,
            fine.shape[-1:],
            self.norm.weight.to(self.dtype),
            self.norm.bias.to(self.dtype),
            self.norm.eps,
        )
        finer = self.second(F.gelu(fine))
        return finer @ blocks


def _pack(
    layer: nn.ConvTranspose2d, *, dtype: torch.dtype, rows: int, gelu: bool = False
) -> Linear:
    """A transposed convolution as a linear layer to (place, channel)."""
    weight = layer.weight.permute(2, 3, 1, 0).reshape(-1, layer.in_channels)
    bias = cast(Tensor, layer.bias).repeat(SIDE**2)
    layer.weight = nn.Parameter(torch.empty(0), requires_grad=False)
    return pack_linear(weight, bias, dtype=dtype, rows=rows, gelu=gelu)
