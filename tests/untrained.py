"""The bundled model's network before training: for tests of everything but quality."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from napari_sam.core.modeling.micro import MicroSam
from napari_sam.core.registry import get_spec


def untrained_model() -> MicroSam:
    """The same network each time, with a spread that keeps its outputs away from zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MicroSam(get_spec("tiny").architecture)  # type: ignore[arg-type]
        for parameter in model.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
    return model.eval()


def write_untrained_weights(path: Path) -> Path:
    """A weights file of :func:`untrained_model`."""
    save_file({key: value.half() for key, value in untrained_model().state_dict().items()}, path)
    return path
