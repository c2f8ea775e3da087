"""Training batches by number, from labelled images and from drawn scenes.

Every batch is a function of (seed, number of the batch) alone, so a resumed run sees what an
uninterrupted one would have seen. Knows numpy and torch tensors, nothing of models or losses.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from napari_sam.errors import TrainingError
from napari_sam.training.crops import (
    LEAST_PIXELS,
    augment,
    choose_objects,
    paste_objects,
    real_crop,
    synthetic_crop,
)
from napari_sam.training.images import TrainingImages
from napari_sam.training.params import CropShape, TrainParams

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
    index
        (P,) int64: the image that each object lies on.
    """

    images: Tensor
    masks: Tensor
    labels: Tensor
    index: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device; from pinned memory the copy overlaps with work there."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


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
        counts = torch.tensor([len(each) for each in masks])
        index = torch.arange(len(items)).repeat_interleave(counts)
        return Batch(torch.stack(images), torch.cat(masks), torch.stack(labels), index)

    def _crop(self, rng: Generator, shape: CropShape) -> tuple[Tensor, Tensor, Tensor]:
        for _ in range(TRIES):
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
        raise TrainingError(
            f"{TRIES} crops of {shape.size} pixels in a row had no object of at least"
            f" {LEAST_PIXELS} pixels: are the labels right, and large enough?"
        )


def batches(
    images: TrainingImages | None,
    params: TrainParams,
    start: int,
    *,
    stride: int = 1,
    workers: int = 1,
    pinned: bool = False,
) -> Iterator[Batch]:
    """Endless batches from number ``start``, made ahead in ``workers`` processes (0: in this one).

    Several trainers share the batches by starting at their rank and striding over their number.
    ``pinned`` memory is what a GPU copies from while it computes.
    """
    source = BatchSource(images, params, start, stride)
    yield from DataLoader(
        source,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=6 if workers else None,
        worker_init_fn=_one_thread,
        pin_memory=pinned,
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
