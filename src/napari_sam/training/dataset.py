"""Training crops with object masks, from labelled images and from drawn scenes.

Every batch is a function of (seed, number of the batch) alone, so a resumed run sees what an
uninterrupted one would have seen. Knows numpy and torch tensors, nothing of models or losses.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from napari_sam.evaluation.datasets import Sample, read_pack
from napari_sam.training.canvas import log_uniform
from napari_sam.training.params import CropShape, TrainParams
from napari_sam.training.synthetic import make_scene

LEAST_PIXELS = 40
ENDLESS = 1 << 30
WORKING_SIDE = 640  # long side at which the model will be used on small images
# Share of the real crops by modality; the rest is spread over whatever else the packs hold.
MODALITY_SHARES = {
    "fluorescence": 0.44,
    "histology": 0.18,
    "brightfield": 0.07,
    "phase-contrast": 0.11,
    "SEM": 0.09,
}
SKIPPED_MODALITIES = {"fundus"}  # vessel trees are not objects that a click names


class Batch(NamedTuple):
    """Crops and the objects chosen in them.

    Attributes
    ----------
    images
        (B, 3, S, S) float32, 0 to 255 (a little beyond after augmentation).
    masks
        (B * P, S, S) bool, the objects of image 0 first.
    labels
        (B, S / 4, S / 4) int64 label image at stride 4 for the auxiliary loss.
    """

    images: Tensor
    masks: Tensor
    labels: Tensor


@dataclass(frozen=True)
class TrainingImages:
    """Labelled pictures by modality, with the probability of each modality."""

    by_modality: dict[str, list[Sample]]

    @classmethod
    def from_packs(cls, packs: list[Path]) -> "TrainingImages":
        """Read every usable item of the packs into memory."""
        found: dict[str, list[Sample]] = {}
        for pack in packs:
            for sample in read_pack(pack, every_plane=8):
                if sample.modality not in SKIPPED_MODALITIES:
                    found.setdefault(sample.modality, []).append(sample)
        return cls(found)

    def split(self, held_out: float) -> "tuple[TrainingImages, TrainingImages]":
        """Images to train on, and a share of each modality held out; chosen by the item's name.

        Planes of one stack stay together, a modality of a single item is all trained on, and an
        item stays on its side whatever else the packs hold.
        """
        parts: tuple[dict[str, list[Sample]], ...] = ({}, {})
        for modality, samples in self.by_modality.items():
            sides = [_draw_of(sample) < held_out for sample in samples]
            for sample, aside in zip(samples, sides, strict=True):
                # Without any image to train on a modality cannot be judged either.
                parts[aside and not all(sides)].setdefault(modality, []).append(sample)
        return TrainingImages(parts[0]), TrainingImages(parts[1])

    def shares(self) -> dict[str, float]:
        """Probability of each modality that is present; they sum to one."""
        named = {m: MODALITY_SHARES[m] for m in self.by_modality if m in MODALITY_SHARES}
        others = [m for m in self.by_modality if m not in MODALITY_SHARES]
        rest = 1 - sum(MODALITY_SHARES.values())
        weights = named | {m: rest / len(others) for m in others}
        total = sum(weights.values())
        return {m: weight / total for m, weight in weights.items()}

    def draw(self, rng: Generator) -> Sample:
        """One random picture."""
        shares = self.shares()
        names = sorted(shares)
        modality = names[rng.choice(len(names), p=[shares[n] for n in names])]
        pool = self.by_modality[modality]
        return pool[rng.integers(len(pool))]


def _draw_of(sample: Sample) -> float:
    """A number from 0 to 1 that depends on the item's name alone."""
    return zlib.crc32(sample.name.partition("#")[0].encode()) / 2**32


class BatchSource(Dataset[Batch]):
    """Batches by number."""

    def __init__(
        self, images: TrainingImages | None, params: TrainParams, start: int, stride: int = 1
    ) -> None:
        self.images = images
        self.params = params
        self.start = start
        self.stride = stride

    def __len__(self) -> int:
        """Number of batches offered."""
        return ENDLESS

    def __getitem__(self, index: int) -> Batch:
        """Batch number ``start + index * stride``."""
        number = self.start + index * self.stride
        rng = np.random.default_rng([self.params.seed, number])
        crops = self.params.crops
        shares = np.array([c.share for c in crops])
        shape = crops[rng.choice(len(crops), p=shares / shares.sum())]
        items = [self._crop(rng, shape) for _ in range(shape.images)]
        images, masks, labels = zip(*items, strict=True)
        return Batch(torch.stack(images), torch.cat(masks), torch.stack(labels))

    def _crop(self, rng: Generator, shape: CropShape) -> tuple[Tensor, Tensor, Tensor]:
        while True:
            drawn = self.images is None or rng.random() < self.params.synthetic_share
            if drawn:
                picture, levels = synthetic_crop(rng, shape.size)
            else:
                assert self.images is not None
                sample = self.images.draw(rng)
                picture, levels = real_crop(rng, sample, shape.size)
                if rng.random() < self.params.copy_paste:
                    others = self.images.by_modality[sample.modality]
                    other = others[rng.integers(len(others))]
                    picture, levels = paste_objects(
                        rng, picture, levels[0], *real_crop(rng, other, shape.size)
                    )
            masks = choose_objects(rng, levels, shape.objects)
            if masks is not None:
                return augment(rng, picture, masks, levels[0][2::4, 2::4])


