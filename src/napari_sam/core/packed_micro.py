"""The bundled model the way a CPU runs it fastest; same numbers as ``modeling/micro*.py``.

What does not depend on the prompt (the image's side of the first block, positions, the skip in the
order of the upscaling) is computed once for an image. Each worker has one prompt at a time, and
the image's cells go in slices, which keeps a batch in cache and in bounds. Knows torch and the
plain modules; chosen in ``core/engines/fit.py``. Suffixes as in ``core/packed_micro_blocks.py``.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from napari_sam.core.modeling.common import EncodedImage
from napari_sam.core.modeling.micro import MicroSam, best_answers, fill_poor, join_boxes
from napari_sam.core.modeling.micro_mask_decoder import NUM_MASKS, TwoWayBlock
from napari_sam.core.modeling.micro_prompt_encoder import cell_centres
from napari_sam.core.native.cells import Exchanger, Finer, can_exchange, can_refine
from napari_sam.core.packed_click import Found
from napari_sam.core.packed_micro_blocks import (
    CellUpdate,
    FoldedAttention,
    FoldedBlock,
    FoldedUpscale,
    Hypernetworks,
)
from napari_sam.core.packed_micro_prompt import DenseEncoder, DensePrompt, ImageSide
from napari_sam.core.packed_micro_score import Seen, evidence_of, looker
from napari_sam.core.recent import Recent
from napari_sam.core.threads import (
    Run,
    in_one_thread,
    one_after_another,
    side_by_side,
    slices,
    with_helpers,
)

IMAGES_KEPT = 2  # 45 MB each at 1024 x 1024; clicks fall on one image for a while
WORKSPACES_KEPT = 2  # 16 MB each at 1024 x 1024
AT_ONCE = 8  # prompts that one worker takes
CELLS_AT_ONCE = 2048  # 1 MB: a slice and what is made of it stay in the cores' own caches

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Workspace:
    """Memory for one prompt at a time: new pages from the system cost as much as the arithmetic.

    ``cells`` (P, D), the dense prompt's ``codes`` (R, P) and the features ``fine`` (4 * P, C) at
    the masks' resolution.
    """

    cells: Tensor
    codes: Tensor
    fine: Tensor


class PackedMicroDecoder:
    """Prompts on one image to four masks each; equals ``MicroSam.decode_batch``."""

    @torch.no_grad()
    def __init__(self, model: MicroSam) -> None:
        decoder = model.mask_decoder
        self.decoder, self.prompts = decoder, model.prompt_encoder
        self.dense = DenseEncoder(model.prompt_encoder)
        self.blocks = [FoldedBlock(b) for b in decoder.blocks if isinstance(b, TwoWayBlock)]
        self.final = FoldedAttention(decoder.final_attn)
        self.upscale = FoldedUpscale(decoder)
        self.kernels = Hypernetworks(list(decoder.hypernetworks))
        self.sides = Recent[ImageSide](IMAGES_KEPT)
        self._spare: deque[Workspace] = deque(maxlen=WORKSPACES_KEPT)

    def image_side(self, encoded: EncodedImage) -> ImageSide:
        """All that prompts on this image share."""
        features, skip = encoded
        assert skip is not None
        grid = (features.shape[-2], features.shape[-1])
        cells = features[0].flatten(1).t().contiguous()
        centres = cell_centres(grid, 8, features.device)
        positions = self.prompts.pe_layer(centres)
        placed = cells + positions
        first = self.blocks[0]
        to_image, to_token = first.to_image, first.to_token

        def project(attention: FoldedAttention, layer: nn.Linear, x_PD: Tensor) -> Tensor:
            return (layer.weight @ x_PD.t()).view(attention.heads, -1, len(x_PD))

        values = project(to_image, to_image.plain.v_proj, cells).transpose(1, 2)
        return ImageSide(
            grid=grid,
            cells=cells,
            positions=positions,
            keys=project(to_image, to_image.plain.k_proj, placed),
            values=values.contiguous(),
            queries=project(to_token, to_token.plain.q_proj, placed),
            skip=self.upscale.skip_by_cell(skip),
            centres=centres[None],
        )

    def __call__(
        self, encoded: EncodedImage, points_BN2: Tensor, labels_BN: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Masks (B, 4, 2h, 2w) and scores (B, 4); arguments as of ``MicroSam.decode_batch``."""
        side = self.sides.get(encoded.features, lambda: self.image_side(encoded))
        count, (h, w) = len(points_BN2), side.grid
        logits = torch.empty(count, NUM_MASKS, 2 * h, 2 * w)
        scores = torch.empty(count, NUM_MASKS)
        sparse = self.prompts.sparse(points_BN2, labels_BN)
        threads = torch.get_num_threads()

        def decode(part: range, run: Run) -> None:
            workspace = self._take_workspace(side.cells)
            for i in part:
                own = None if mask is None else mask[i]
                dense = self.dense(side, points_BN2[i], labels_BN[i], own, out=workspace.codes)
                scores[i] = self._one(side, sparse[i], dense, workspace, out=logits[i], run=run)
            self._spare.append(workspace)

        if count == 1:  # only its slices of cells are worth several threads
            in_one_thread(partial(decode, range(1), partial(with_helpers, count=threads)))
        else:
            step = min(AT_ONCE, -(-count // threads))
            parts = [range(count)[i : i + step] for i in range(0, count, step)]
            side_by_side([partial(decode, part, one_after_another) for part in parts])
        return logits, scores

    def _take_workspace(self, cells_PD: Tensor) -> Workspace:
        """One that was used lately, if it fits and no other thread has it."""
        try:
            spare = self._spare.pop()  # one step: two threads must never share a workspace
        except IndexError:
            spare = None
        if spare is None or spare.cells.shape != cells_PD.shape:
            count = len(cells_PD)
            spare = Workspace(
                torch.empty_like(cells_PD),
                cells_PD.new_empty(self.dense.rank, count),
                cells_PD.new_empty(4 * count, self.upscale.width),
            )
        return spare

    def _one(
        self,
        side: ImageSide,
        sparse_ND: Tensor,
        dense: DensePrompt,
        workspace: Workspace,
        *,
        out: Tensor,
        run: Run,
    ) -> Tensor:
        """Masks of one prompt into ``out`` (4, 2h, 2w); returns their scores (4,)."""
        decoder, cells, (h, w) = self.decoder, workspace.cells, side.grid
        token_pe = torch.cat([decoder.output_tokens, sparse_ND])
        block = self.blocks[0]
        tokens = block.attend_to_self(token_pe, token_pe)
        ask = block.ask_first(tokens + token_pe, side, dense)
        found = _in_slices(ask, len(cells), run, most=2 * CELLS_AT_ONCE)
        tokens = block.update_tokens(tokens, block.first_answers(found, dense))
        update = block.first_cell_update(tokens, token_pe, side, dense)
        for block in self.blocks[1:]:
            tokens = block.attend_to_self(tokens, token_pe)
            renew, _ = _renew(cells, update, block.to_image, tokens + token_pe, side)
            found = _in_slices(renew, len(cells), run)
            tokens = block.update_tokens(tokens, block.to_image.answers(found))
            update = block.cell_update(tokens, token_pe, cells, side.positions)
        wanted = slice(0, 1 + NUM_MASKS)  # nobody reads the prompt's tokens after this
        tokens, token_pe = tokens[wanted], token_pe[wanted]
        finish = self._finish(update, tokens + token_pe, side, workspace)
        found = _in_slices(finish, h, run, most=max(1, CELLS_AT_ONCE // w))
        tokens = decoder.final_norm(tokens + self.final.answers(found))
        seen = self._draw(side, self.kernels(tokens[1:]), workspace, out=out, run=run)
        scores: Tensor = decoder.iou_head(evidence_of(tokens[0], tokens[1:], seen)[None])[0]
        return scores

    def _finish(
        self, update: CellUpdate, tokens_TD: Tensor, side: ImageSide, workspace: Workspace
    ) -> Callable[[slice], Found]:
        """What gives rows of cells their last values and makes finer features of them.

        Returns what tokens find in the cells.
        """
        h, w = side.grid
        cells, fine = workspace.cells, workspace.fine.view(2 * h, 2 * w, -1)
        finer = self.upscale.finer(side.skip, out=fine)
        refined = finer if can_refine(finer) else None
        renew, compiled = _renew(cells, update, self.final, tokens_TD, side, finer=refined)

        def finish(rows: slice) -> Found:
            part = slice(rows.start * w, rows.stop * w)
            found = renew(part)
            if refined is None or not compiled:
                self.upscale(cells[part], side.skip[part], out=fine[2 * rows.start : 2 * rows.stop])
            return found

        return finish

    def _draw(
        self, side: ImageSide, kernels_MC: Tensor, workspace: Workspace, *, out: Tensor, run: Run
    ) -> list[Seen]:
        """Masks into ``out`` (M, 2h, 2w); returns what the score head needs of them."""
        h, w = side.grid
        fine = workspace.fine.view(2 * h, 2 * w, -1)
        rows = max(1, 4 * CELLS_AT_ONCE // w)

        def draw(part: slice) -> None:
            made = out[:, part].flatten(1)
            torch.mm(kernels_MC, fine[part].flatten(0, 1).t(), out=made)

        _in_slices(draw, 2 * h, run, most=rows)
        return _in_slices(looker(out, fine), 2 * h, run, most=rows)


def _renew(
    cells_PD: Tensor,
    update: CellUpdate,
    attention: FoldedAttention,
    tokens_TD: Tensor,
    side: ImageSide,
    *,
    finer: Finer | None = None,
) -> tuple[Callable[[slice], Found], bool]:
    """What gives a slice of cells their next values; returns what tokens find in them.

    And whether it is compiled: with ``finer`` the cells become features then, and are not kept.
    """
    questions = attention.questions(tokens_TD)
    exchange = update.exchange()
    rank = 0 if update.added is None else len(update.added.codes)
    rows = max(len(exchange.offers), len(questions))
    if can_exchange(cells_PD, rows=rows, rank=rank):
        after = cells_PD if finer is None else None
        pass_over = Exchanger(
            exchange,
            questions,
            (update.before, after),
            side.positions,
            added=update.added,
            finer=finer,
        )
        return lambda part: Found(*pass_over(part)), True

    def renew(part: slice) -> Found:
        renewed = update.after(part)
        cells_PD[part] = renewed
        return attention.ask(questions @ (renewed + side.positions[part]).t(), renewed)

    return renew, False


def _in_slices(
    job: Callable[[slice], T], count: int, run: Run, *, most: int | None = None
) -> list[T]:
    """What a job gives for each slice of ``count`` things, in their order."""
    parts = slices(count, most or CELLS_AT_ONCE)
    made: dict[int, T] = {}

    def do(i: int) -> None:
        made[i] = job(parts[i])

    run([partial(do, i) for i in range(len(parts))])
    return [made[i] for i in range(len(parts))]


class PackedMicroSam(nn.Module):
    """Drop-in for :class:`MicroSam` on CPUs, made from a trained one.

    The decoder is float32 in any precision: bfloat16 would cost accuracy and save little.

    Parameters
    ----------
    model
        The plain model, in eval mode on the CPU, float32; its encoder may be any.
    """

    def __init__(self, model: MicroSam) -> None:
        super().__init__()
        self.plain = model
        self.decoder = PackedMicroDecoder(model)

    def encode_image(self, picture_13HW: Tensor, *, canvas: tuple[int, int]) -> EncodedImage:
        """See :meth:`MicroSam.encode_image`."""
        return self.plain.encode_image(picture_13HW, canvas=canvas)

    @torch.inference_mode()
    def decode(
        self,
        encoded: EncodedImage,
        *,
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None,
        mask: Tensor | None,
        multimask: bool,
        least_score: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`MicroSam.decode`."""
        with torch.autocast("cpu", enabled=False):
            all_points, all_labels = join_boxes(points, labels, boxes, mask)
            logits, scores = self.decoder(encoded, all_points, all_labels, mask)
            logits, scores = best_answers(logits, scores, multimask=multimask)
            return fill_poor(logits, scores, least_score), scores


def pack_micro(model: nn.Module) -> nn.Module:
    """The bundled model with a packed decoder; other models as they are."""
    return PackedMicroSam(model) if isinstance(model, MicroSam) else model
