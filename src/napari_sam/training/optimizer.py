"""AdamW as the recipes want it: what decays, how fast each layer learns, how the rate moves.

Knows parameters by name; nothing of images or losses.
"""

import math
import re
from typing import Any

from torch import nn

from napari_sam.training.params import TrainParams

FLOOR = 0.02  # of the learning rate, at the end of the cosine
BLOCK = re.compile(r"image_encoder\.(?:blocks|layers)\.(\d+)\.(?:blocks\.(\d+)\.)?")
STEMS = ("patch_embed", "pos_embed", "stage")


def parameter_groups(model: nn.Module, params: TrainParams) -> list[dict[str, Any]]:
    """Parameters that learn, in groups of one weight decay and one ``scale`` of the learning rate.

    Matrices decay, vectors (biases, norms, scales) do not. With ``layer_decay`` the blocks of the
    encoder learn the slower the earlier they are, the stem slowest (Clark et al. 2020; Li et al.
    2022, ViTDet); neck, prompt encoder and decoder learn at full rate.
    """
    depths = layer_depths(model)
    most = max(depths.values(), default=0)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            scale = params.layer_decay ** (most - depths[name])
            decay = params.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((decay, scale), []).append(parameter)
    return [
        {"params": group, "weight_decay": decay, "scale": scale}
        for (decay, scale), group in groups.items()
    ]


def layer_depths(model: nn.Module) -> dict[str, int]:
    """Depth of each parameter by name: 0 the encoder's stem, then its blocks, then all the rest."""
    names = [name for name, _ in model.named_parameters()]
    blocks = sorted({key for name in names if (key := _block(name)) is not None})
    number = {key: index + 1 for index, key in enumerate(blocks)}
    depths = {}
    for name in names:
        key, inner = _block(name), name.partition("image_encoder.")[2]
        if key is not None:
            depths[name] = number[key]
        else:
            depths[name] = 0 if inner.startswith(STEMS) else len(blocks) + 1
    return depths


def _block(name: str) -> tuple[int, int] | None:
    found = BLOCK.search(name)
    return None if found is None else (int(found[1]), int(found[2] or 0))


def learning_rate(params: TrainParams, step: int, fraction: float) -> float:
    """Linear warm-up over the first steps, then a cosine over the run down to 2 %.

    ``fraction`` is the share of the run that is done.
    """
    warm = min(1.0, (step + 1) / max(params.warmup_steps, 1))
    cosine = 0.5 * (1 + math.cos(math.pi * fraction))
    return params.learning_rate * warm * (FLOOR + (1 - FLOOR) * cosine)
