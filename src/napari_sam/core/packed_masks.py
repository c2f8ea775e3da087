"""Image cells to mask logits as a CPU does it fastest; the last third of ``packed_decoder.py``.

Cells lie one after the other, so that a transposed 2 x 2 convolution is a linear layer, its norm
one over the last dimension, and the product with a mask's kernel another linear layer; only the
logits are put in their places on the canvas. Knows torch and the plain modules.
"""

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.modeling.common import LayerNorm2d
from napari_sam.core.modeling.mask_decoder import MLP
from napari_sam.core.native.forming import can_form, place, refine_
from napari_sam.core.packed_vit import pack_linear
from napari_sam.core.threads import Run, slices

SLAB = 1024  # cells at once: what lies between the layers stays in the L2 caches
SIDE = 2  # of each transposed convolution

Refine = Callable[[Tensor], Tensor]
"""Norm and GELU of (N, E) numbers between the convolutions, maybe in place."""
Put = Callable[[Tensor, slice, int], None]
"""Logits of (N, C) features to their places: of some rows of cells, the upper or lower half."""


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
        """Kernels (M, C) of the wanted masks, from their tokens."""
        networks = self.hypernetworks[wanted.start : wanted.stop]
        return torch.stack([net(own) for net, own in zip(networks, tokens_MD, strict=True)])

    def form(self, cells_PD: Tensor, kernels_MC: Tensor, out_MHW: Tensor, *, run: Run) -> None:
        """Write the logits (M, 4 * h, 4 * w) of one object's cells (h * w, D)."""
        h, w = (side // SIDE**2 for side in out_MHW.shape[1:])
        cells_hwD = cells_PD.view(h, w, -1)
        compiled = can_form(
            self.dtype, norm_width=len(self.norm.bias), kernel_width=kernels_MC.shape[1]
        )
        form = self._compiled if compiled else self._plain
        refine, put = form(kernels_MC, out_MHW)

        def draw(part: slice) -> None:
            cells = cells_hwD[part].flatten(0, 1)
            for half, upscale in enumerate(self.rows):
                fine_NE = refine(upscale(cells).view(len(cells) * SIDE, -1))
                put(self.second(fine_NE).view(-1, kernels_MC.shape[1]), part, half)

        run([partial(draw, part) for part in slices(h, max(1, SLAB // w))])

    def _compiled(self, kernels_MC: Tensor, out_MHW: Tensor) -> tuple[Refine, Put]:
        norm, kernels = self.norm, kernels_MC.to(self.dtype)

        def refine(fine_NE: Tensor) -> Tensor:
            refine_(fine_NE, norm.weight, norm.bias, norm.eps)
            return fine_NE

        def put(fine_NC: Tensor, part: slice, half: int) -> None:
            place(fine_NC, kernels, out_MHW, part, half=half)

        return refine, put

    def _plain(self, kernels_MC: Tensor, out_MHW: Tensor) -> tuple[Refine, Put]:
        norm, kernels = self.norm, kernels_MC.to(self.dtype)
        masks, height, width = out_MHW.shape
        h, w = height // SIDE**2, width // SIDE**2
        canvas = pairs(out_MHW).view(masks, h, SIDE, SIDE, w, SIDE)

        def refine(fine_NE: Tensor) -> Tensor:
            fine = F.layer_norm(
                fine_NE.float(), fine_NE.shape[-1:], norm.weight, norm.bias, norm.eps
            )
            return F.gelu(fine.to(self.dtype))

        def put(fine_NC: Tensor, part: slice, half: int) -> None:
            logits = pairs(torch.mm(kernels, fine_NC.t()).float())
            # By cell, column and row of the last layer; pairs of neighbours stay together.
            logits = logits.view(masks, -1, w, SIDE, SIDE).permute(0, 1, 4, 2, 3)
            canvas[:, part, half].copy_(logits)

        return refine, put


def pairs(x: Tensor) -> Tensor:
    """Two neighbours as one number of twice the size: half as many to put in place."""
    return x.view(torch.complex64)


def _as_linear(layer: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """Take a transposed convolution's weights, as a linear layer to (row, column, channel)."""
    weight = layer.weight.permute(2, 3, 1, 0).reshape(-1, layer.in_channels)
    bias = cast(Tensor, layer.bias).repeat(SIDE**2)
    layer.weight = nn.Parameter(torch.empty(0), requires_grad=False)
    return weight, bias
