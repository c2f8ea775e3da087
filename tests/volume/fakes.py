"""A model for drawn scenes: an object is what is connected and of one grey value."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from skimage import measure

from napari_sam.core.frame import Frame
from napari_sam.core.intensity import to_picture
from napari_sam.core.predictor import ImageEmbedding
from tests.core.scenes import Parts


@dataclass(frozen=True)
class Greys(Parts):
    """Picklable source of the predictor; ``name`` tells weights apart."""

    name: str = "greys"
    least: int = 3  # pixels of an object that it sees

    def load(self) -> "Greys":
        return self

    def identity(self) -> dict[str, Any]:
        return {"name": self.name, "weights_sha256": "none"}

    def encode(self, image: np.ndarray, *, intensity: str = "percentile") -> ImageEmbedding:
        picture = to_picture(image, intensity=intensity)
        size = picture.shape[:2]
        grey = picture[..., 0]
        parts = measure.label(grey, background=0, connectivity=1)
        features = torch.from_numpy(np.stack([grey, parts])[None].astype(np.float32))
        return ImageEmbedding(features, None, Frame(size, size, size, 1), self.name)

    def parts(self, embedding: ImageEmbedding) -> np.ndarray:
        return embedding.features[0, 1].numpy()

    def scores(self, sizes: np.ndarray) -> np.ndarray:
        return np.where(sizes >= self.least, 0.95, 0.1)


def cells(
    shape: tuple[int, int, int],
    *,
    count: int = 40,
    seed: int = 0,
    radius: tuple[int, int] = (5, 11),
) -> tuple[np.ndarray, np.ndarray]:
    """A volume (z, y, x) uint8 of ellipsoids that do not touch, and its labels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    grid = np.indices(shape)
    for _ in range(count * 4):
        centre = rng.uniform(0, shape)
        radii = rng.uniform(*radius, 3) * (0.4, 1, 1)
        inside = (((grid.T - centre) / radii) ** 2).sum(-1).T <= 1
        margin = (((grid.T - centre) / (radii + 2)) ** 2).sum(-1).T <= 1
        if not labels[margin].any() and inside.sum() > 30 and labels.max() < count:
            labels[inside] = labels.max() + 1
    for plane in labels:  # no slice so small that a grid of points may miss it
        plane[np.isin(plane, np.flatnonzero(np.bincount(plane.ravel()) < 20))] = 0
    labels = np.unique(labels, return_inverse=True)[1].reshape(shape).astype(np.uint32)
    greys = np.r_[0, rng.permutation(np.arange(1, 256))[: labels.max()]]
    return greys[labels].astype(np.uint8), labels
