"""Predictors for tests of the automatic generator, which answer at low resolution as SAM does."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
import torch

from napari_sam.core.frame import Frame
from napari_sam.core.intensity import to_picture
from napari_sam.core.modeling.common import EMPTY_LOGIT
from napari_sam.core.predictor import ImageEmbedding, MaskPrediction
from napari_sam.core.prompts import Prompts


@dataclass
class Blobs:
    """Soft discs around each point, of three radii (shares of the model's canvas)."""

    radii: tuple[float, ...] = (0.05, 0.1, 0.2)
    side: int = 256
    asked: int = 0
    least_scores: set[float | None] = field(default_factory=set)

    def encode(self, image: np.ndarray, *, intensity: str = "percentile") -> ImageEmbedding:
        size = to_picture(image, intensity=intensity).shape[:2]
        frame = Frame.fit(size, least=self.side, most=self.side, multiple=self.side, mask_stride=4)
        return ImageEmbedding(torch.zeros(1), None, frame, "blobs")

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Prompts,
        *,
        multimask: bool = True,
        least_score: float | None = None,
    ) -> MaskPrediction:
        self.asked += prompts.n_objects
        self.least_scores.add(least_score)
        frame = embedding.frame
        points = frame.points_to_model(prompts.points)[:, 0]
        cells = (np.arange(frame.low_res[0], dtype=np.float32) + 0.5) * frame.mask_stride
        distance = (cells[None, :, None] - points[:, 1, None, None]) ** 2 + (
            cells[None, None, :] - points[:, 0, None, None]
        ) ** 2
        radii = np.array(self.radii, np.float32)[:, None, None] * self.side
        logits = 6 * (1 - distance[:, None] / radii**2)
        # Differs from point to point and from candidate to candidate, without ties.
        spread = np.modf(points @ np.array([0.37, 0.11]))[0][:, None] * np.ones(len(radii))
        scores = (0.9 - 0.3 * spread - 0.05 * np.arange(len(radii))).astype(np.float32)
        if least_score is not None:
            logits[~(scores > least_score)] = EMPTY_LOGIT
        return MaskPrediction(logits.astype(np.float32), scores, frame)


class Parts(ABC):
    """Answers a point with the part of the image that it lies on, in each candidate."""

    @abstractmethod
    def parts(self, embedding: ImageEmbedding) -> np.ndarray:
        """Numbers (H, W) of the parts; 0 is none."""

    def scores(self, sizes: np.ndarray) -> np.ndarray:
        """What is expected of masks of so many pixels."""
        return np.where(sizes > 0, 0.95, 0.1)

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Prompts,
        *,
        multimask: bool = True,
        least_score: float | None = None,
    ) -> MaskPrediction:
        parts = self.parts(embedding)
        first = (prompts.points[:, 0] + 0.5) * embedding.frame.scale - 0.5
        y, x = np.floor(first + 0.5).astype(int).T
        at = parts[np.minimum(y, len(parts) - 1), np.minimum(x, len(parts[0]) - 1)]
        masks = (parts == at[:, None, None]) & (at > 0)[:, None, None]
        scores = self.scores(masks.sum((1, 2)))[:, None].astype(np.float32)
        logits = np.where(masks, 10, -10).astype(np.float32)[:, None]
        return MaskPrediction(logits, scores, embedding.frame)


@dataclass
class Truth(Parts):
    """Answers with the very object of a label image that a point lies on."""

    labels: np.ndarray
    asked: int = 0

    def decode(
        self, embedding: ImageEmbedding, prompts: Prompts, **options: object
    ) -> MaskPrediction:
        self.asked += prompts.n_objects
        return super().decode(embedding, prompts, **options)

    def encode(self, image: np.ndarray, *, intensity: str = "percentile") -> ImageEmbedding:
        size = np.shape(image)[:2]
        return ImageEmbedding(torch.zeros(1), None, Frame(size, size, size, 1), "truth")

    def parts(self, embedding: ImageEmbedding) -> np.ndarray:
        return self.labels


def discs(size: tuple[int, int], step: int, radius: float, *, seed: int = 0) -> np.ndarray:
    """Label image (H, W) of discs, ``step`` pixels apart; some are left out."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(size, np.int32)
    y, x = np.indices(size)
    for cy in range(step // 2, size[0], step):
        for cx in range(step // 2, size[1], step):
            if rng.random() < 0.6:
                near = (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
                labels[near] = labels.max() + 1
    return labels
