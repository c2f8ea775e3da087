"""Learning from images without labels: guess what is under the masked patches.

Masked autoencoding (He et al. 2022) in the form of SimMIM (Xie et al. 2022): masked patches become
the mean grey, so that encoders with convolutions and windows keep their grid, and a linear layer on
the image embedding guesses the pixels. The encoder's weights are what a run can start from.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_sam.errors import TrainingError
from napari_sam.training.canvas import log_uniform
from napari_sam.training.crops import augment, cut
from napari_sam.training.dataset import Batch, choose_shape
from napari_sam.training.objective import Notes
from napari_sam.training.params import TrainParams
from napari_sam.training.rounds import autocast
from napari_sam.training.synthetic import make_scene
from napari_sam.training.trainee import trainee_of

PATCH = 16  # pixels
LEAST_STD = 4.0  # of a patch, of 255 grey levels: an empty patch must not be guessed from its noise


class PixelHead(nn.Module):
    """Image embedding to pixels: a linear layer a cell, of what is left and right of it too.

    Parameters
    ----------
    chans, stride
        Channels and stride of the image embedding.
    """

    def __init__(self, chans: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.guess = nn.Conv2d(chans, 3 * stride**2, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to (B, 3, H, W)."""
        return F.pixel_shuffle(self.guess(features), self.stride)


class MaskedObjective:
    """Guess masked patches from the others; labels are not looked at.

    Parameters
    ----------
    model
        A network of the registry; its encoder learns.
    params
        Crops and numbers.
    masked
        Share of the patches that are hidden.
    """

    def __init__(self, model: nn.Module, params: TrainParams, *, masked: float = 0.75) -> None:
        if not 0 < masked < 1:
            raise TrainingError(f"masked is {masked}: it must lie between 0 and 1.")
        self.trainee = trainee_of(model)
        self.params = params
        self.masked = masked
        for name, parameter in model.named_parameters():
            # The skip is looked at by prompts alone.
            learns = name.startswith("image_encoder.") and ".skip." not in name
            parameter.requires_grad_(learns)
        with torch.no_grad():
            device = next(model.parameters()).device
            features = self.trainee.encode(torch.zeros(1, 3, 64, 64, device=device)).features
        self.head: nn.Module = PixelHead(features.shape[1], 64 // features.shape[-1])

    def crops(self, images: "list[NDArray[np.uint8]] | None") -> "PictureCrops":
        """See :class:`~napari_sam.training.objective.Objective`."""
        return PictureCrops(tuple(images or ()), self.params)

    def loss(
        self, batch: Batch, fraction: float, generator: torch.Generator
    ) -> tuple[Tensor, Notes]:
        """Mean squared error of the hidden patches, each normalised by its own mean and spread."""
        images = batch.images
        hidden = hide(images, self.masked, generator)
        mean = images.mean((0, 2, 3), keepdim=True)
        with autocast(self.params, images.device):
            encoded = self.trainee.encode(torch.where(hidden, mean, images))
            guess = self.head(encoded.features)
        error = (guess.float() - normalise_patches(images)).square()
        loss = (error * hidden).sum() / (3 * hidden.sum())
        return loss, {"loss": loss.item()}


def hide(images_B3HW: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Which pixels are hidden, whole patches, (B, 1, H, W) bool; as many in each image."""
    b, _, height, width = images_B3HW.shape
    rows, columns = height // PATCH, width // PATCH
    noise = torch.rand(b, rows * columns, generator=generator, device=generator.device)
    count = max(1, round(share * rows * columns))
    hidden = torch.zeros_like(noise, dtype=torch.bool)
    hidden.scatter_(1, noise.argsort(1)[:, :count], True)
    grid = hidden.view(b, 1, rows, columns)
    return grid.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)


def normalise_patches(images_B3HW: Tensor) -> Tensor:
    """Every patch with mean 0 and spread 1 over its pixels and colours; flat ones stay flat."""
    b, c, height, width = images_B3HW.shape
    patches = images_B3HW.reshape(b, c, height // PATCH, PATCH, width // PATCH, PATCH)
    mean = patches.mean((1, 3, 5), keepdim=True)
    spread = patches.var((1, 3, 5), keepdim=True).sqrt().clamp(min=LEAST_STD)
    return ((patches - mean) / spread).reshape(images_B3HW.shape)


@dataclass(frozen=True)
class PictureCrops:
    """Crops of pictures (H, W, 3), without labels; or of drawn scenes."""

    pictures: tuple[NDArray[np.uint8], ...]
    params: TrainParams

    def make(self, rng: Generator) -> Batch:
        """See :class:`~napari_sam.training.dataset.BatchMaker`."""
        shape = choose_shape(rng, self.params)
        images = torch.stack([self._crop(rng, shape.size) for _ in range(shape.images)])
        nothing = torch.zeros(0, dtype=torch.long)
        return Batch(images, nothing, nothing, nothing)

    def _crop(self, rng: Generator, size: int) -> Tensor:
        if not self.pictures or rng.random() < self.params.synthetic_share:
            picture = make_scene(rng, max(256, min(size, 512))).image
        else:
            picture = self.pictures[rng.integers(len(self.pictures))]
        zoom = self.params.zoom(max(picture.shape[:2]))
        side = int(np.clip(size / zoom / log_uniform(rng, 0.5, 2), 32, min(picture.shape[:2])))
        crop, _ = cut(rng, picture, (), side, size)
        nothing = torch.zeros(0, size, size)
        return augment(rng, crop, nothing, nothing[:, ::4, ::4].sum(0))[0]
