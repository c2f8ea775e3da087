"""The network of a :class:`ModelSpec` with its weights in it; they are downloaded if need be.

Knows neither the internet (see ``weights``) nor key names (see ``state_dict``). Imports torch only
to load.
"""

import logging
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.core.registry import ModelSpec
from napari_sam.core.weights import download, find
from napari_sam.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["load_model", "load_state"]

logger = logging.getLogger(__name__)


def load_state(path: str | Path) -> "dict[str, Tensor]":
    """Read a weights file or a Hugging Face folder: official names to float32 tensors on the CPU.

    Raises
    ------
    WeightsError
        The file is missing, damaged, or not purely tensors.
    """
    from napari_sam.core.state_dict import read_state_file

    content = read_state_file(Path(path).expanduser())
    if content.extras:
        logger.info("%s also holds %s: not used.", path, ", ".join(content.extras))
    return content.tensors


def load_model(
    spec: ModelSpec, *, weights: str | Path | None = None, cache: str | Path | None = None
) -> "nn.Module":
    """Build the network and load its weights, strictly.

    Parameters
    ----------
    spec
        Which model.
    weights
        A file or Hugging Face folder to use instead of the published weights.
    cache
        See :func:`~napari_sam.core.weights.cache_folder`.

    Returns
    -------
    nn.Module
        In eval mode, float32, on the CPU. Its parameters may be mapped from the file: do not
        overwrite that file in place while the model lives (replacing it is fine).

    Raises
    ------
    WeightsError
        As :func:`~napari_sam.core.weights.download` (which is called if the weights are not there
        yet) and :func:`load_state`; or the file is of another architecture: the message says of
        which.
    """
    from napari_sam.core.state_dict import build_empty, load_into

    if weights is None:
        path = find(spec, cache=cache) or _run(download(spec, cache=cache))
    else:
        path = Path(weights).expanduser()
    tensors = load_state(path)
    model = build_empty(spec.architecture)
    load_into(model, tensors, spec=spec, path=path)
    return model.eval()


def _run(job: Generator[Progress, None, Path]) -> Path:
    """Run a job to its end, with its messages in the log."""
    said = ""
    while True:
        try:
            message = next(job).message
        except StopIteration as end:
            result: Path = end.value
            return result
        if message != said:
            logger.info("%s", message)
            said = message
