"""Puts a model on the engine of its runtime. Knows which path is for what."""

from functools import partial

from torch import nn

from napari_sam.core.engines.compiled import Compile, CompiledEncoder
from napari_sam.core.fused_vit import fuse_image_encoder
from napari_sam.core.modeling.micro_encoder import MicroEncoder
from napari_sam.core.packed_decoder import pack_mask_decoder
from napari_sam.core.packed_micro import pack_micro
from napari_sam.core.packed_micro_encoder import pack_micro_encoder
from napari_sam.core.packed_tiny_vit import pack_tiny_vit
from napari_sam.core.packed_vit import PackedViT, pack_image_encoder
from napari_sam.core.registry import ModelSpec
from napari_sam.core.runtime import Runtime

__all__ = ["fit_image_encoder", "fit_model", "is_compiled"]


def fit_model(model: nn.Module, spec: ModelSpec, runtime: Runtime) -> nn.Module:
    """The model as its runtime runs it fastest; the plain one is not to be used afterwards.

    Prompts are decoded by PyTorch on every engine, packed where it is the CPU's.

    Raises
    ------
    ModelError, OutOfMemoryError
        See :func:`fit_image_encoder`.
    """
    fit_image_encoder(model, spec, runtime)
    if runtime.device.type != "cpu":
        return model
    pack_mask_decoder(model, dtype=runtime.dtype)
    return pack_micro(model)


def fit_image_encoder(model: nn.Module, spec: ModelSpec, runtime: Runtime) -> None:
    """Replace the plain encoder by what the runtime asks for, once for all threads.

    Parameters
    ----------
    model
        In eval mode, on the runtime's device. Its plain encoder is not to be used afterwards.
    spec
        Its sizes: a model with one canvas is compiled at once.
    runtime
        PyTorch on a CPU takes the packed encoder of each kind, on a GPU the fused one of a ViT;
        OpenVINO and ONNX Runtime take any.

    Raises
    ------
    ModelError
        The engine cannot take the model.
    OutOfMemoryError
        There is too little memory for it.
    """
    if runtime.engine != "torch":
        side = spec.image_size
        single = spec.least_size == side == spec.canvas_multiple
        model.image_encoder = CompiledEncoder(
            model.image_encoder,  # type: ignore[arg-type]
            _compiler(runtime),
            canvas=(side, side) if single else None,
        )
    elif runtime.device.type == "cpu":
        pack_image_encoder(model, dtype=runtime.dtype)
        pack_tiny_vit(model, dtype=runtime.dtype)
        if isinstance(model.image_encoder, MicroEncoder):
            pack_micro_encoder(model.image_encoder, dtype=runtime.dtype)
    else:
        fuse_image_encoder(model)


def is_compiled(model: nn.Module) -> bool:
    """Whether our compiled library computes the attention of a fitted model's encoder."""
    encoder = getattr(model, "image_encoder", None)
    return isinstance(encoder, PackedViT) and encoder.compiled


def _compiler(runtime: Runtime) -> Compile:
    """The engine's own module is imported here, so that only who asks for an extra needs it."""
    if runtime.engine == "openvino":
        from napari_sam.core.engines.openvino import compile_openvino

        return partial(compile_openvino, precision=runtime.precision)
    from napari_sam.core.engines.onnx import compile_onnx

    return compile_onnx
