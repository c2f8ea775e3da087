"""Pictures for the full-size comparison, without a download. Knows scikit-image's own files.

A cat stands for the dog of SAM's notebooks, a motorcycle for the truck, stained tissue and drawn
nuclei for the microscope. Each comes square, wide or tall.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import skimage
from numpy.typing import NDArray

_skimage: Any = skimage  # without types
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class TestImage:
    """A named (H, W, 3) uint8 RGB picture."""

    __test__ = False  # not a test, whatever its name
    name: str
    picture: Picture


def make_images() -> list[TestImage]:
    """Make nine pictures: three kinds, each square, wide and tall; the first three have it all."""
    data = _skimage.data
    cat, motorcycle = data.chelsea(), data.stereo_motorcycle()[0]
    tissue = data.immunohistochemistry()
    return [
        TestImage("cat square", cat[:, 60:360]),
        TestImage("motorcycle wide", motorcycle),
        TestImage("microscope tall", nuclei(1500, 620, seed=2)),
        TestImage("cat wide", cat[40:240]),
        TestImage("cat tall", cat[:, 100:300]),
        TestImage("motorcycle square", motorcycle[:, 100:600]),
        TestImage("motorcycle tall", motorcycle[:, 250:550]),
        TestImage("microscope square", tissue),
        TestImage("microscope wide", nuclei(700, 1300, seed=1)),
    ]


def nuclei(height: int, width: int, *, seed: int) -> Picture:
    """Draw bright blurred ellipses on a dark noisy ground, grey as RGB."""
    random = np.random.RandomState(seed)
    draw, filters = _skimage.draw, _skimage.filters
    canvas = np.full((height, width), 0.08)
    for _ in range(height * width // 9000):
        rows, columns = draw.ellipse(
            random.uniform(0, height),
            random.uniform(0, width),
            random.uniform(14, 34),
            random.uniform(14, 34),
            shape=canvas.shape,
            rotation=random.uniform(0, np.pi),
        )
        canvas[rows, columns] = random.uniform(0.3, 0.9)
    canvas = filters.gaussian(canvas, 2) + random.normal(0, 0.03, canvas.shape)
    grey = (255 * np.clip(canvas, 0, 1)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
