"""The cross attentions of SAM's mask decoder, folded: parts of ``core/packed_decoder.py``.

What projects the cells is folded into the rows of tokens that meet them: ``q . (W x)`` becomes
``(q W) . x``, and a bias that a softmax over cells cannot see is dropped. Knows torch and the plain
modules.

Suffixes of tensor names: b objects of a piece, T tokens, P cells, D width, H heads, d width of a
head, N = b * T tokens of a piece, R = H * T rows of an object, heads first.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_sam.core.modeling.transformer import Attention
from napari_sam.core.native.cells import Exchange

SLAB = 1024  # cells that are summed up and normalised at once: they stay in the L2 caches


@dataclass(frozen=True)
class ImageSide:
    """What the first block makes of an image, whatever is asked about it.

    Attributes
    ----------
    cells
        (P, D) image embedding plus dense prompt.
    keys, values
        (H, d, P) and (H, P, d), for the tokens' attention to the image.
    queries
        (H, d, P), for the image's attention to the tokens.
    """

    cells: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor


@dataclass(frozen=True)
class Positions:
    """What the attentions make of the cells' positions, for one grid.

    Attributes
    ----------
    grid
        (h, w) cells.
    cells
        (P, D) the positions, and ``numbers`` the same in the products' kind of numbers.
    asked
        (H, d, P) for each later attention of tokens to the image, the very last included: as keys.
    asking
        (H, d, P) for each later attention of the image to tokens: as queries with their bias.
    """

    grid: tuple[int, int]
    cells: Tensor
    numbers: Tensor
    asked: tuple[Tensor, ...]
    asking: tuple[Tensor, ...]


class FoldedAttention:
    """One cross attention between tokens and cells; the weights are views of the plain module's."""

    def __init__(self, attention: Attention, *, dtype: torch.dtype) -> None:
        self.plain = attention
        self.heads = attention.num_heads
        self.dtype = dtype
        self.scale = (attention.q_proj.out_features // self.heads) ** -0.5

    def project(self, x_PD: Tensor, layer: nn.Linear, *, bias: bool) -> Tensor:
        """Cells through one of the layers, cut in heads and transposed: (H, d, P)."""
        out_EP = layer.weight @ x_PD.t()
        if bias:
            out_EP += layer.bias[:, None]
        return out_EP.view(self.heads, -1, len(x_PD)).to(self.dtype)

    def ask_first(self, q_bTD: Tensor, image: ImageSide) -> Tensor:
        """Tokens attend to an image that is projected already: (b, T, D)."""
        rows_HNd = self._rows(q_bTD, self.plain.q_proj)
        weights = torch.bmm(rows_HNd.to(self.dtype), image.keys).softmax(-1)
        return self.join(torch.bmm(weights, image.values).float(), len(q_bTD))

    def ask(self, q_bTD: Tensor, cells_bPD: Tensor, place_HdP: Tensor) -> Tensor:
        """Tokens attend to cells with positions: (b, T, D)."""
        rows_HNd = self._rows(q_bTD, self.plain.q_proj)
        weights = self._logits(rows_HNd, self.plain.k_proj, cells_bPD, place_HdP).softmax(-1)
        return self.take(torch.bmm(weights, cells_bPD).float())

    def answer_first(
        self, k_bTD: Tensor, v_bTD: Tensor, image: ImageSide, norm: nn.LayerNorm
    ) -> Tensor:
        """Cells of an image that is projected already attend to tokens; summed up, normalised."""
        b = len(k_bTD)
        rows_HNd = self._rows(k_bTD, self.plain.k_proj)
        logits_bRP = by_object(torch.bmm(rows_HNd.to(self.dtype), image.queries), b)
        out_bPD = image.cells.new_empty(b, *image.cells.shape)
        return self._spread(logits_bRP, v_bTD, image.cells.expand_as(out_bPD), norm, out_bPD)

    def answer(
        self,
        k_bTD: Tensor,
        v_bTD: Tensor,
        cells_bPD: Tensor,
        place_HdP: Tensor,
        norm: nn.LayerNorm,
    ) -> Tensor:
        """Cells with positions attend to tokens; summed up and normalised, in place."""
        rows_HNd = self._rows(k_bTD, self.plain.k_proj)
        logits_bRP = self._logits(rows_HNd, self.plain.q_proj, cells_bPD, place_HdP)
        return self._spread(logits_bRP, v_bTD, cells_bPD, norm, cells_bPD)

    def questions(self, q_bTD: Tensor) -> Tensor:
        """What tokens look for in cells plus positions, (b, R, D)."""
        return self._fold(self._rows(q_bTD, self.plain.q_proj), self.plain.k_proj, len(q_bTD))

    def take(self, mixed_bRD: Tensor) -> Tensor:
        """What tokens take from the cells that their weights have mixed, (b, T, D)."""
        met_HND = by_head(mixed_bRD, self.heads)
        values = self.plain.v_proj.weight.view(self.heads, -1, met_HND.shape[-1])
        # The weights of a softmax sum to one, so the bias passes through.
        bias = self.plain.v_proj.bias.view(self.heads, 1, -1)
        return self.join(torch.baddbmm(bias, met_HND, values.transpose(1, 2)), len(mixed_bRD))

    def exchanges(self, k_bTD: Tensor, v_bTD: Tensor, norm: nn.LayerNorm) -> list[Exchange]:
        """What the cells of each object meet."""
        b, layer = len(k_bTD), self.plain.q_proj
        rows_HNd = self._rows(k_bTD, self.plain.k_proj)
        bias_HN1 = torch.bmm(rows_HNd, layer.bias.view(self.heads, -1, 1))
        offers, gifts = self._fold(rows_HNd, layer, b), self._gifts(v_bTD)
        return [
            Exchange(*each, self.heads, norm)
            for each in zip(offers, by_object(bias_HN1, b), gifts, strict=True)
        ]

    def _rows(self, x_bTD: Tensor, layer: nn.Linear) -> Tensor:
        """Tokens through a layer, scaled, by head: (H, N, d)."""
        rows: Tensor = self.split(layer(x_bTD)) * self.scale
        return rows

    def _fold(self, rows_HNd: Tensor, layer: nn.Linear, b: int) -> Tensor:
        """A layer of the cells as part of the rows that meet them, (b, R, D)."""
        weight = layer.weight.view(self.heads, -1, layer.in_features)
        return by_object(torch.bmm(rows_HNd, weight), b)

    def _gifts(self, v_bTD: Tensor) -> Tensor:
        """What each row gives to a cell, (b, R, D)."""
        layer = self.plain.out_proj
        values_HNd = self.split(self.plain.v_proj(v_bTD))
        folded = torch.bmm(values_HNd, layer.weight.t().view(self.heads, -1, layer.out_features))
        # Each head's weights sum to one, so that each may bring its share of the bias.
        return by_object(folded + layer.bias / self.heads, len(v_bTD))

    def _logits(
        self, rows_HNd: Tensor, layer: nn.Linear, cells_bPD: Tensor, place_HdP: Tensor
    ) -> Tensor:
        """Products (b, R, P) of rows with what a layer makes of cells plus positions."""
        b = len(cells_bPD)
        logits_bRP = by_object(torch.bmm(rows_HNd.to(self.dtype), place_HdP), b)
        folded_bRD = self._fold(rows_HNd, layer, b).to(self.dtype)
        # One by one: a batched product takes longer, and would copy what it adds to.
        for logits, folded, cells in zip(logits_bRP, folded_bRD, cells_bPD, strict=True):
            logits.addmm_(folded, cells.t())
        return logits_bRP

    def _spread(
        self,
        logits_bRP: Tensor,
        v_bTD: Tensor,
        cells_bPD: Tensor,
        norm: nn.LayerNorm,
        out_bPD: Tensor,
    ) -> Tensor:
        """Add to each cell what its weights pick of the tokens' values, and normalise."""
        b, rows, count = logits_bRP.shape
        # Tokens are not innermost: a softmax over few runs fast along whole rows of cells.
        weights = logits_bRP.view(b, self.heads, -1, count).softmax(2).view(b, rows, count)
        gifts_bRD = self._gifts(v_bTD).to(self.dtype)
        for i in range(b):
            for start in range(0, count, SLAB):
                part = slice(start, start + SLAB)
                summed = torch.mm(weights[i, :, part].t(), gifts_bRD[i]).float()
                summed += cells_bPD[i, part]
                out_bPD[i, part] = norm(summed)
        return out_bPD

    def split(self, x_bTE: Tensor) -> Tensor:
        """(b, T, H * d) to (H, N, d)."""
        return x_bTE.reshape(-1, self.heads, x_bTE.shape[-1] // self.heads).transpose(0, 1)

    def join(self, x_HNd: Tensor, b: int) -> Tensor:
        """(H, N, d) through the last layer to (b, T, D)."""
        _, tokens, width = x_HNd.shape
        joined = x_HNd.transpose(0, 1).reshape(b, tokens // b, self.heads * width)
        out: Tensor = self.plain.out_proj(joined)
        return out


def by_object(x_HNX: Tensor, b: int) -> Tensor:
    """(H, N, X) to (b, R, X)."""
    heads, tokens, width = x_HNX.shape
    return x_HNX.view(heads, b, tokens // b, width).transpose(0, 1).reshape(b, -1, width)


def by_head(x_bRX: Tensor, heads: int) -> Tensor:
    """(b, R, X) to (H, N, X)."""
    b, rows, width = x_bRX.shape
    return x_bRX.view(b, heads, rows // heads, width).transpose(0, 1).reshape(heads, -1, width)
