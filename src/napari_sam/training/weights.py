"""Weights that a run begins with: a registered model, a file of its kind, or nothing.

Knows the registry and files; nothing of images or losses.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_sam.core.architecture import MicroConfig
from napari_sam.core.modeling.micro import MicroSam
from napari_sam.core.modeling.sam import build_sam
from napari_sam.core.network import load_model, load_state
from napari_sam.core.registry import ModelSpec
from napari_sam.errors import TrainingError

SCORE_HEAD = "iou_head."
LEAST_SHARE = 0.2  # of the network's parameters, or the file is of something else


def new_model(spec: ModelSpec, *, seed: int) -> nn.Module:
    """An untrained network of a registered model's architecture."""
    torch.manual_seed(seed)
    if isinstance(spec.architecture, MicroConfig):
        return MicroSam(spec.architecture)
    return build_sam(spec.architecture)


def trained_model(spec: ModelSpec, weights: Path | None = None) -> nn.Module:
    """A registered model with its weights, or with those of a file, as memory of its own.

    Raises
    ------
    WeightsError
        They are not there, or of another architecture.
    """
    model = load_model(spec, weights=weights)
    # Parameters may be mapped from the file; training writes to them.
    model.load_state_dict({n: v.clone() for n, v in model.state_dict().items()}, assign=True)
    return model.requires_grad_(True)


def start_from(model: nn.Module, path: Path) -> tuple[str, ...]:
    """Load what of a weights file fits the network: all of it, or an encoder alone.

    Returns
    -------
    tuple of str
        Names of the network's parameters that the file does not have: they stay as they are.

    Raises
    ------
    WeightsError
        The file cannot be read.
    TrainingError
        It is of another network.
    """
    weights = load_state(path)
    missing = load_fitting(model, weights)
    own = model.state_dict()
    loaded = sum(own[n].numel() for n in own if n not in missing)
    if loaded < LEAST_SHARE * sum(v.numel() for v in own.values()):
        raise TrainingError(
            f"{path} is of another network: only {len(own) - len(missing)} of {len(own)} of its"
            " parameters have the same name and size."
        )
    return missing


def load_fitting(model: nn.Module, weights: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Load weights of the same name and size; names of those that stay as they are."""
    own = model.state_dict()
    fitting = {n: v for n, v in weights.items() if n in own and own[n].shape == v.shape}
    # Half a score head, of an older form, is worse than none.
    if any(SCORE_HEAD in n and n not in fitting for n in own):
        fitting = {n: v for n, v in fitting.items() if SCORE_HEAD not in n}
    model.load_state_dict(fitting, strict=False)
    return tuple(n for n in own if n not in fitting)
