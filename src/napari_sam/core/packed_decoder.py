"""SAM's mask decoder the way a CPU runs it fastest; numbers of ``modeling/mask_decoder.py``.

A prompt has a handful of tokens, an image thousands of cells, so the tokens take over what projects
the cells. What the first block makes of the image does not depend on the prompt: it is computed
once for each embedding and kept while that lives. Many prompts go through in pieces that stay in
cache, a piece on each core; a single prompt has its cells shared out to all cores. Knows torch and
the plain modules; chosen in ``core/engines/fit.py``. Suffixes as in ``core/packed_attention.py``.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from napari_sam.core.modeling.common import EMPTY_LOGIT
from napari_sam.core.modeling.mask_decoder import MaskDecoder
from napari_sam.core.modeling.transformer import TwoWayAttentionBlock
from napari_sam.core.packed_attention import FoldedAttention, ImageSide, Positions
from napari_sam.core.packed_click import CELLS_AT_ONCE, ClickedAttention, ask_all
from napari_sam.core.packed_masks import PackedMasks
from napari_sam.core.packed_passes import can_pass, read_later, two_way
from napari_sam.core.packed_vit import pack_linear
from napari_sam.core.recent import Recent
from napari_sam.core.threads import (
    Run,
    in_one_thread,
    one_after_another,
    side_by_side,
    slices,
    with_helpers,
)

AT_ONCE = 4  # prompts a piece: each has 4 MB of cells, and more of them fall out of the L3 cache
IMAGES_KEPT = 4
SPARE_KEPT = 2  # memory for the cells of a click, 4 MB each
TOKENS = 7  # that the MLPs are packed for: those of a click


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
        self._spare: deque[Tensor] = deque(maxlen=SPARE_KEPT)

    @torch.inference_mode()
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
                tokens, cells = self._two_way(sparse[part].float(), look(), place, wanted)
                scores[part] = self.iou_prediction_head(tokens[:, 0])[:, wanted.start : wanted.stop]
                for i, kept in enumerate(scores[part] > least):
                    out = logits[part][i]
                    self._form(out, tokens[i, 1:], cells[i], kept, wanted, run=one_after_another)

            def decode_one(image: ImageSide, run: Run) -> None:
                cells = self._take_spare(image.cells)
                tokens = self._click(sparse[:1].float(), image, place, cells, wanted, run=run)
                scores[0] = self.iou_prediction_head(tokens[0])[wanted.start : wanted.stop]
                self._form(logits[0], tokens[1:], cells, scores[0] > least, wanted, run=run)
                self._spare.append(cells)

            pieces = list(self._pieces(features, sparse, dense, place))
            if len(sparse) == 1:
                image = pieces[0][1]()  # by a team: a few large products
                run = partial(with_helpers, count=torch.get_num_threads())
                in_one_thread(partial(decode_one, image, run))
            else:
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
                cells.to(self.dtype),
                tuple(a.project(cells, a.plain.k_proj, bias=False) for a in asked),
                tuple(a.project(cells, a.plain.q_proj, bias=True) for a in asking),
            )
        return known

    def _two_way(
        self, sparse_bTD: Tensor, image: ImageSide, place: Positions, wanted: range
    ) -> tuple[Tensor, Tensor]:
        """Tokens and cells (b, P, D) after the two-way transformer.

        Of the tokens (b, 1 + M, D) for the scores and the wanted masks: the last attention is a
        token's own affair.
        """
        b = len(sparse_bTD)
        token_pe = torch.cat([self.output_tokens.expand(b, -1, -1), sparse_bTD], dim=1)
        if can_pass(image, token_pe.shape[1], self.last.heads):
            cells = image.cells.new_empty(b, *image.cells.shape)
            parts = [slice(0, len(image.cells))]
            run = one_after_another
            return self._compiled(
                token_pe, image, place, wanted, cells, parts=parts, run=run
            ), cells
        tokens, cells = self.blocks[0].first(token_pe, image)
        for block, asked, asking in zip(self.blocks[1:], place.asked, place.asking, strict=False):
            tokens, cells = block(tokens, cells, token_pe, asked, asking)
        tokens, token_pe = (read_later(each, wanted) for each in (tokens, token_pe))
        attended = self.last.ask(tokens + token_pe, cells, place.asked[-1])
        return self.transformer.norm_final_attn(tokens + attended), cells

    def _click(
        self,
        sparse_1TD: Tensor,
        image: ImageSide,
        place: Positions,
        cells_PD: Tensor,
        wanted: range,
        *,
        run: Run,
    ) -> Tensor:
        """Tokens (1 + M, D) of one prompt as of :meth:`_two_way`; its cells go to ``cells_PD``."""
        token_pe = torch.cat([self.output_tokens[None], sparse_1TD], dim=1)
        if can_pass(image, token_pe.shape[1], self.last.heads):
            parts = slices(len(cells_PD), CELLS_AT_ONCE)
            every = cells_PD[None]
            return self._compiled(token_pe, image, place, wanted, every, parts=parts, run=run)[0]
        block = self.blocks[0]
        asked, asking = ClickedAttention(block.asked), ClickedAttention(block.asking)
        tokens = block.attend_to_self(token_pe)
        found = ask_all(asked.ask_first(tokens + token_pe, image), image.cells, run=run)
        tokens = block.think(tokens, asked.take_first(found))
        update = asking.answer_first(tokens + token_pe, tokens, image, block.plain.norm4)
        for block, keys, queries in zip(self.blocks[1:], place.asked, place.asking, strict=False):
            asked, asking = ClickedAttention(block.asked), ClickedAttention(block.asking)
            tokens = block.attend_to_self(tokens, token_pe)
            found = ask_all(asked.ask(tokens + token_pe, keys), cells_PD, update, run=run)
            tokens = block.think(tokens, asked.take(found))
            norm = block.plain.norm4
            update = asking.answer(tokens + token_pe, tokens, cells_PD, queries, norm)
        tokens, token_pe = (read_later(each, wanted) for each in (tokens, token_pe))
        asked = ClickedAttention(self.last)
        ask = asked.ask(tokens + token_pe, place.asked[-1])
        attended = asked.take(ask_all(ask, cells_PD, update, run=run))
        out: Tensor = self.transformer.norm_final_attn(tokens + attended)
        return out[0]

    def _compiled(
        self,
        token_pe: Tensor,
        image: ImageSide,
        place: Positions,
        wanted: range,
        cells_bPD: Tensor,
        *,
        parts: Sequence[slice],
        run: Run,
    ) -> Tensor:
        """Tokens (b, 1 + M, D) as of :meth:`_two_way`; the cells go to ``cells_bPD``."""
        found = two_way(
            self.blocks, self.last, token_pe, image, place.numbers, wanted, cells_bPD,
            parts=parts, run=run,
        )  # fmt: skip
        out: Tensor = self.transformer.norm_final_attn(found)
        return out

    def _take_spare(self, like_PD: Tensor) -> Tensor:
        """Memory for the cells of a prompt: new pages cost as much as arithmetic."""
        try:
            spare = self._spare.pop()  # one step: two threads must never share it
        except IndexError:
            return torch.empty_like(like_PD)
        return spare if spare.shape == like_PD.shape else torch.empty_like(like_PD)

    def _form(
        self,
        logits_MHW: Tensor,
        tokens_MD: Tensor,
        cells_PD: Tensor,
        kept_M: Tensor,
        wanted: range,
        *,
        run: Run,
    ) -> None:
        # All candidates of an object or none: the kernels cost next to nothing.
        if kept_M.any():
            self.masks.form(cells_PD, self.masks.kernels(tokens_MD, wanted), logits_MHW, run=run)
        if not kept_M.all():
            logits_MHW[~kept_M] = EMPTY_LOGIT


class PackedTwoWayBlock:
    """A two-way block with folded cross attentions."""

    def __init__(self, block: TwoWayAttentionBlock, *, dtype: torch.dtype) -> None:
        self.plain = block
        self.asked = FoldedAttention(block.cross_attn_token_to_image, dtype=dtype)
        self.asking = FoldedAttention(block.cross_attn_image_to_token, dtype=dtype)
        layers = (block.mlp.lin1, block.mlp.lin2)
        self.mlp = [
            pack_linear(layer.weight, layer.bias, dtype=torch.float32, rows=TOKENS)
            for layer in layers
        ]
        for layer in layers:  # the packed copies serve from now on
            layer.weight = nn.Parameter(torch.empty(0), requires_grad=False)

    def attend_to_self(self, tokens: Tensor, token_pe: Tensor | None = None) -> Tensor:
        """Tokens after the self-attention; in the first block they are their own positions."""
        block = self.plain
        placed = tokens if token_pe is None else tokens + token_pe
        attended = block.self_attn(placed, placed, tokens)
        out: Tensor = block.norm1(attended if token_pe is None else tokens + attended)
        return out

    def first(self, tokens: Tensor, image: ImageSide) -> tuple[Tensor, Tensor]:
        """The first block, on tokens that are their own positions."""
        block, token_pe = self.plain, tokens
        tokens = self.attend_to_self(tokens)
        tokens = self.think(tokens, self.asked.ask_first(tokens + token_pe, image))
        return tokens, self.asking.answer_first(tokens + token_pe, tokens, image, block.norm4)

    def __call__(
        self, tokens: Tensor, cells: Tensor, token_pe: Tensor, asked: Tensor, asking: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A later block; ``asked`` and ``asking`` are the projected positions of the cells."""
        block = self.plain
        tokens = self.attend_to_self(tokens, token_pe)
        tokens = self.think(tokens, self.asked.ask(tokens + token_pe, cells, asked))
        cells = self.asking.answer(tokens + token_pe, tokens, cells, asking, block.norm4)
        return tokens, cells

    def think(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """Tokens after what they found in the image, and the MLP."""
        tokens = self.plain.norm2(tokens + attended)
        first, second = self.mlp
        out: Tensor = self.plain.norm3(tokens + second(first(tokens).relu_()))
        return out


def pack_mask_decoder(model: nn.Module, *, dtype: torch.dtype) -> None:
    """Replace a SAM's plain mask decoder by a packed one; other decoders stay as they are."""
    decoder = getattr(model, "mask_decoder", None)
    if isinstance(decoder, MaskDecoder):
        model.mask_decoder = PackedMaskDecoder(decoder, dtype=dtype)
