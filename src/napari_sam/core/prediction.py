"""What goes between encoding and decoding, and what comes out: values that remember their sizes.

Knows frames, logits and upscaling; no networks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from napari_sam.core.closer_look import Look
from napari_sam.core.detail import Detail
from napari_sam.core.frame import Frame
from napari_sam.core.regions import Mask, Region
from napari_sam.core.runtime import memory_errors
from napari_sam.core.upscale import restore_mask, restore_masks, restore_region


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """Encoder output of one image, with all that is needed to decode prompts on it.

    Attributes
    ----------
    features
        (1, C, h, w) image embedding on the predictor's device.
    skip
        Finer features of the bundled model, None for SAM.
    frame
        Sizes of the image and of the model's canvas.
    model_name
        Registry name of the model that made it.
    picture
        (H, W, 3) uint8 what was embedded, for closer looks at small objects; None without them.
    """

    features: Tensor
    skip: Tensor | None
    frame: Frame
    model_name: str
    picture: NDArray[np.uint8] | None = None
    # Only a speed-up: corrections of an object mostly look at the same crop again.
    _looks: dict[Look, "ImageEmbedding"] = field(default_factory=dict, repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes in memory, closer looks among them: it grows when objects are asked for."""
        tensors = [self.features, *([] if self.skip is None else [self.skip])]
        own = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        shown = 0 if self.picture is None else self.picture.nbytes
        return own + shown + sum(look.nbytes for look in list(self._looks.values()))


@dataclass(frozen=True, eq=False)
class MaskPrediction:
    """Masks of B objects with M candidates each, best guesses of one decoding.

    Attributes
    ----------
    low_res_logits
        (B, M, h, w) float32, above 0 is object; pass one back as ``Prompts(mask_logits=...)``.
    scores
        (B, M) float32 predicted IoU.
    frame
        Sizes; brings masks back to the image's own pixels.
    details
        By object: what a closer look found; its masks are finer than the low-res logits.
    """

    low_res_logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    frame: Frame
    details: Mapping[int, Detail] = field(default_factory=dict)

    @memory_errors()
    def masks(self) -> NDArray[np.bool_]:
        """All candidates at the image's size, (B, M, H, W)."""
        low_res = self.low_res_logits.reshape(-1, *self.low_res_logits.shape[2:])
        masks = restore_masks(self.frame, low_res)
        masks = masks.reshape(*self.scores.shape, *self.frame.original)
        for index in self.details:
            masks[index] = [self.mask(index, j) for j in range(self.scores.shape[1])]
        return masks

    def mask(self, index: int, candidate: int | None = None) -> NDArray[np.bool_]:
        """One object's mask (H, W): the given candidate, or the one with the best score."""
        mask = np.zeros(self.frame.original, bool)
        patch, region = self.patch(index, candidate)
        mask[region] = patch
        return mask

    @memory_errors()
    def patch(self, index: int, candidate: int | None = None) -> tuple[Mask, Region]:
        """As :meth:`mask`, but only where the object is; nothing else is upscaled.

        Returns
        -------
        tuple
            Bool array of the object's bounding box, and that box as half-open slices along y and
            x in pixels of the image. (0, 0) and an empty region where there is no object.
        """
        chosen = self._chosen(index, candidate)
        if index in self.details:
            return self.details[index].patch(chosen)
        return restore_mask(self.frame, self.low_res_logits[index, chosen])

    @memory_errors()
    def logits(self, index: int, candidate: int | None = None) -> NDArray[np.float32]:
        """As :meth:`mask`, before the threshold."""
        chosen = self._chosen(index, candidate)
        if index in self.details:
            return self.details[index].logits(chosen, self.frame.original)
        whole = (slice(0, self.frame.original[0]), slice(0, self.frame.original[1]))
        return restore_region(self.frame, self.low_res_logits[index, chosen], whole)

    def best(self) -> NDArray[np.intp]:
        """Candidate with the best score for each object, (B,)."""
        return np.asarray(self.scores.argmax(1), np.intp)

    def to_labels(self) -> NDArray[np.uint32]:
        """Label image (H, W): object i becomes label i + 1.

        Where objects overlap, the one with the better score stays on top.
        """
        labels = np.zeros(self.frame.original, np.uint32)
        for index in np.argsort(self.scores.max(1), kind="stable"):
            patch, region = self.patch(int(index))
            labels[region][patch] = index + 1
        return labels

    def _chosen(self, index: int, candidate: int | None) -> int:
        return int(self.best()[index]) if candidate is None else candidate
