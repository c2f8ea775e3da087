"""The official networks exported to ONNX, run by ONNX Runtime and by OpenVINO.

These are peers; napari-sam's own backends are another thing. The exported files are kept beside the
weights. Exported decoders are for one point, three masks and one image size.
"""

import gc
import importlib
import warnings
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.contenders import Answer, Contender, Official, Picture, Unavailable
from benchmarks.models import official_package, sam_config
from tests.parity.compare import scale_longest_side
from tests.parity.peers import available

OPSET = 17
Session = Callable[..., list[NDArray[np.float32]]]


class Exported(Contender):
    """An exported encoder, and a decoder when an image has been looked at."""

    abilities = frozenset({"encode", "click"})

    def __init__(self, package: str, model: str, folder: Path) -> None:
        if official_package(model) is None:
            raise Unavailable("has no such model")
        if not available(package):
            raise Unavailable(f"{package} is not installed")
        if not available("onnx"):
            raise Unavailable("onnx is not installed (needed to export)")
        self._model, self._folder = model, folder
        config = sam_config(model)
        self._mean = torch.tensor(config.pixel_mean).view(1, 3, 1, 1)
        self._std = torch.tensor(config.pixel_std).view(1, 3, 1, 1)
        self._side = config.image_size
        self._encoder = self._open(encoder_file(model, folder))

    @abstractmethod
    def _open(self, path: Path) -> Session:
        """Load an exported network."""

    def encode(self, picture: Picture) -> NDArray[np.float32]:
        """Embed."""
        scaled = scale_longest_side(picture, self._side)
        tensor = torch.from_numpy(scaled).permute(2, 0, 1)[None].float()
        self._scaled = (scaled.shape[0], scaled.shape[1])
        padding = (0, self._side - self._scaled[1], 0, self._side - self._scaled[0])
        self._features = self._encoder(F.pad((tensor - self._mean) / self._std, padding).numpy())[0]
        embedding: NDArray[np.float32] = self._features[0]
        return embedding

    def look_at(self, picture: Picture) -> None:
        """Embed, and load the decoder for this size."""
        self.encode(picture)
        self._original = (picture.shape[0], picture.shape[1])
        path = decoder_file(self._model, self._folder, self._scaled, self._original)
        self._decoder = self._open(path)

    def click(self, point: tuple[float, float]) -> Answer:
        """Decode and upscale, all in the exported network."""
        scale = [s / o for s, o in zip(self._scaled, self._original, strict=True)]
        place = np.array([[[point[1] * scale[1], point[0] * scale[0]]]], np.float32)
        full, low_res, scores = self._decoder(self._features, place)
        return Answer(full > 0, low_res, scores)


class OnnxRuntime(Exported):
    """``onnxruntime`` on the CPU."""

    def __init__(self, model: str, folder: Path) -> None:
        super().__init__("onnxruntime", model, folder)

    def _open(self, path: Path) -> Session:
        onnxruntime: Any = importlib.import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        inputs = [each.name for each in session.get_inputs()]
        return lambda *values: session.run(None, dict(zip(inputs, values, strict=True)))


class OpenVino(Exported):
    """``openvino`` on the CPU; ``precision`` is its inference precision hint, f32 or bf16."""

    def __init__(self, model: str, folder: Path, precision: str) -> None:
        self._precision = precision
        super().__init__("openvino", model, folder)

    def _open(self, path: Path) -> Session:
        core: Any = importlib.import_module("openvino").Core()
        supported = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if self._precision == "bf16" and "BF16" not in supported:
            raise Unavailable("this CPU has no bf16 arithmetic")
        compiled = core.compile_model(
            str(path),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": self._precision,
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
        request = compiled.create_infer_request()

        def run(*values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
            request.infer(dict(enumerate(values)))
            outputs = range(len(compiled.outputs))
            return [np.array(request.get_output_tensor(i).data, np.float32) for i in outputs]

        return run


def encoder_file(model: str, folder: Path) -> Path:
    """The image encoder as ONNX; exported when first asked for."""
    side = sam_config(model).image_size
    path = folder / f"{model}-encoder.onnx"
    if not path.is_file():
        official = Official(model, folder)
        _export(official.module.image_encoder, (torch.zeros(1, 3, side, side),), path)
    return path


def decoder_file(
    model: str, folder: Path, scaled: tuple[int, int], original: tuple[int, int]
) -> Path:
    """Prompt encoder, decoder and upscaling of one click as ONNX, for one image size."""
    path = folder / f"{model}-click-{original[0]}x{original[1]}.onnx"
    if not path.is_file():
        module = Official(model, folder).module
        channels = module.mask_decoder.transformer_dim
        features = torch.zeros(1, channels, *module.prompt_encoder.image_embedding_size)
        _export(_Click(module, scaled, original), (features, torch.ones(1, 1, 2)), path)
    return path


class _Click(nn.Module):
    """Embedding and a point (1, 1, 2) x, y of the canvas -> logits, low-res logits, scores."""

    def __init__(self, sam: Any, scaled: tuple[int, int], original: tuple[int, int]) -> None:
        super().__init__()
        self.sam = sam
        self.scaled, self.original = scaled, original

    def forward(self, features: Tensor, point: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        encoder = self.sam.prompt_encoder
        # As encoder(points=...), whose boolean assignments ONNX has no plain operator for.
        places = torch.cat([point + 0.5, torch.zeros(1, 1, 2)], dim=1)
        sparse = encoder.pe_layer.forward_with_coords(places, encoder.input_image_size)
        on_object = sparse[:, :1] + encoder.point_embeddings[1].weight
        sparse = torch.cat([on_object, encoder.not_a_point_embed.weight[None]], dim=1)
        dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        low_res, scores = self.sam.mask_decoder(
            image_embeddings=features,
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense.expand_as(features),
            multimask_output=True,
        )
        full = self.sam.postprocess_masks(low_res, self.scaled, self.original)
        return full, low_res, scores


@torch.no_grad()
def _export(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    part = path.with_suffix(".part")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing; the answers are compared anyway
            torch.onnx.export(module, inputs, str(part), opset_version=OPSET, dynamo=False)
    except RuntimeError as error:
        raise Unavailable(f"the export failed: {str(error).splitlines()[0]}") from error
    part.replace(path)
    gc.collect()