def batches(
    images: TrainingImages | None,
    params: TrainParams,
    start: int,
    *,
    stride: int = 1,
    workers: int = 1,
) -> Iterator[Batch]:
    """Endless batches from number ``start``, made ahead in ``workers`` processes (0: in this one).

    Several trainers share the batches by starting at their rank and striding over their number.
    """
    source = BatchSource(images, params, start, stride)
    yield from DataLoader(
        source,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=6 if workers else None,
        worker_init_fn=_one_thread,
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def synthetic_crop(rng: Generator, size: int) -> tuple[Tensor, list[Tensor]]:
    """A drawn scene, or a magnified part of one: picture (3, S, S) and label levels (S, S)."""
    drawn = max(256, min(size, 512))
    scene = make_scene(rng, drawn)
    least = 0.6 if size < drawn else 1.0
    zoom = log_uniform(rng, least, 5.0 if rng.random() < 0.4 else 1.5)
    side = int(np.clip(size / zoom, 48, drawn))
    return _cut(rng, scene.image, scene.labels, side, size)


def real_crop(rng: Generator, sample: Sample, size: int) -> tuple[Tensor, list[Tensor]]:
    """A part of a labelled picture at a random scale around the one used at inference."""
    long_side = max(sample.picture.shape[:2])
    # Large pictures are used at about their own scale, small ones enlarged.
    zoom = WORKING_SIDE / long_side if long_side <= 1024 else 0.75
    if rng.random() < 0.3:
        zoom *= log_uniform(rng, 0.35, 4.5)
    else:
        zoom *= log_uniform(rng, 0.55, 1.8)
    side = int(np.clip(size / zoom, 32, min(sample.picture.shape[:2])))
    return _cut(rng, sample.picture, (sample.labels,), side, size)


def _cut(
    rng: Generator,
    picture: NDArray[np.uint8],
    levels: tuple[NDArray[np.int32], ...],
    side: int,
    size: int,
) -> tuple[Tensor, list[Tensor]]:
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
    """Masks (count, S, S) of random objects of any level, repeated if there are too few."""
    candidates = []
    for level in levels:
        sizes = torch.bincount(level.flatten())
        candidates += [(level, i) for i in range(1, len(sizes)) if sizes[i] >= LEAST_PIXELS]
    if not candidates:
        return None
    if len(candidates) >= count:
        picks = rng.permutation(len(candidates))[:count]
    else:
        picks = rng.integers(0, len(candidates), count)
    return torch.stack([candidates[p][0] == candidates[p][1] for p in picks])


def augment(
    rng: Generator, picture: Tensor, masks: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Turn, mirror, recolour, brighten, blur and add noise; masks and labels turn along."""
    turns = int(rng.integers(4))
    picture, masks = torch.rot90(picture, turns, (1, 2)), torch.rot90(masks, turns, (1, 2))
    labels = torch.rot90(labels, turns, (0, 1))
    if rng.random() < 0.5:
        picture, masks, labels = picture.flip(2), masks.flip(2), labels.flip(1)
    image = picture / 255
    if rng.random() < 0.25:
        image = image[torch.from_numpy(rng.permutation(3))]
    if rng.random() < 0.15:
        image = image.mean(0, keepdim=True).expand(3, -1, -1)
    if rng.random() < 0.3:  # stain: gain per channel
        image = image * torch.from_numpy(rng.uniform(0.75, 1.2, (3, 1, 1)).astype(np.float32))
    if rng.random() < 0.2:
        image = 1 - image
    if rng.random() < 0.4:
        image = image.clamp(0, 1.3).pow(float(np.exp(rng.uniform(-0.6, 0.6))))
    if rng.random() < 0.4:
        image = image * float(rng.uniform(0.6, 1.2)) + float(rng.uniform(-0.1, 0.2))
    if rng.random() < 0.15:
        image = F.avg_pool2d(image[None], 3, 1, 1)[0]
    if rng.random() < 0.25:
        shape = (1 if rng.random() < 0.5 else 3, *image.shape[1:])
        noise = rng.standard_normal(shape, dtype=np.float32) * log_uniform(rng, 0.01, 0.12)
        image = image + torch.from_numpy(noise)
    return (image * 255).contiguous(), masks.contiguous(), labels.contiguous()
