"""Predictors for tests of the automatic generator, which answer at low resolution as SAM does."""

from dataclasses import dataclass, field

import numpy as np
import torch

from napari_sam.core.frame import Frame
from napari_sam.core.intensity import to_picture
from napari_sam.core.predictor import NO_MASK_LOGIT, ImageEmbedding, MaskPrediction
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
            logits[~(scores > least_score)] = NO_MASK_LOGIT
        return MaskPrediction(logits.astype(np.float32), scores, frame)


@dataclass
class Truth:
    """Answers with the very object of a label image that a point lies on, in each candidate."""

    labels: np.ndarray
    asked: int = 0

    def encode(self, image: np.ndarray, *, intensity: str = "percentile") -> ImageEmbedding:
        size = np.shape(image)[:2]
        return ImageEmbedding(torch.zeros(1), None, Frame(size, size, size, 1), "truth")

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Prompts,
        *,
        multimask: bool = True,
        least_score: float | None = None,
    ) -> MaskPrediction:
        self.asked += prompts.n_objects
        y, x = np.floor(prompts.points[:, 0] + 0.5).astype(int).T
        on = self.labels[y, x]
        masks = (self.labels == on[:, None, None]) & (on > 0)[:, None, None]
        scores = np.where(on > 0, 0.95, 0.1)[:, None].astype(np.float32)
        logits = np.where(masks, 10, -10).astype(np.float32)[:, None]
        return MaskPrediction(logits, scores, embedding.frame)


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
