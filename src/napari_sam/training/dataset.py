"""Training batches by number, from labelled images and from drawn scenes.

Every batch is a function of (seed, number of the batch) alone, so a resumed run sees what an
uninterrupted one would have seen. Knows numpy and torch tensors, nothing of models or losses.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from napari_sam.errors import TrainingError
from napari_sam.evaluation.datasets import Sample
from napari_sam.training.crop_shape import CropShape
from napari_sam.training.crops import (
    LEAST_PIXELS,
    augment,
    choose_objects,
    paste_objects,
    real_crop,
    synthetic_crop,
)
from napari_sam.training.images import TrainingImages
from napari_sam.training.params import TrainParams

ENDLESS = 1 << 30
TRIES = 500  # crops without any object in a row: then there is none to be found


class Batch(NamedTuple):
    """Crops and the objects chosen in them.

    Attributes
    ----------
    images
        (B, 3, S, S) float32, 0 to 255 (a little beyond after augmentation).
    masks
        (P, S, S) bool, the objects of image 0 first.
    labels
        (B, S / 4, S / 4) int64 label image at stride 4 for the auxiliary loss.
    owner
        (P,) int64: the image that each object lies on.
    """

    images: Tensor
    masks: Tensor
    labels: Tensor
    owner: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device; from pinned memory the copy overlaps with work there."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


class BatchMaker(Protocol):
    """Makes a batch from a random generator alone; picklable."""

    def make(self, rng: Generator) -> Batch:
        """One batch."""
        ...


class LabelledCrops:
    """Crops with objects, from labelled images and drawn scenes, of one of the kinds of a run."""

    def __init__(self, images: TrainingImages | None, params: TrainParams) -> None:
        self.images = images
        self.params = params

    def make(self, rng: Generator) -> Batch:
        """See :class:`BatchMaker`."""
        shape = choose_shape(rng, self.params)
        items = [self._crop(rng, shape) for _ in range(shape.images)]
        images, masks, labels = zip(*items, strict=True)
        counts = torch.tensor([len(each) for each in masks])
        owner = torch.arange(len(items)).repeat_interleave(counts)
        return Batch(torch.stack(images), torch.cat(masks), torch.stack(labels), owner)

    def _crop(self, rng: Generator, shape: CropShape) -> tuple[Tensor, Tensor, Tensor]:
        for _ in range(TRIES):
            picture, levels = self._cut(rng, shape.size)
            masks = choose_objects(rng, levels, shape.objects)
            if masks is not None:
                smaller = levels[0][2::4, 2::4]
                return augment(rng, picture, masks, smaller, variety=self.params.variety)
        raise TrainingError(
            f"{TRIES} crops of {shape.size} pixels in a row had no object of at least"
            f" {LEAST_PIXELS} pixels: are the labels right, and large enough?"
        )

    def _cut(self, rng: Generator, size: int) -> tuple[Tensor, list[Tensor]]:
        params, images = self.params, self.images
        if images is None or rng.random() < params.synthetic_share:
            return synthetic_crop(rng, size)
        sample = images.draw(rng)
        picture, levels = self._real(rng, sample, size)
        if rng.random() < params.copy_paste:
            others = images.by_modality[sample.modality]
            other = others[rng.integers(len(others))]
            pasted = self._real(rng, other, size)
            picture, levels = paste_objects(rng, picture, levels[0], *pasted)
        return picture, levels

    def _real(self, rng: Generator, sample: Sample, size: int) -> tuple[Tensor, list[Tensor]]:
        params = self.params
        zoom = params.zoom(max(sample.picture.shape[:2]))
        return real_crop(rng, sample, size, zoom, variety=params.variety)


def choose_shape(rng: Generator, params: TrainParams) -> CropShape:
    """A kind of crops by its share."""
    shares = np.array([c.share for c in params.crops])
    return params.crops[rng.choice(len(shares), p=shares / shares.sum())]


class BatchSource(Dataset[Batch]):
    """Batches by number."""

    def __init__(self, maker: BatchMaker, seed: int, start: int, stride: int = 1) -> None:
        self.maker = maker
        self.seed = seed
        self.start = start
        self.stride = stride

    def __len__(self) -> int:
        """Number of batches offered."""
        return ENDLESS

    def __getitem__(self, index: int) -> Batch:
        """Batch number ``start + index * stride``."""
        number = self.start + index * self.stride
        return self.maker.make(np.random.default_rng([self.seed, number]))


def batches(
    maker: BatchMaker,
    params: TrainParams,
    start: int,
    *,
    stride: int = 1,
    pinned: bool = False,
) -> Iterator[Batch]:
    """Endless batches from number ``start``, made ahead in worker processes if there are any.

    Several trainers share the batches by starting at their rank and striding over their number.
    ``pinned`` memory is what a GPU copies from while it computes.
    """
    yield from DataLoader(
        BatchSource(maker, params.seed, start, stride),
        batch_size=None,
        num_workers=params.workers,
        prefetch_factor=6 if params.workers else None,
        worker_init_fn=_one_thread,
        pin_memory=pinned,
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
