"""Predictors that know the truth, so that a protocol can be checked without a network."""

import numpy as np
import torch

from napari_sam.core.frame import Frame
from napari_sam.core.predictor import ImageEmbedding, MaskPrediction
from napari_sam.evaluation.clicks import tight_box


class PerfectPredictor:
    """Answers every prompt with the true mask, after ``blind_rounds`` of half the mask."""

    def __init__(self, labels, blind_rounds=0, score=0.75):
        self.labels = labels
        self.score = score
        self.blind_rounds = blind_rounds
        self.asked = []

    def encode(self, image, *, intensity="percentile"):
        size = self.labels.shape
        assert np.shape(image) == (*size, 3)
        assert intensity == "as_is"
        return ImageEmbedding(torch.zeros(1, 1, 1, 1), None, Frame(size, size, size, 1), "fake")

    def decode(self, embedding, prompts, *, multimask=True, least_score=None):
        self.asked.append((prompts, multimask))
        count = 3 if multimask else 1
        logits = np.full((prompts.n_objects, count, *self.labels.shape), -8, np.float32)
        scores = np.full((prompts.n_objects, count), 0.25, np.float32)
        for i in range(prompts.n_objects):
            mask = self._truth(prompts, i)
            if prompts.boxes is None and prompts.points.shape[1] <= self.blind_rounds:
                mask &= np.arange(mask.shape[1]) <= int(prompts.points[i, 0, 1])
            logits[i, -1][mask] = 8
            scores[i, -1] = self.score
        return MaskPrediction(logits, scores, embedding.frame)

    def _truth(self, prompts, i):
        if prompts.boxes is None:
            y, x = prompts.points[i, 0].astype(int)
            return (self.labels == self.labels[y, x]) & (self.labels > 0)
        for label in range(1, self.labels.max() + 1):
            if np.array_equal(tight_box(self.labels == label), prompts.boxes[i]):
                return self.labels == label
        raise AssertionError("no object has this box")


def discs(shape=(60, 80), centres=((15, 15), (40, 20), (30, 60), (0, 40)), radius=9):
    """Label image of discs; the last lies on the border."""
    labels = np.zeros(shape, np.int32)
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    for label, (y, x) in enumerate(centres, 1):
        labels[(yy - y) ** 2 + (xx - x) ** 2 <= radius**2] = label
    return labels
