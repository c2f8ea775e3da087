"""The bundled model put together: encoder, prompt encoder and mask decoder as one module.

Offers the same two calls as :class:`~napari_sam.core.modeling.sam.Sam` (``encode_image``,
``decode``) and one more, ``decode_batch``, which training uses for many images at once.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.architecture import MicroConfig
from napari_sam.core.modeling.common import EMPTY_LOGIT, EncodedImage
from napari_sam.core.modeling.micro_encoder import MicroEncoder
from napari_sam.core.modeling.micro_mask_decoder import MicroMaskDecoder
from napari_sam.core.modeling.micro_prompt_encoder import (
    BOTTOM_RIGHT,
    PADDING,
    TOP_LEFT,
    MicroPromptEncoder,
    cell_centres,
)

SHARPNESS, SINGLE_MASK_BONUS = 20.0, 0.4  # of the blend of masks; chosen on training images
PIXEL_MEAN, PIXEL_STD = 102.0, 69.0  # of 0..255 pictures; one pair, since most images are grey


class MicroSam(nn.Module):
    """Small promptable segmentation model, trained from scratch with this repository's code."""

    def __init__(self, config: MicroConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = MicroEncoder(
            stage_dims=config.stage_dims,
            stage_depths=config.stage_depths,
            embed_dim=config.embed_dim,
            depth=config.depth,
            num_heads=config.num_heads,
            window_size=config.window_size,
            out_chans=config.out_chans,
            skip_chans=config.skip_chans,
        )
        self.prompt_encoder = MicroPromptEncoder(config.out_chans, config.mask_in_chans)
        self.mask_decoder = MicroMaskDecoder(
            config.out_chans, config.decoder_depth, config.decoder_num_heads, config.skip_chans
        )

    def encode_image(self, picture_13HW: Tensor, *, canvas: tuple[int, int]) -> EncodedImage:
        """Encode pictures.

        Parameters
        ----------
        picture_13HW
            (B, 3, H, W) RGB, 0 to 255.
        canvas
            (height, width) to pad to at the bottom and right, multiples of 16. The last row and
            column are repeated: zeros would look like an edge.

        Returns
        -------
        EncodedImage
            features at stride 8 and skip at stride 4 of the canvas.
        """
        normal = (picture_13HW - PIXEL_MEAN) / PIXEL_STD
        bottom, right = canvas[0] - normal.shape[-2], canvas[1] - normal.shape[-1]
        if bottom or right:
            normal = F.pad(normal, (0, right, 0, bottom), mode="replicate")
        encoded: EncodedImage = self.image_encoder(normal)
        return encoded

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
        """Masks for B prompts on one image; same arguments and results as ``Sam.decode``.

        Parameters
        ----------
        encoded
            From :meth:`encode_image`, one image.
        points, labels
            (B, N, 2) x, y model pixels and (B, N) labels 1, 0 or -1, or both None.
        boxes
            (B, 4) x0, y0, x1, y1 model pixels, or None.
        mask
            (B, 1, h, w) low-res logits at stride 4, or None.
        multimask
            Three candidates for an ambiguous prompt, else one mask: see :func:`best_answers`.
        least_score
            Candidates whose score is not above it are filled with an empty mask. Saves what is
            done with them afterwards; nothing here, since the scores depend on the masks.

        Returns
        -------
        logits, scores
            (B, M, h, w) float32 at stride 4 and (B, M), M = 3 or 1.
        """
        all_points, all_labels = join_boxes(points, labels, boxes, mask)
        index = torch.zeros(all_points.shape[0], dtype=torch.long, device=all_points.device)
        logits, scores = self.decode_batch(encoded, index, all_points, all_labels, mask)
        logits, scores = best_answers(logits, scores, multimask=multimask)
        return fill_poor(logits, scores, least_score), scores

    def decode_batch(
        self,
        encoded: EncodedImage,
        image_index: Tensor,
        points: Tensor,
        labels: Tensor,
        mask: Tensor | None = None,
        *,
        shift: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """All four masks for P prompts that lie on any of B encoded images.

        ``image_index`` (P,) says on which; ``points`` (P, N, 2) and ``labels`` (P, N) hold clicks
        and box corners (labels 2 and 3); ``shift`` see :meth:`MicroPromptEncoder.sparse`.
        """
        features, skip = encoded
        assert skip is not None
        grid = (features.shape[-2], features.shape[-1])
        image = features.flatten(2).transpose(1, 2)
        fine = skip.flatten(2).transpose(1, 2)
        if image.shape[0] > 1:
            image, fine = image[image_index], fine[image_index]
        centres = cell_centres(grid, 8, points.device)
        positions = self.prompt_encoder.pe_layer(centres if shift is None else centres + shift)
        sparse = self.prompt_encoder.sparse(points, labels, shift)
        dense = self.prompt_encoder.dense(points, labels, mask, grid)
        logits, scores = self.mask_decoder(
            image, positions.to(image.dtype), fine, sparse, dense, grid
        )
        return logits, scores


def best_answers(
    logits_B4HW: Tensor, scores_B4: Tensor, *, multimask: bool
) -> tuple[Tensor, Tensor]:
    """The blend of all four masks, and with ``multimask`` two alternatives to it.

    The blend is the mean of the logits, weighted by how good each mask is said to be: where one
    mask is clearly best it is that mask, where several agree their errors at the border cancel out
    (measured in dev/LOG.md). It has the best mask's score. The alternatives are the better two of
    the three masks that are not the best.

    Parameters
    ----------
    logits_B4HW, scores_B4
        From :meth:`MicroSam.decode_batch`; the first is the single mask.

    Returns
    -------
    logits, scores
        (B, M, h, w) and (B, M), M = 3 or 1, the blend first.
    """
    bonus = torch.zeros_like(scores_B4)
    bonus[:, 0] = SINGLE_MASK_BONUS
    weights = (SHARPNESS * scores_B4 + bonus).softmax(1)
    blend = (weights[:, None] @ logits_B4HW.flatten(2)).unflatten(2, logits_B4HW.shape[2:])
    best = scores_B4.max(1, keepdim=True).values
    if not multimask:
        return blend, best
    others = scores_B4.topk(3, dim=1).indices[:, 1:]
    rows = torch.arange(len(others), device=others.device)[:, None]
    return (
        torch.cat([blend, logits_B4HW[rows, others]], 1),
        torch.cat([best, scores_B4.gather(1, others)], 1),
    )


def fill_poor(logits_BMHW: Tensor, scores_BM: Tensor, least_score: float | None) -> Tensor:
    """The logits, those of candidates whose score is not above ``least_score`` at -32."""
    if least_score is None:
        return logits_BMHW
    poor = (scores_BM <= least_score)[..., None, None]
    return logits_BMHW.masked_fill(poor, EMPTY_LOGIT)


def join_boxes(
    points: Tensor | None, labels: Tensor | None, boxes: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Boxes as two more labelled points; a padding point where there is neither.

    As SAM does, coordinates get the half pixel that makes a pixel index its centre; box corners
    too. Clicks without a box get a padding point, so that the number of tokens is the same.
    """
    parts: list[tuple[Tensor, Tensor]] = []
    if points is not None and labels is not None:
        parts.append((points + 0.5, labels))
    if boxes is not None:
        corners = boxes.view(-1, 2, 2) + 0.5
        kinds = torch.tensor([[TOP_LEFT, BOTTOM_RIGHT]], device=boxes.device)
        parts.append((corners, kinds.expand(boxes.shape[0], 2)))
    else:
        reference = points if points is not None else mask
        assert reference is not None
        count = reference.shape[0]
        nowhere = torch.zeros(count, 1, 2, device=reference.device)
        padding = torch.full((count, 1), PADDING, device=reference.device)
        parts.append((nowhere, padding))
    return (
        torch.cat([p.float() for p, _ in parts], 1),
        torch.cat([k.long() for _, k in parts], 1),
    )
