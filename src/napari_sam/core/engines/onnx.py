"""ONNX Runtime runs an encoder. Import this only when it is asked for: it imports the extra."""

import io

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from napari_sam.core.engines.compiled import Array, Run
from napari_sam.core.runtime import memory_errors
from napari_sam.errors import ModelError

__all__ = ["compile_onnx"]

_OPSET = 17


def compile_onnx(encoder: nn.Module, example: Tensor) -> Run:
    """Make a float32 session for pictures of one size.

    Parameters
    ----------
    encoder
        Plain module in eval mode that gives a tuple of tensors.
    example
        (1, 3, H, W) float32: the size.

    Raises
    ------
    ModelError
        The network cannot be exported, or ONNX Runtime cannot take it. A file of ONNX holds
        2 GiB at most: ViT-H is larger.
    OutOfMemoryError
        There is too little memory for it.
    """
    try:
        with memory_errors():
            session = onnxruntime.InferenceSession(
                _export(encoder, example), _options(), providers=["CPUExecutionProvider"]
            )
    except MemoryError:
        raise
    except Exception as error:
        raise ModelError(
            f"ONNX Runtime {onnxruntime.__version__} cannot take this model"
            f" ({str(error).splitlines()[0]}). Use the backend 'torch'."
        ) from error

    settings = onnxruntime.RunOptions()
    # Else the memory of the largest intermediate results stays taken until the model goes.
    settings.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def run(picture_13HW: Array) -> list[Array]:
        answers = session.run(None, {"picture": picture_13HW}, settings)
        return [np.asarray(answer, np.float32) for answer in answers]

    return run


def _export(encoder: nn.Module, example: Tensor) -> bytes:
    """By tracing, into an open file: the newer exporter needs onnxscript and can do neither."""
    file = io.BytesIO()
    torch.onnx.export(
        encoder,
        (example,),
        file,  # type: ignore[arg-type]
        dynamo=False,
        input_names=["picture"],
        opset_version=_OPSET,
    )
    return file.getvalue()


def _options() -> onnxruntime.SessionOptions:
    """Torch's number of threads; they sleep while they wait."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options
