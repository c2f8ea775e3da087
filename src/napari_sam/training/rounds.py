"""The loss of a batch: every object is asked for, answered, corrected, and asked again.

All rounds share one pass of the encoder (Kirillov et al. 2023, appendix A). Knows networks by
:class:`~napari_sam.training.trainee.Trainee`; nothing of optimisers or files.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam.core.modeling.common import EncodedImage
from napari_sam.training.dataset import Batch
from napari_sam.training.losses import mask_iou, roi_mask_loss, roi_weights, sam_mask_loss
from napari_sam.training.params import TrainParams
from napari_sam.training.simulate import corrective_clicks, first_prompts, tight_boxes
from napari_sam.training.trainee import Trainee

STRIDE = 4  # of the masks; the auxiliary labels come at the same stride
LARGEST_SHIFT = 700.0  # pixels that positions are moved by, so that large images are known too


def interactive_loss(
    trainee: Trainee,
    batch: Batch,
    encoded: EncodedImage,
    params: TrainParams,
    fraction: float,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Mean loss over the prompt rounds, and the IoU after each round.

    Parameters
    ----------
    trainee
        The network.
    batch
        Crops and masks, on the network's device.
    encoded
        Answer of its encoder for the crops.
    params
        Losses, prompts and rounds.
    fraction
        Share of the run that is done: the rounds grow with it.
    generator
        On the same device; all that is random here.
    """
    soft = F.avg_pool2d(batch.masks[:, None].float(), STRIDE)
    roi = roi_weights(tight_boxes(batch.masks), (soft.shape[-2], soft.shape[-1]), STRIDE)
    points, labels, is_box, mask = first_prompts(
        batch.masks, soft[:, 0], STRIDE, generator, params.prompts
    )
    single = is_box | (mask is not None)  # nothing else could be meant
    shift = torch.rand(2, generator=generator, device=generator.device) * LARGEST_SHIFT
    rounds = draw_rounds(params, fraction, generator)
    total = soft.new_zeros(())
    notes: dict[str, float] = {}
    for number, clicked in enumerate(rounds):
        if clicked and number:
            assert mask is not None
            click, sign = corrective_clicks(
                mask[:, 0] > 0, batch.masks, soft[:, 0], STRIDE, generator
            )
            points = torch.cat([points, click[:, None]], 1)
            labels = torch.cat([labels, sign[:, None]], 1)
        with autocast(params, soft.device):
            logits, scores = trainee.decode(encoded, batch.owner, points, labels, mask, shift)
        if params.loss == "roi":
            losses = roi_mask_loss(logits, soft, roi)
        else:
            losses = sam_mask_loss(logits, soft)
        ambiguous = ~single & (number == 0)
        best = losses[:, 1:].min(1).values
        total = total + (losses[:, 0] + torch.where(ambiguous, 1.0, 0.4) * best).mean()
        iou = mask_iou(logits, soft > 0.5)
        total = total + params.iou_weight * F.mse_loss(scores, iou)
        chosen = torch.where(ambiguous, 1 + scores[:, 1:].argmax(1), 0)
        notes |= round_notes(number, iou, scores, chosen, is_box)
        picked = chosen[:, None, None, None].expand(-1, 1, *logits.shape[-2:])
        mask = logits.detach().gather(1, picked)
    return total / len(rounds), notes


def autocast(params: TrainParams, device: torch.device) -> torch.autocast:
    """Where products are computed in the numbers that the run wants."""
    return torch.autocast(device.type, torch.bfloat16, enabled=params.precision == "bf16")


def draw_rounds(
    params: TrainParams, fraction: float, generator: torch.Generator
) -> tuple[bool, ...]:
    """Whether each round brings a new prompt (the first does) or the last mask alone."""
    first, last = params.first_rounds, params.last_rounds
    most = first + (last - first) * fraction
    wobble, fewer, place = torch.rand(3, generator=generator, device=generator.device).tolist()
    # A recipe of one number of rounds keeps to it.
    clicks = max(1, int(most + wobble) - int(fewer < 0.5)) if first != last else last
    rounds = [True] * min(clicks, last)
    if params.mask_only_rounds > 1:
        rounds.append(False)
    if params.mask_only_rounds:
        rounds.insert(1 + int(place * len(rounds)), False)
    return tuple(rounds)


@torch.no_grad()
def round_notes(
    number: int, iou: Tensor, scores: Tensor, chosen: Tensor, is_box: Tensor
) -> dict[str, float]:
    """IoU of the chosen masks and error of the predicted IoU, for the log."""
    got = iou.gather(1, chosen[:, None])[:, 0]
    notes = {"score_error": float((scores - iou).abs().mean())}
    if number:
        return notes | {f"round_{number + 1}": float(got.mean())}
    if is_box.any():
        notes["box"] = float(got[is_box].mean())
    if not is_box.all():
        notes["click"] = float(got[~is_box].mean())
        notes["click_oracle"] = float(iou[~is_box, 1:].max(1).values.mean())
    return notes
