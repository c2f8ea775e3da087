"""What a run learns: the loss of a batch, and how batches are made of images.

:class:`PromptObjective` is the one that models are for; ``mae.py`` has another.
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from napari_sam.core.modeling.micro import MicroSam
from napari_sam.training.dataset import Batch, BatchMaker, LabelledCrops
from napari_sam.training.images import TrainingImages
from napari_sam.training.losses import AuxiliaryHead, auxiliary_loss
from napari_sam.training.params import TrainParams
from napari_sam.training.rounds import autocast, interactive_loss
from napari_sam.training.trainee import trainee_of

Notes = dict[str, float]


class Objective(Protocol):
    """What the loop asks for.

    Attributes
    ----------
    head
        What learns beside the model and is not part of it; may be empty.
    """

    head: nn.Module

    def crops(self, images: Any) -> BatchMaker:
        """What makes batches of the images."""
        ...

    def loss(
        self, batch: Batch, fraction: float, generator: torch.Generator
    ) -> tuple[Tensor, Notes]:
        """Loss of a batch on the model's device, and numbers for the log, ``loss`` among them.

        ``fraction`` is the share of the run that is done; all that is random comes from the
        generator.
        """
        ...


class PromptObjective:
    """To answer prompts, and, in our own architecture, to see edges and centres from the start.

    Parameters
    ----------
    model
        A network of the registry, on its device.
    params
        Losses, prompts and rounds.
    """

    def __init__(self, model: nn.Module, params: TrainParams) -> None:
        self.trainee = trainee_of(model)
        self.params = params
        self.head: nn.Module = nn.Identity()
        if isinstance(model, MicroSam) and params.auxiliary_weight:
            self.head = AuxiliaryHead(model.config.out_chans, model.config.skip_chans)

    def crops(self, images: TrainingImages | None) -> BatchMaker:
        """See :class:`Objective`."""
        return LabelledCrops(images, self.params)

    def loss(
        self, batch: Batch, fraction: float, generator: torch.Generator
    ) -> tuple[Tensor, Notes]:
        """See :class:`Objective`."""
        device = batch.images.device
        with autocast(self.params, device):
            encoded = self.trainee.encode(batch.images)
        loss, notes = interactive_loss(
            self.trainee, batch, encoded, self.params, fraction, generator
        )
        notes["loss"] = loss.item()
        if isinstance(self.head, AuxiliaryHead):
            assert encoded.skip is not None
            with autocast(self.params, device):
                dense = self.head(encoded.features, encoded.skip)
            auxiliary = auxiliary_loss(dense, batch.labels)
            fade = self.params.auxiliary_weight * min(1.0, 3 * (1 - fraction))
            loss = loss + fade * auxiliary
            notes["auxiliary"] = auxiliary.item()
        return loss, notes
