"""The bundled model the way a CPU runs it fastest; same numbers as ``modeling/micro*.py``.

What does not depend on the prompt (the image's side of the first block, positions, the skip in the
order of the upscaling) is computed once for an image. Each worker has one prompt at a time, and
the image's cells go in slices, which keeps a batch in cache and in bounds. Knows torch and the
plain modules; chosen in ``core/engines/fit.py``. Suffixes as in ``core/packed_micro_blocks.py``.
"""

from collections import deque
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from napari_sam.core.modeling.common import EncodedImage
from napari_sam.core.modeling.micro import MicroSam, best_answers, fill_poor, join_boxes
from napari_sam.core.modeling.micro_mask_decoder import NUM_MASKS, TwoWayBlock
from napari_sam.core.modeling.micro_prompt_encoder import cell_centres
from napari_sam.core.modeling.micro_score_head import (
    find_regions,
    gather_evidence,
    pool_features,
)
from napari_sam.core.packed_micro_blocks import (
    CellUpdate,
    DenseEncoder,
    DensePrompt,
    FoldedAttention,
    FoldedBlock,
    FoldedUpscale,
    Hypernetworks,
    ImageSide,
)
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


@dataclass(frozen=True, eq=False)
class Workspace:
    """Memory for one prompt at a time: new pages from the system cost as much as the arithmetic.

    ``cells`` (P, D) and the features ``fine`` (4 * P, C) of their quarters.
    """

    cells: Tensor
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
                dense = self.dense(side, points_BN2[i], labels_BN[i], own)
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
            spare = Workspace(
                torch.empty_like(cells_PD),
                cells_PD.new_empty(4 * len(cells_PD), self.upscale.width),
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
        decoder, cells = self.decoder, workspace.cells
        token_pe = torch.cat([decoder.output_tokens, sparse_ND])
        block = self.blocks[0]
        tokens = block.attend_to_self(token_pe, token_pe)
        attended = block.first_answers(tokens + token_pe, side, dense)
        tokens = block.update_tokens(tokens, attended)
        update = block.first_cell_update(tokens, token_pe, side, dense)
        for block in self.blocks[1:]:
            tokens = block.attend_to_self(tokens, token_pe)
            questions = block.to_image.questions(tokens + token_pe)
            logits = self._renew(cells, update, questions, side, run=run)
            tokens = block.update_tokens(tokens, block.to_image.answers(logits, cells))
            update = block.cell_update(tokens, token_pe, cells, side.positions)
        wanted = slice(0, 1 + NUM_MASKS)  # nobody reads the prompt's tokens after this
        tokens, token_pe = tokens[wanted], token_pe[wanted]
        questions = self.final.questions(tokens + token_pe)
        logits = self._renew(cells, update, questions, side, run=run, fine=workspace.fine)
        tokens = decoder.final_norm(tokens + self.final.answers(logits, cells))
        h, w = side.grid
        quarters = (self.kernels(tokens[1:]) @ workspace.fine.t()).view(NUM_MASKS, h, w, 2, 2)
        out.view(NUM_MASKS, h, 2, w, 2).copy_(quarters.transpose(2, 3))
        where = find_regions(out[None])
        regions = where.float()
        # In the order of the features; still a byte a cell while it is put in order.
        as_fine = where.view(-1, h, 2, w, 2).transpose(2, 3).reshape(1, -1, len(workspace.fine))
        as_fine = as_fine.float()
        pooled = pool_features(as_fine, workspace.fine[None]).unflatten(1, (-1, NUM_MASKS))
        evidence = gather_evidence(tokens[None, 0], tokens[None, 1:], out[None], regions, pooled)
        scores: Tensor = decoder.iou_head(evidence)[0]
        return scores

    def _renew(
        self,
        cells: Tensor,
        update: CellUpdate,
        questions: Tensor,
        side: ImageSide,
        *,
        run: Run,
        fine: Tensor | None = None,
    ) -> Tensor:
        """Give the cells their next values, slice by slice; returns questions times their keys.

        With ``fine`` (4 * P, C) also its upscaling.
        """
        count = len(cells)
        logits = torch.empty(len(questions), count)

        def renew(part: slice) -> None:
            renewed = update(part)
            cells[part] = renewed
            torch.mm(questions, (renewed + side.positions[part]).t(), out=logits[:, part])
            if fine is not None:
                quarters = slice(4 * part.start, 4 * part.stop)
                fine[quarters] = self.upscale(renewed, side.skip[part]).view(-1, fine.shape[1])

        run([partial(renew, part) for part in slices(count, CELLS_AT_ONCE)])
        return logits


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
