"""The two kinds of networks that are trained, behind one face: images in, all four masks out.

Positions are (x, y) in pixels of the crop, a pixel's centre at its index + 0.5.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from napari_sam.core.modeling.common import EncodedImage
from napari_sam.core.modeling.micro import MicroSam
from napari_sam.core.modeling.micro_prompt_encoder import BOTTOM_RIGHT, PADDING, TOP_LEFT
from napari_sam.core.modeling.sam import Sam
from napari_sam.errors import TrainingError


class Trainee(Protocol):
    """A network as the training loop sees it."""

    model: nn.Module

    def encode(self, images: Tensor) -> EncodedImage:
        """Embed crops (B, 3, S, S), 0 to 255."""
        ...

    def decode(
        self,
        encoded: EncodedImage,
        index: Tensor,
        points: Tensor,
        labels: Tensor,
        mask: Tensor | None,
        shift: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Low-res logits (P, 4, S / 4, S / 4), the single mask first, and predicted IoU (P, 4).

        ``index`` (P,) says on which image each prompt lies; ``points`` (P, N, 2) and ``labels``
        (P, N): 1 object, 0 background, 2 and 3 corners of a box, -1 none; ``mask`` (P, 1, S / 4,
        S / 4) logits of the round before; ``shift`` (2,) moves all positions of a network that
        knows no image's size.
        """
        ...


class MicroTrainee:
    """The bundled architecture."""

    def __init__(self, model: MicroSam) -> None:
        self.model: nn.Module = model
        self._model = model

    def encode(self, images: Tensor) -> EncodedImage:
        """See :class:`Trainee`."""
        return self._model.encode_image(images, canvas=(images.shape[-2], images.shape[-1]))

    def decode(
        self,
        encoded: EncodedImage,
        index: Tensor,
        points: Tensor,
        labels: Tensor,
        mask: Tensor | None,
        shift: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See :class:`Trainee`."""
        return self._model.decode_batch(encoded, index, points, labels, mask, shift=shift)


class SamTrainee:
    """A published SAM. Its decoder takes one image at a time, boxes apart from clicks."""

    def __init__(self, model: Sam) -> None:
        self.model: nn.Module = model
        self._model = model

    def encode(self, images: Tensor) -> EncodedImage:
        """See :class:`Trainee`."""
        return self._model.encode_image(images, canvas=(images.shape[-2], images.shape[-1]))

    def decode(
        self,
        encoded: EncodedImage,
        index: Tensor,
        points: Tensor,
        labels: Tensor,
        mask: Tensor | None,
        shift: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See :class:`Trainee`; ``shift`` is nothing to SAM, which knows where its image ends."""
        boxed = (labels == TOP_LEFT).any(1)
        rows, logits, scores = [], [], []
        for image in range(len(encoded.features)):
            one = EncodedImage(encoded.features[image : image + 1])
            for kind in (True, False):
                row = ((index == image) & (boxed == kind)).nonzero()[:, 0]
                if not len(row):
                    continue
                given = None if mask is None else mask[row]
                answer = self._ask(one, points[row] - 0.5, labels[row], given, boxed=kind)
                rows.append(row)
                logits.append(answer[0].float())
                scores.append(answer[1].float())
        order = torch.cat(rows).argsort()
        return torch.cat(logits)[order], torch.cat(scores)[order]

    def _ask(
        self, one: EncodedImage, points: Tensor, labels: Tensor, mask: Tensor | None, *, boxed: bool
    ) -> tuple[Tensor, Tensor]:
        boxes = None
        if boxed:
            first, last = labels == TOP_LEFT, labels == BOTTOM_RIGHT
            boxes = torch.cat([points[first], points[last]], 1)
            labels = torch.where(first | last, PADDING, labels)
        real = (labels != PADDING).any(0)
        clicks = (points[:, real], labels[:, real]) if real.any() else (None, None)
        return self._model.decode(
            one, points=clicks[0], labels=clicks[1], boxes=boxes, mask=mask, multimask=None
        )


def trainee_of(model: nn.Module) -> Trainee:
    """The network behind the face that fits.

    Raises
    ------
    TrainingError
        It is neither of ours nor a SAM.
    """
    if isinstance(model, MicroSam):
        return MicroTrainee(model)
    if isinstance(model, Sam):
        return SamTrainee(model)
    raise TrainingError(f"a {type(model).__name__} cannot be trained: only the registered models.")
