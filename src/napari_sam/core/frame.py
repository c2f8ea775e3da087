"""Frame: an image's own pixels <-> the canvas that a model sees.

The one place where scale and padding live; (y, x) becomes (x, y) here and nowhere else. Knows
sizes, not models: the numbers come from the registry.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from napari_sam.core.runtime import to_device
from napari_sam.core.scale import working_scale

Size = tuple[int, int]
EMPTY_LOGIT = -10.0


@dataclass(frozen=True)
class Frame:
    """Sizes (height, width) of one image on its way through a model.

    Attributes
    ----------
    original
        The image as given.
    scaled
        The image as resized for the model.
    canvas
        The scaled image padded at the bottom and right.
    mask_stride
        Canvas pixels per low-res logit.
    """

    original: Size
    scaled: Size
    canvas: Size
    mask_stride: int

    @classmethod
    def fit(
        cls,
        original: Size,
        *,
        least: int,
        most: int,
        multiple: int,
        mask_stride: int,
        enlarge: float = inf,
    ) -> "Frame":
        """Scale as :func:`working_scale` says, pad to ``multiple``.

        With ``least == most`` this is the official "resize longest side"; sizes are rounded as
        there, so that masks agree to the pixel.
        """
        scale = working_scale(max(original), least, most, enlarge)
        height, width = (max(1, int(side * scale + 0.5)) for side in original)
        canvas = (-(-height // multiple) * multiple, -(-width // multiple) * multiple)
        return cls(original, (height, width), canvas, mask_stride)

    @property
    def scale(self) -> tuple[float, float]:
        """Scaled pixels per original pixel along y and x."""
        return (self.scaled[0] / self.original[0], self.scaled[1] / self.original[1])

    @property
    def low_res(self) -> Size:
        """(h, w) of the low-res logits."""
        return (self.canvas[0] // self.mask_stride, self.canvas[1] // self.mask_stride)

    def resize(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize (H, W, 3) uint8 to the scaled size, antialiased as the official code does."""
        if picture.shape[:2] == self.scaled:
            return picture
        resized = Image.fromarray(picture).resize(self.scaled[::-1], Image.Resampling.BILINEAR)
        return np.asarray(resized)

    def points_to_model(self, points_yx: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., 2) y, x of the original to x, y of the canvas (SAM adds the half pixel itself)."""
        scaled = points_yx * np.array(self.scale, np.float64)
        return np.ascontiguousarray(scaled[..., ::-1], np.float32)

    def boxes_to_model(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, 4) y0, x0, y1, x1 of the original to x0, y0, x1, y1 of the canvas."""
        return self.points_to_model(boxes.reshape(-1, 2, 2)).reshape(-1, 4)

    def restore(self, low_res_BMhw: Tensor) -> Tensor:
        """Low-res logits (B, M, h, w) to logits (B, M, H, W) of the original image.

        Two bilinear steps with the padding cut off between them, as the official code does.
        """
        full = F.interpolate(low_res_BMhw, self.canvas, mode="bilinear", align_corners=False)
        cut = full[..., : self.scaled[0], : self.scaled[1]]
        return F.interpolate(cut, self.original, mode="bilinear", align_corners=False)

    def to_low_res(self, logits_B1HW: Tensor) -> Tensor:
        """Logits (B, 1, H, W) at the image's size to a mask prompt (B, 1, h, w)."""
        scaled = F.interpolate(
            logits_B1HW, self.scaled, mode="bilinear", antialias=True, align_corners=False
        )
        right, bottom = self.canvas[1] - self.scaled[1], self.canvas[0] - self.scaled[0]
        padded = F.pad(scaled, (0, right, 0, bottom), value=EMPTY_LOGIT)
        return F.avg_pool2d(padded, self.mask_stride)


def picture_to_tensor(picture: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) float32, 0 to 255."""
    tensor = to_device(torch.from_numpy(np.array(picture)), device)
    return tensor.permute(2, 0, 1)[None].float()
