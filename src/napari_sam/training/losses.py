"""Losses of promptable segmentation: masks, predicted IoU, and a dense auxiliary head.

SAM's recipe is Kirillov et al. 2023, appendix A ("Training algorithm"): focal and dice loss in the
ratio 20 to 1, the smallest of the candidate masks' losses, mean squared error of the IoU.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.modeling.micro_encoder import ChannelNorm

ROI_MARGIN, ROI_LEAST, GLOBAL_SHARE = 0.5, 16.0, 0.3


def dice_loss(logits_PMHW: Tensor, target_P1HW: Tensor) -> Tensor:
    """One minus the soft Dice coefficient, smoothed by one pixel, (P, M)."""
    p = logits_PMHW.sigmoid()
    both = (p * target_P1HW).sum((-1, -2))
    return 1 - (2 * both + 1) / (p.sum((-1, -2)) + target_P1HW.sum((-1, -2)) + 1)


def focal_loss(
    logits_PMHW: Tensor, target_P1HW: Tensor, *, alpha: float | None = 0.25, gamma: float = 2.0
) -> Tensor:
    """Focal loss per pixel for soft targets, (P, M, H, W); no class weight where alpha is None."""
    target = target_P1HW.expand_as(logits_PMHW)
    entropy = F.binary_cross_entropy_with_logits(logits_PMHW, target, reduction="none")
    loss = entropy * (logits_PMHW.sigmoid() - target).abs().pow(gamma)
    if alpha is None:
        return loss
    return loss * (alpha * target + (1 - alpha) * (1 - target))


def sam_mask_loss(logits_PMHW: Tensor, target_P1HW: Tensor) -> Tensor:
    """20 focal + dice over the whole crop, (P, M)."""
    focal = focal_loss(logits_PMHW, target_P1HW).mean((-1, -2))
    return 20 * focal + dice_loss(logits_PMHW, target_P1HW)


def roi_mask_loss(logits_PMHW: Tensor, target_P1HW: Tensor, roi_P1HW: Tensor) -> Tensor:
    """10 focal + dice, the focal part weighted by ``roi`` (sums to about 1), (P, M)."""
    focal = (focal_loss(logits_PMHW, target_P1HW, alpha=None) * roi_P1HW).sum((-1, -2))
    return 10 * focal + dice_loss(logits_PMHW, target_P1HW)


def roi_weights(boxes_P4: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Weights (P, 1, h, w) that average over each box with a margin, plus a little everywhere.

    ``boxes`` are x0, y0, x1, y1 in pixels, ``size`` is (h, w) of the grid of ``stride`` pixels.
    """
    y = (torch.arange(size[0], device=boxes_P4.device) + 0.5) * stride
    x = (torch.arange(size[1], device=boxes_P4.device) + 0.5) * stride
    x0, y0, x1, y1 = boxes_P4[:, :, None].unbind(1)
    margin_x = ((x1 - x0) * ROI_MARGIN).clamp(min=ROI_LEAST)
    margin_y = ((y1 - y0) * ROI_MARGIN).clamp(min=ROI_LEAST)
    rows = (y > y0 - margin_y) & (y < y1 + margin_y)
    columns = (x > x0 - margin_x) & (x < x1 + margin_x)
    roi = (rows[:, :, None] & columns[:, None, :]).float()
    near = roi / roi.sum((1, 2), keepdim=True).clamp(min=1)
    return (near + GLOBAL_SHARE / (size[0] * size[1]))[:, None]


@torch.no_grad()
def mask_iou(logits_PMHW: Tensor, target_P1HW: Tensor) -> Tensor:
    """IoU of the thresholded masks with a boolean target, (P, M)."""
    mask = logits_PMHW > 0
    both, either = (mask & target_P1HW).sum((-1, -2)), (mask | target_P1HW).sum((-1, -2))
    return both / either.clamp(min=1)


class AuxiliaryHead(nn.Module):
    """Predicts edges, foreground and centre offsets from the encoder alone; training only.

    It gives the encoder a dense signal in the first steps, when masks are still all background.
    """

    def __init__(self, out_chans: int, skip_chans: int) -> None:
        super().__init__()
        self.upscale = nn.ConvTranspose2d(out_chans, skip_chans, 2, 2)
        self.norm = ChannelNorm(skip_chans)
        self.head = nn.Conv2d(skip_chans, 4, 1)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """(B, 4, H / 4, W / 4): edge logit, foreground logit, y and x offset in 8 cells."""
        out: Tensor = self.head(F.gelu(self.norm(self.upscale(features) + skip))).float()
        return out


def auxiliary_loss(prediction_B4HW: Tensor, labels_BHW: Tensor) -> Tensor:
    """Cross-entropy of edges and foreground, smooth L1 of the offset to the object's centre."""
    edge, foreground, offset = prediction_B4HW[:, 0], prediction_B4HW[:, 1], prediction_B4HW[:, 2:]
    inside = labels_BHW > 0
    loss = F.binary_cross_entropy_with_logits(edge, _edges(labels_BHW).float())
    loss = loss + 0.5 * F.binary_cross_entropy_with_logits(foreground, inside.float())
    if inside.any():
        wanted = _centre_offsets(labels_BHW).clamp(-3, 3)
        chosen = inside[:, None].expand_as(offset)
        loss = loss + 0.5 * F.smooth_l1_loss(offset[chosen], wanted[chosen])
    return loss


def _edges(labels_BHW: Tensor) -> Tensor:
    edges = torch.zeros_like(labels_BHW, dtype=torch.bool)
    across = labels_BHW[:, :, 1:] != labels_BHW[:, :, :-1]
    edges[:, :, 1:] |= across
    edges[:, :, :-1] |= across
    down = labels_BHW[:, 1:] != labels_BHW[:, :-1]
    edges[:, 1:] |= down
    edges[:, :-1] |= down
    return edges


def _centre_offsets(labels_BHW: Tensor) -> Tensor:
    """(B, 2, H, W) offset y, x from each cell to its label's centre, in 8 cells."""
    b, h, w = labels_BHW.shape
    device = labels_BHW.device
    count = int(labels_BHW.max()) + 1
    keys = (labels_BHW + torch.arange(b, device=device)[:, None, None] * count).flatten()
    y = torch.arange(h, device=device).float()[None, :, None].expand(b, h, w).flatten()
    x = torch.arange(w, device=device).float()[None, None, :].expand(b, h, w).flatten()
    sizes = torch.bincount(keys, minlength=b * count).clamp(min=1)
    offsets = [
        ((torch.bincount(keys, v, minlength=b * count) / sizes)[keys] - v).view(b, h, w) / 8
        for v in (y, x)
    ]
    return torch.stack(offsets, 1).float()
