"""Image cells to mask logits as a CPU does it fastest; the last third of ``packed_decoder.py``.

Cells lie one after the other, so that a transposed 2 x 2 convolution is a linear layer, its norm
one over the last dimension, and the product with a mask's kernel another linear layer; only the
logits are put in their places on the canvas. Knows torch and the plain modules.
"""

from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.modeling.common import LayerNorm2d
from napari_sam.core.modeling.mask_decoder import MLP
from napari_sam.core.packed_vit import pack_linear
from napari_sam.core.threads import Run, slices

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
        weight, bias = _as_linear(cast(nn.ConvTranspose2d, first))
        # The upper and the lower row of what a cell becomes apart: then a row of the canvas is
        # one run through memory, and putting logits in their places is cheap.
        self.rows = [
            pack_linear(w, b, dtype=dtype, rows=SLAB)
            for w, b in zip(weight.chunk(SIDE), bias.chunk(SIDE), strict=True)
        ]
        weight, bias = _as_linear(cast(nn.ConvTranspose2d, second))
        self.second = pack_linear(weight, bias, dtype=dtype, rows=SLAB * SIDE, gelu=True)

    def kernels(self, tokens_MD: Tensor, wanted: range) -> Tensor:
        """Kernels (M, C) of the wanted mask tokens."""
        return torch.stack([self.hypernetworks[i](tokens_MD[i]) for i in wanted])

    def form(self, cells_PD: Tensor, kernels_MC: Tensor, out_MHW: Tensor, *, run: Run) -> None:
        """Write the logits (M, 4 * h, 4 * w) of one object's cells (h * w, D)."""
        masks, height, width = out_MHW.shape
        h, w = height // SIDE**2, width // SIDE**2
        kernels_MC = kernels_MC.to(self.dtype)
        cells_hwD = cells_PD.view(h, w, -1)
        canvas = pairs(out_MHW).view(masks, h, SIDE, SIDE, w, SIDE)

        def form(part: slice) -> None:
            cells = cells_hwD[part].flatten(0, 1)
            for row, upscale in enumerate(self.rows):
                fine = self._refine(upscale(cells)).view(-1, kernels_MC.shape[1])
                logits = pairs(torch.mm(kernels_MC, fine.t()).float())
                # By cell, column and row of the last layer; pairs of neighbours stay together.
                logits = logits.view(masks, -1, w, SIDE, SIDE).permute(0, 1, 4, 2, 3)
                canvas[:, part, row].copy_(logits)

        run([partial(form, part) for part in slices(h, max(1, SLAB // w))])

    def _refine(self, fine_PE: Tensor) -> Tensor:
        """Norm, GELU and second convolution of one row of what each cell becomes."""
        norm = self.norm
        fine = fine_PE.view(len(fine_PE) * SIDE, -1).float()
        fine = F.layer_norm(fine, fine.shape[-1:], norm.weight, norm.bias, norm.eps)
        return self.second(F.gelu(fine.to(self.dtype)))


def pairs(x: Tensor) -> Tensor:
    """Two neighbours as one number of twice the size: half as many to put in place."""
    return x.view(torch.complex64)


def _as_linear(layer: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """Take a transposed convolution's weights, as a linear layer to (row, column, channel)."""
    weight = layer.weight.permute(2, 3, 1, 0).reshape(-1, layer.in_channels)
    bias = cast(Tensor, layer.bias).repeat(SIDE**2)
    layer.weight = nn.Parameter(torch.empty(0), requires_grad=False)
    return weight, bias
