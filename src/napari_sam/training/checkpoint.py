"""A training run on disk: weights, averages, optimiser and position, written atomically."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_sam.training.params import ScoreParams, TrainParams


def save_checkpoint(path: Path, state: dict[str, Any], params: TrainParams | ScoreParams) -> None:
    """Write beside the target, flush, then rename: a kill leaves the old file whole.

    What the run was trained with is kept as ``params``, what its scores were fitted with as
    ``score_params``; one does not replace the other.
    """
    name = "params" if isinstance(params, TrainParams) else "score_params"
    save_state(path, state | {name: asdict(params)})


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values, whole or not at all."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state last saved, or None where the run has not begun."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return state


def export_weights(state: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """Write the averaged weights as fp16 safetensors; returns what was written."""
    return save_weights(state["ema"], path, step=state["step"])


def save_weights(
    weights: Mapping[str, Tensor], path: Path, *, half: bool = True, step: int = 0
) -> dict[str, Tensor]:
    """Write weights as safetensors, of half precision or as they are; returns what was written."""
    from safetensors.torch import save_file

    written = {
        name: (value.half() if half and value.is_floating_point() else value).cpu().contiguous()
        for name, value in weights.items()
    }
    partial = path.with_suffix(".partial")
    save_file(written, partial, metadata={"format": "pt", "step": str(step)})
    partial.chmod(0o644)  # safetensors writes for the owner alone; these are for everybody
    os.replace(partial, path)
    return written
