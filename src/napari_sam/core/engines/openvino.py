"""OpenVINO runs an encoder. Import this only when it is asked for: it imports the extra."""

from typing import Any

import numpy as np
import openvino
import torch
from torch import Tensor, nn

from napari_sam.core.engines import Precision
from napari_sam.core.engines.compiled import Array, Run
from napari_sam.core.runtime import memory_errors
from napari_sam.errors import ModelError

__all__ = ["compile_openvino"]

_NUMBERS = {"exact": "f32", "fast": "bf16"}


def compile_openvino(encoder: nn.Module, example: Tensor, *, precision: Precision) -> Run:
    """Compile an encoder for pictures of one size.

    Parameters
    ----------
    encoder
        Plain module in eval mode that gives a tuple of tensors.
    example
        (1, 3, H, W) float32: the size.
    precision
        ``"fast"`` lets OpenVINO compute in bfloat16; with ``"exact"`` it must not.

    Raises
    ------
    ModelError
        OpenVINO cannot take the network, or not in this precision.
    OutOfMemoryError
        There is too little memory for it.
    """
    try:
        with memory_errors():
            model = openvino.convert_model(
                encoder, example_input=example, input=[tuple(example.shape)]
            )
            compiled = openvino.Core().compile_model(model, "CPU", _settings(precision))
    except MemoryError:
        raise
    except Exception as error:
        raise ModelError(
            f"OpenVINO {openvino.__version__} cannot take this model"
            f" ({str(error).splitlines()[0]}). Use the backend 'torch'."
        ) from error
    _check_precision(compiled, precision)
    request = compiled.create_infer_request()

    def run(picture_13HW: Array) -> list[Array]:
        request.infer([picture_13HW])
        # Copies: the memory of the outputs is the request's, and the next picture overwrites it.
        return [np.array(tensor.data, np.float32) for tensor in request.output_tensors]

    return run


def _settings(precision: Precision) -> dict[str, Any]:
    """One stream over torch's number of threads. Pinned ones would fight with a busy neighbour."""
    return {
        "INFERENCE_PRECISION_HINT": _NUMBERS[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "PERFORMANCE_HINT": "LATENCY",
    }


def _check_precision(compiled: Any, precision: Precision) -> None:
    """A hint may be ignored: then something else than was asked for would run."""
    got = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if got != _NUMBERS[precision]:
        raise ModelError(
            f"OpenVINO computes in {got} here, precision {precision!r} needs"
            f" {_NUMBERS[precision]}. Use another precision, or the backend 'torch'."
        )
