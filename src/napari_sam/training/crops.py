"""Crops with object masks: cut from labelled images or from drawn scenes, then augmented.

Knows numpy, torch tensors and a random generator; nothing of batches or models.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from napari_sam.evaluation.datasets import Sample
from napari_sam.training.canvas import log_uniform
from napari_sam.training.synthetic import make_scene

LEAST_PIXELS = 40


def synthetic_crop(rng: Generator, size: int) -> tuple[Tensor, list[Tensor]]:
    """A drawn scene, or a magnified part of one: picture (3, S, S) and label levels (S, S)."""
    drawn = max(256, min(size, 512))
    scene = make_scene(rng, drawn)
    least = 0.6 if size < drawn else 1.0
    zoom = log_uniform(rng, least, 5.0 if rng.random() < 0.4 else 1.5)
    side = int(np.clip(size / zoom, 48, drawn))
    return cut(rng, scene.image, scene.labels, side, size)


def real_crop(
    rng: Generator,
    sample: Sample,
    size: int,
    zoom: float,
    *,
    variety: float = 1.0,
) -> tuple[Tensor, list[Tensor]]:
    """A part of a labelled picture at a random scale around the one used at inference, ``zoom``.

    With a ``variety`` of 0 that is the only scale.
    """
    if rng.random() < 0.3:
        zoom *= log_uniform(rng, 0.35, 4.5) ** variety
    else:
        zoom *= log_uniform(rng, 0.55, 1.8) ** variety
    side = int(np.clip(size / zoom, 32, min(sample.picture.shape[:2])))
    return cut(rng, sample.picture, (sample.labels,), side, size)


def cut(
    rng: Generator,
    picture: NDArray[np.uint8],
    levels: tuple[NDArray[np.int32], ...],
    side: int,
    size: int,
) -> tuple[Tensor, list[Tensor]]:
    """A square of ``side`` pixels anywhere, resized to ``size``: picture and label levels."""
    y = rng.integers(0, picture.shape[0] - side + 1)
    x = rng.integers(0, picture.shape[1] - side + 1)
    window = (slice(y, y + side), slice(x, x + side))
    cut = torch.from_numpy(picture[window].astype(np.float32)).permute(2, 0, 1)
    labels = [torch.from_numpy(level[window].astype(np.float32)) for level in levels]
    if side != size:
        cut = F.interpolate(
            cut[None], (size, size), mode="bilinear", antialias=side > size, align_corners=False
        )[0]
        labels = [
            F.interpolate(level[None, None], (size, size), mode="nearest-exact")[0, 0]
            for level in labels
        ]
    return cut, [level.long() for level in labels]


def paste_objects(
    rng: Generator, picture: Tensor, labels: Tensor, other: Tensor, other_levels: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Copy some objects of another crop (3, S, S) onto this one, edges softened.

    What a pasted object covers is gone from the labels, as if it lay on top.
    """
    source = other_levels[0]
    numbers = torch.unique(source)
    numbers = numbers[numbers > 0]
    if not len(numbers):
        return picture, [labels]
    count = int(rng.integers(1, max(2, min(12, len(numbers)) + 1)))
    chosen = numbers[torch.from_numpy(rng.permutation(len(numbers))[:count])]
    pasted = torch.isin(source, chosen)
    soft = F.avg_pool2d(pasted[None, None].float(), 3, 1, 1)[0]
    mixed = picture * (1 - soft) + other * soft
    return mixed, [torch.where(pasted, source + int(labels.max()), labels)]


def choose_objects(rng: Generator, levels: list[Tensor], count: int) -> Tensor | None:
    """Masks (P, S, S) of random objects of any level.

    ``count`` of them, each at most twice, or None where there is no object at all.
    """
    candidates = []
    for level in levels:
        sizes = torch.bincount(level.flatten())
        candidates += [(level, i) for i in range(1, len(sizes)) if sizes[i] >= LEAST_PIXELS]
    if not candidates:
        return None
    if len(candidates) >= count:
        picks = rng.permutation(len(candidates))[:count]
    else:
        # Twice the same object is asked for in two ways; more often it would crowd out others.
        picks = np.arange(min(count, 2 * len(candidates))) % len(candidates)
    return torch.stack([candidates[p][0] == candidates[p][1] for p in picks])


def augment(
    rng: Generator, picture: Tensor, masks: Tensor, labels: Tensor, *, variety: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Turn, mirror, recolour, brighten, blur and add noise; masks and labels turn along.

    With a ``variety`` below 1 colours and values are changed as much more seldom.
    """
    turns = int(rng.integers(4))
    picture, masks = torch.rot90(picture, turns, (1, 2)), torch.rot90(masks, turns, (1, 2))
    labels = torch.rot90(labels, turns, (0, 1))
    if rng.random() < 0.5:
        picture, masks, labels = picture.flip(2), masks.flip(2), labels.flip(1)
    image = picture / 255
    if rng.random() < 0.25 * variety:
        image = image[torch.from_numpy(rng.permutation(3))]
    if rng.random() < 0.15 * variety:
        image = image.mean(0, keepdim=True).expand(3, -1, -1)
    if rng.random() < 0.3 * variety:  # stain: gain per channel
        image = image * torch.from_numpy(rng.uniform(0.75, 1.2, (3, 1, 1)).astype(np.float32))
    if rng.random() < 0.2 * variety:
        image = 1 - image
    if rng.random() < 0.4 * variety:
        image = image.clamp(0, 1.3).pow(float(np.exp(rng.uniform(-0.6, 0.6))))
    if rng.random() < 0.4 * variety:
        image = image * float(rng.uniform(0.6, 1.2)) + float(rng.uniform(-0.1, 0.2))
    if rng.random() < 0.15 * variety:
        image = F.avg_pool2d(image[None], 3, 1, 1)[0]
    if rng.random() < 0.25 * variety:
        shape = (1 if rng.random() < 0.5 else 3, *image.shape[1:])
        noise = rng.standard_normal(shape, dtype=np.float32) * log_uniform(rng, 0.01, 0.12)
        image = image + torch.from_numpy(noise)
    return (image * 255).contiguous(), masks.contiguous(), labels.contiguous()
