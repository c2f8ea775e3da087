"""A training run on disk: weights, averages, optimiser and position, written atomically."""

import os
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
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(state | {name: asdict(params)}, file)
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
    from safetensors.torch import save_file

    weights = {name: value.half().contiguous() for name, value in state["ema"].items()}
    partial = path.with_suffix(".partial")
    save_file(weights, partial, metadata={"format": "pt", "step": str(state["step"])})
    partial.chmod(0o644)  # safetensors writes for the owner alone; these are for everybody
    os.replace(partial, path)
    return weights
