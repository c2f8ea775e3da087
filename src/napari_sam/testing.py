"""A predictor without a model, for tests of whatever takes a predictor: ours and yours.

Masks are discs around the positive points, filled boxes and mask prompts: exact, deterministic,
and known beforehand. Torch is imported when the first image is encoded, as with the real one.
"""

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam.core.intensity import Intensity, to_picture
from napari_sam.core.prompts import Prompts
from napari_sam.errors import PromptError

if TYPE_CHECKING:
    from napari_sam.core.predictor import ImageEmbedding, MaskPrediction

SCORES = (0.6, 0.9, 0.3)
LOGIT = 10.0
EMPTY_LOGIT = -32.0  # of candidates below the score that was asked for


class _FakeRuntime:
    def describe(self) -> str:
        return "no device, fake"


@dataclass
class FakePredictor:
    """Encodes nothing and decodes discs and boxes; counts and remembers its calls.

    Parameters
    ----------
    radius
        Radius in pixels of the middle candidate; the others have half and twice of it.
    encode_s, decode_s
        How long the calls sleep.
    encode_error, decode_error
        Raised by the calls if given.
    """

    radius: float = 8.0
    encode_s: float = 0.0
    decode_s: float = 0.0
    encode_error: Exception | None = None
    decode_error: Exception | None = None
    images: list[NDArray[np.generic]] = field(default_factory=list)
    intensities: list[Intensity] = field(default_factory=list)
    prompts: list[Prompts] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    runtime: _FakeRuntime = field(default_factory=_FakeRuntime)

    def encode(
        self,
        image: ArrayLike,
        *,
        intensity: Intensity = "percentile",
        channels: tuple[int, ...] | None = None,
    ) -> "ImageEmbedding":
        """Check the image as the real one does, and remember it."""
        import torch

        from napari_sam.core.frame import Frame
        from napari_sam.core.predictor import ImageEmbedding

        self.threads.add(threading.current_thread().name)
        time.sleep(self.encode_s)
        if self.encode_error is not None:
            raise self.encode_error
        picture = to_picture(image, intensity=intensity, channels=channels)
        self.images.append(np.asarray(image))
        self.intensities.append(intensity)
        size = (picture.shape[0], picture.shape[1])
        frame = Frame(original=size, scaled=size, canvas=size, mask_stride=1)
        return ImageEmbedding(torch.zeros(1, 1, 1, 1), None, frame, "fake")

    def decode(
        self,
        embedding: "ImageEmbedding",
        prompts: Prompts,
        *,
        multimask: bool = True,
        least_score: float | None = None,
    ) -> "MaskPrediction":
        """Draw discs around positive points, holes around negative ones, and filled boxes."""
        from napari_sam.core.predictor import MaskPrediction, check_inside

        time.sleep(self.decode_s)
        if self.decode_error is not None:
            raise self.decode_error
        if embedding.model_name != "fake":
            raise PromptError("the embedding is not a fake one.")
        check_inside(prompts, embedding.frame.original)
        self.prompts.append(prompts)
        factors = (0.5, 1.0, 2.0) if multimask else (1.0,)
        masks = np.array(
            [
                [self.mask(prompts, i, embedding.frame.original, factor) for factor in factors]
                for i in range(prompts.n_objects)
            ]
        )
        row = np.array(SCORES if multimask else SCORES[1:2], np.float32)
        scores = np.tile(row, (len(masks), 1))
        logits = np.where(masks, LOGIT, -LOGIT).astype(np.float32)
        if least_score is not None:
            logits[scores <= least_score] = EMPTY_LOGIT
        return MaskPrediction(logits, scores, embedding.frame)

    def mask(
        self, prompts: Prompts, index: int, size: tuple[int, int], factor: float = 1.0
    ) -> NDArray[np.bool_]:
        """The mask (H, W) that object ``index`` of the prompts gets."""
        grid = np.indices(size)
        mask = np.zeros(size, bool)
        if prompts.mask_logits is not None and prompts.mask_logits.shape[1:] == size:
            mask |= prompts.mask_logits[index] > 0
        if prompts.boxes is not None:
            y0, x0, y1, x1 = prompts.boxes[index]
            mask |= (grid[0] >= y0) & (grid[0] <= y1) & (grid[1] >= x0) & (grid[1] <= x1)
        if prompts.points is not None and prompts.point_labels is not None:
            labels = prompts.point_labels[index]
            for sign in (1, 0):
                for y, x in prompts.points[index][labels == sign]:
                    near = (grid[0] - y) ** 2 + (grid[1] - x) ** 2 <= (self.radius * factor) ** 2
                    mask = mask | near if sign else mask & ~near
        return mask
