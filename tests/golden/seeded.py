"""Weights and pictures that are the same on every machine, made from a seed and a name.

Each tensor depends on the seed, its own name and its shape only, so an official network and ours
get the same weights as long as their state dicts agree, and no file needs to hold them. The
spread is like that of trained weights: default initialisation has zero relative positions and
zero position tables, and would hide errors there. ``RandomState`` is frozen by numpy's own
promise, so the golden files stay valid.
"""

import math
import zlib
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_EMBEDDINGS = ("_embed.weight", "point_embeddings", "_token.weight", "mask_tokens.weight")


def seeded_state(shapes: Mapping[str, Iterable[int]], seed: int) -> dict[str, Tensor]:
    """Make a state dict.

    Parameters
    ----------
    shapes
        Official key to shape.
    seed
        Any number; another one gives other weights.

    Returns
    -------
    dict
        Official key to float32 tensor (int64 for batch norm's counters).
    """
    return {key: seeded_tensor(key, tuple(shape), seed) for key, shape in shapes.items()}


def seeded_tensor(key: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Make the tensor of one official key."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    noise = standard_normal(key, shape, seed)
    if key.endswith("running_var"):
        return torch.from_numpy(np.exp(0.3 * noise))
    mean, std = _spread(key, shape)
    noise *= np.float32(std)
    noise += np.float32(mean)
    return torch.from_numpy(noise)


def standard_normal(key: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Draw float32 normal numbers that depend on the key, the shape and the seed only."""
    source = np.random.RandomState([seed, zlib.crc32(key.encode())])
    return np.asarray(source.standard_normal(shape), dtype=np.float32)


def seeded_picture(name: str, height: int, width: int, *, seed: int = 0) -> Tensor:
    """Make a (1, 3, height, width) float32 picture, 0 to 255: coarse blobs, fine noise.

    Only sums and products of random numbers, so that no library's interpolation matters.
    """
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    waves = standard_normal(f"{name}.waves", (3, 6, 4), seed).astype(np.float64)
    picture = 20.0 * standard_normal(f"{name}.noise", (3, height, width), seed).astype(np.float64)
    for channel, parts in enumerate(waves):
        for fy, fx, phase, size in parts:
            picture[channel] += 40 * size * np.sin(6 * (fy * y + fx * x) + 3 * phase)
    return torch.from_numpy(np.clip(picture + 120, 0, 255).astype(np.float32))[None]


def _spread(key: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Mean and standard deviation for a key: logits of attention come out with std about 1."""
    if key.endswith("positional_encoding_gaussian_matrix"):
        return 0.0, 1.0
    if key.endswith(("rel_pos_h", "rel_pos_w")):
        return 0.0, 0.5 / math.sqrt(shape[-1])
    if key.endswith("attention_biases"):
        return 0.0, 0.5
    if key.endswith("pos_embed"):
        return 0.0, 0.3
    if any(name in key for name in _EMBEDDINGS):
        return 0.0, 0.5
    if key.endswith((".bias", "running_mean")):
        return 0.0, 0.1
    if len(shape) == 1:
        return 1.0, 0.1
    if "output_upscaling" in key:  # transposed convolutions: (in, out, 2, 2), stride 2
        return 0.0, 1 / math.sqrt(shape[0])
    return 0.0, 1 / math.sqrt(math.prod(shape[1:]))
