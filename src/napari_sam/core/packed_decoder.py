"""SAM's mask decoder the way a CPU runs it fastest; numbers of ``modeling/mask_decoder.py``.

A prompt has a handful of tokens, an image thousands of cells. So what projects the cells is folded
into the rows of tokens that meet them: ``q . (W x)`` becomes ``(q W) . x``, and a bias that a
softmax over cells cannot see is dropped. What the first block makes of the image does not depend
on the prompt: it is computed once for each embedding and kept while that lives. Prompts go through
in pieces that stay in cache. Knows torch and the plain modules; chosen in ``core/predictor.py``.

Suffixes of tensor names: b objects of a piece, T tokens, P cells, D width, H heads, d width of a
head, N = b * T tokens of a piece, R = H * T rows of an object, heads first.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from napari_sam.core.modeling.common import EMPTY_LOGIT
from napari_sam.core.modeling.mask_decoder import MaskDecoder
from napari_sam.core.modeling.transformer import Attention, TwoWayAttentionBlock
from napari_sam.core.packed_masks import PackedMasks
from napari_sam.core.recent import Recent
from napari_sam.core.threads import side_by_side

AT_ONCE = 4  # prompts a piece: each has 4 MB of cells, and more of them fall out of the L3 cache
SLAB = 1024  # cells that are summed up and normalised at once: they stay in the L2 caches
IMAGES_KEPT = 4


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
        (P, D) the positions.
    asked
        (H, d, P) for each later attention of tokens to the image, the very last included: as keys.
    asking
        (H, d, P) for each later attention of the image to tokens: as queries with their bias.
    """

    grid: tuple[int, int]
    cells: Tensor
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
        rows_HNd = self._split(self.plain.q_proj(q_bTD)) * self.scale
        weights = torch.bmm(rows_HNd.to(self.dtype), image.keys).softmax(-1)
        return self._join(torch.bmm(weights, image.values).float(), len(q_bTD))

    def ask(self, q_bTD: Tensor, cells_bPD: Tensor, place_HdP: Tensor) -> Tensor:
        """Tokens attend to cells with positions: (b, T, D)."""
        b = len(q_bTD)
        rows_HNd = self._split(self.plain.q_proj(q_bTD)) * self.scale
        weights = self._logits(rows_HNd, self.plain.k_proj, cells_bPD, place_HdP).softmax(-1)
        met_HND = by_head(torch.bmm(weights, cells_bPD).float(), self.heads)
        values = self.plain.v_proj.weight.view(self.heads, -1, met_HND.shape[-1])
        # The weights of a softmax sum to one, so the bias passes through.
        bias = self.plain.v_proj.bias.view(self.heads, 1, -1)
        return self._join(torch.baddbmm(bias, met_HND, values.transpose(1, 2)), b)

    def answer_first(
        self, k_bTD: Tensor, v_bTD: Tensor, image: ImageSide, norm: nn.LayerNorm
    ) -> Tensor:
        """Cells of an image that is projected already attend to tokens; summed up, normalised."""
        b = len(k_bTD)
        rows_HNd = self._split(self.plain.k_proj(k_bTD)) * self.scale
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
        rows_HNd = self._split(self.plain.k_proj(k_bTD)) * self.scale
        logits_bRP = self._logits(rows_HNd, self.plain.q_proj, cells_bPD, place_HdP)
        return self._spread(logits_bRP, v_bTD, cells_bPD, norm, cells_bPD)

    def _logits(
        self, rows_HNd: Tensor, layer: nn.Linear, cells_bPD: Tensor, place_HdP: Tensor
    ) -> Tensor:
        """Products (b, R, P) of rows with what a layer makes of cells plus positions."""
        b = len(cells_bPD)
        logits_bRP = by_object(torch.bmm(rows_HNd.to(self.dtype), place_HdP), b)
        folded_HND = torch.bmm(rows_HNd, layer.weight.view(self.heads, -1, layer.in_features))
        folded_bRD = by_object(folded_HND, b).to(self.dtype)
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
        values_HNd = self._split(self.plain.v_proj(v_bTD))
        layer = self.plain.out_proj
        folded = torch.bmm(values_HNd, layer.weight.t().view(self.heads, -1, layer.out_features))
        # Each head's weights sum to one, so that each may bring its share of the bias.
        folded_bRD = by_object(folded + layer.bias / self.heads, b).to(self.dtype)
        for i in range(b):
            for start in range(0, count, SLAB):
                part = slice(start, start + SLAB)
                summed = torch.mm(weights[i, :, part].t(), folded_bRD[i]).float()
                summed += cells_bPD[i, part]
                out_bPD[i, part] = norm(summed)
        return out_bPD

    def _split(self, x_bTE: Tensor) -> Tensor:
        """(b, T, H * d) to (H, N, d)."""
        return x_bTE.reshape(-1, self.heads, x_bTE.shape[-1] // self.heads).transpose(0, 1)

    def _join(self, x_HNd: Tensor, b: int) -> Tensor:
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


class PackedMaskDecoder(nn.Module):
    """Drop-in for :class:`MaskDecoder` on CPUs, made from a trained one.

    Parameters
    ----------
    decoder
        The plain decoder, in eval mode on the CPU. Some of its weights move into this module: do
        not use it afterwards.
    dtype
        float32 for the plain decoder's numbers, bfloat16 for speed (whatever has only a prompt's
        tokens stays float32).
    """

    def __init__(self, decoder: MaskDecoder, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype
        self.num_mask_tokens = decoder.num_mask_tokens
        self.output_tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        self.transformer = decoder.transformer
        self.iou_prediction_head = decoder.iou_prediction_head
        self.blocks = [
            PackedTwoWayBlock(cast(TwoWayAttentionBlock, block), dtype=dtype)
            for block in decoder.transformer.layers
        ]
        self.last = FoldedAttention(decoder.transformer.final_attn_token_to_image, dtype=dtype)
        self.masks = PackedMasks(
            decoder.output_upscaling, decoder.output_hypernetworks_mlps, dtype=dtype
        )
        self.images = Recent[ImageSide](IMAGES_KEPT)
        self._positions: Positions | None = None

    @torch.no_grad()
    def forward(
        self,
        features: Tensor,
        *,
        positions: Callable[[tuple[int, int]], Tensor],
        sparse: Tensor,
        dense: Tensor,
        multimask: bool,
        least_score: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`MaskDecoder.forward`."""
        grid = (features.shape[-2], features.shape[-1])
        wanted = range(1, self.num_mask_tokens) if multimask else range(1)
        least = -torch.inf if least_score is None else least_score
        h, w = grid
        with torch.autocast("cpu", enabled=False):
            place = self._place(grid, positions)
            logits = features.new_empty((len(sparse), len(wanted), 4 * h, 4 * w))
            scores = features.new_empty((len(sparse), len(wanted)))

            def decode(part: slice, look: Callable[[], ImageSide]) -> None:
                tokens, cells = self._two_way(sparse[part].float(), look(), place)
                scores[part] = self.iou_prediction_head(tokens[:, 0])[:, wanted.start : wanted.stop]
                self._form(logits[part], tokens[:, 1:], cells, scores[part] > least, wanted)

            pieces = self._pieces(features, sparse, dense, place)
            side_by_side([partial(decode, *piece) for piece in pieces])
        return logits, scores

    def _pieces(
        self, features: Tensor, sparse: Tensor, dense: Tensor, place: Positions
    ) -> Iterator[tuple[slice, Callable[[], ImageSide]]]:
        """Prompts to decode at once, and what gives their image side."""
        count = len(sparse)
        if tuple(dense.shape[-2:]) != place.grid:  # no mask prompt: the same for all objects
            image = self.images.get(features, lambda: self._image_side(features + dense, place))
            step = max(1, min(AT_ONCE, -(-count // torch.get_num_threads())))
            for start in range(0, count, step):
                yield slice(start, min(start + step, count)), lambda: image
            return
        # (On a grid of a single cell "no mask" looks the same: right, if not as fast.)
        for i, own in enumerate(dense.expand(count, -1, -1, -1)):
            yield slice(i, i + 1), partial(self._image_side, features + own, place)

    def _image_side(self, cells_1Dhw: Tensor, place: Positions) -> ImageSide:
        cells = cells_1Dhw.float().flatten(2)[0].t().contiguous()
        placed = cells + place.cells
        asked, asking = self.blocks[0].asked, self.blocks[0].asking
        return ImageSide(
            cells.to(self.dtype),
            asked.project(placed, asked.plain.k_proj, bias=False),
            asked.project(cells, asked.plain.v_proj, bias=True).transpose(1, 2).contiguous(),
            asking.project(placed, asking.plain.q_proj, bias=True),
        )

    def _place(
        self, grid: tuple[int, int], positions: Callable[[tuple[int, int]], Tensor]
    ) -> Positions:
        known = self._positions  # read once: another thread may replace it
        if known is None or known.grid != grid:
            cells = positions(grid).float().flatten(2)[0].t().contiguous()
            asked = [*(block.asked for block in self.blocks[1:]), self.last]
            asking = [block.asking for block in self.blocks[1:]]
            known = self._positions = Positions(
                grid,
                cells,
                tuple(a.project(cells, a.plain.k_proj, bias=False) for a in asked),
                tuple(a.project(cells, a.plain.q_proj, bias=True) for a in asking),
            )
        return known

    def _two_way(
        self, sparse_bTD: Tensor, image: ImageSide, place: Positions
    ) -> tuple[Tensor, Tensor]:
        """Tokens (b, T, D) and cells (b, P, D) after the two-way transformer."""
        b = len(sparse_bTD)
        token_pe = torch.cat([self.output_tokens.expand(b, -1, -1), sparse_bTD], dim=1)
        tokens, cells = self.blocks[0].first(token_pe, image)
        for block, asked, asking in zip(self.blocks[1:], place.asked, place.asking, strict=False):
            tokens, cells = block(tokens, cells, token_pe, asked, asking)
        attended = self.last.ask(tokens + token_pe, cells, place.asked[-1])
        return self.transformer.norm_final_attn(tokens + attended), cells

    def _form(
        self,
        logits_bMHW: Tensor,
        tokens_bMD: Tensor,
        cells_bPD: Tensor,
        kept_bM: Tensor,
        wanted: range,
    ) -> None:
        kernels = self.masks.kernels(tokens_bMD, wanted)
        for i, kept in enumerate(kept_bM):
            # All candidates of an object or none: the kernels cost next to nothing.
            if kept.any():
                self.masks.form(cells_bPD[i], kernels[i], logits_bMHW[i])
            if not kept.all():
                logits_bMHW[i, ~kept] = EMPTY_LOGIT


class PackedTwoWayBlock:
    """A two-way block with folded cross attentions."""

    def __init__(self, block: TwoWayAttentionBlock, *, dtype: torch.dtype) -> None:
        self.plain = block
        self.asked = FoldedAttention(block.cross_attn_token_to_image, dtype=dtype)
        self.asking = FoldedAttention(block.cross_attn_image_to_token, dtype=dtype)

    def first(self, tokens: Tensor, image: ImageSide) -> tuple[Tensor, Tensor]:
        """The first block, on tokens that are their own positions."""
        block, token_pe = self.plain, tokens
        tokens = block.norm1(block.self_attn(tokens, tokens, tokens))
        tokens = self._think(tokens, self.asked.ask_first(tokens + token_pe, image))
        return tokens, self.asking.answer_first(tokens + token_pe, tokens, image, block.norm4)

    def __call__(
        self, tokens: Tensor, cells: Tensor, token_pe: Tensor, asked: Tensor, asking: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A later block; ``asked`` and ``asking`` are the projected positions of the cells."""
        block, placed = self.plain, tokens + token_pe
        tokens = block.norm1(tokens + block.self_attn(placed, placed, tokens))
        tokens = self._think(tokens, self.asked.ask(tokens + token_pe, cells, asked))
        cells = self.asking.answer(tokens + token_pe, tokens, cells, asking, block.norm4)
        return tokens, cells

    def _think(self, tokens: Tensor, attended: Tensor) -> Tensor:
        tokens = self.plain.norm2(tokens + attended)
        out: Tensor = self.plain.norm3(tokens + self.plain.mlp(tokens))
        return out


def pack_mask_decoder(model: nn.Module, *, dtype: torch.dtype) -> None:
    """Replace a SAM's plain mask decoder by a packed one; other decoders stay as they are."""
    decoder = getattr(model, "mask_decoder", None)
    if isinstance(decoder, MaskDecoder):
        model.mask_decoder = PackedMaskDecoder(decoder, dtype=dtype)
