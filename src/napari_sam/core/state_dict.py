"""Weights files of every kind -> official names -> a module. Knows formats, no network, no cache.

Read are: the official ``.pth``; micro-sam's and torch_em's checkpoints; folders of Hugging Face;
our own ``.safetensors``. Pickles are only read by torch's ``weights_only`` reader, which cannot run
code that a file brings along.
"""

import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_sam.core.architecture import MicroConfig, SamConfig
from napari_sam.core.hf_keys import is_hugging_face, to_official
from napari_sam.core.modeling.common import uninitialised
from napari_sam.core.modeling.micro import MicroSam
from napari_sam.core.modeling.sam import build_sam
from napari_sam.core.registry import MODELS, ModelSpec
from napari_sam.errors import WeightsError

__all__ = ["StateFile", "build_empty", "load_into", "read_state_file"]

# Under which of these a checkpoint keeps the state dict: torch_em, Lightning, MedSAM's training.
_WRAPPERS = ("model_state", "state_dict", "model")
# What training wrappers put before every name: DistributedDataParallel, torch_em's TrainableSAM.
_PREFIXES = ("module.", "sam.")
_HF_FILES = ("model.safetensors", "pytorch_model.bin")
_HF_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class StateFile:
    """What a weights file holds.

    Attributes
    ----------
    tensors
        Official names to tensors; floats are float32, on the CPU, perhaps mapped from the file.
    extras
        Other parts of the file, such as ``decoder_state`` (micro-sam's automatic segmentation).
    """

    tensors: dict[str, Tensor]
    extras: tuple[str, ...] = ()


def read_state_file(path: Path) -> StateFile:
    """Read a file, or a folder as Hugging Face writes it.

    Raises
    ------
    WeightsError
        The path does not exist, is damaged, holds no weights, or holds objects that could run code.
    """
    extras: tuple[str, ...] = ()
    if path.is_dir():
        raw = _read_hf_folder(path)
    elif path.is_file():
        raw, extras = _unwrap(_read_file(path), path)
    else:
        raise WeightsError(f"There is no weights file {path}.")
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in raw):
            raw = {key.removeprefix(prefix): tensor for key, tensor in raw.items()}
    if is_hugging_face(raw):
        raw = to_official(raw)
    return StateFile({key: _as_float32(tensor) for key, tensor in raw.items()}, extras)


def build_empty(architecture: SamConfig | MicroConfig) -> nn.Module:
    """Build the network with unset parameters: a state dict has to follow at once."""
    if isinstance(architecture, SamConfig):
        return build_sam(architecture, init_weights=False)
    with uninitialised():
        return MicroSam(architecture)


def load_into(
    model: nn.Module, tensors: Mapping[str, Tensor], *, spec: ModelSpec, path: Path
) -> None:
    """Make the tensors the parameters of the model, each of them, without copying.

    Raises
    ------
    WeightsError
        A tensor is missing, left over (other than ``spec.ignored_keys``) or of another shape. The
        message names the first ones and the known model that the file would fit.
    """
    kept = {key: tensor for key, tensor in tensors.items() if key not in spec.ignored_keys}
    faults = _differences(model, kept)
    if faults:
        raise WeightsError(
            f"{path} does not fit the model {spec.name!r}: {'; '.join(faults)}.{_guess(tensors)}"
        )
    model.load_state_dict(kept, strict=True, assign=True)


def _read_file(path: Path) -> Any:
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path} is not a readable safetensors file: {error}") from error
    try:
        # Only the zip format (all since torch 1.6) can be mapped; older pickles are read whole.
        mapped = zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise WeightsError(_explain_pickle(path, error)) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError) as error:
        raise WeightsError(f"{path} is not a readable weights file: {error}") from error


def _explain_pickle(path: Path, error: Exception) -> str:
    if not zipfile.is_zipfile(path):
        return (
            f"{path} is not a weights file, or an old pickle with more than tensors in it"
            f" ({str(error).splitlines()[0]})."
        )
    found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    objects = f" ({', '.join(sorted(found)[:3])})" if found else ""
    return (
        f"{path} holds Python objects besides tensors{objects}. Opening them could run code from"
        " the file, so napari-sam refuses (weights_only). Save the state dict alone, for a"
        " checkpoint of micro-sam with micro_sam.util.export_custom_sam_model."
    )


def _unwrap(content: Any, path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Find the state dict in a checkpoint; the names of its other entries are the extras."""
    extras: tuple[str, ...] = ()
    if isinstance(content, Mapping):
        for wrapper in _WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                extras = tuple(str(key) for key in content if key != wrapper)
                content = content[wrapper]
                break
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path} holds {type(content).__name__}, no named tensors.")
    other = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if other:
        raise WeightsError(f"{path} is no plain state dict: {other[0]!r} is not a tensor.")
    return {str(key): tensor for key, tensor in content.items()}, extras


def _read_hf_folder(folder: Path) -> dict[str, Tensor]:
    config = folder / "config.json"
    kind = _read_json(config).get("model_type") if config.is_file() else "sam"
    if kind != "sam":
        raise WeightsError(f"{config} is of a model of type {kind!r}; napari-sam reads 'sam'.")
    names = [name for name in _HF_FILES if (folder / name).is_file()][:1]
    for index in _HF_INDEXES:
        if not names and (folder / index).is_file():
            names = sorted(set(_read_json(folder / index).get("weight_map", {}).values()))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing or not names:
        wanted = ", ".join(missing) or " or ".join(_HF_FILES)
        raise WeightsError(f"The folder {folder} lacks {wanted}.")
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= _unwrap(_read_file(folder / name), folder / name)[0]
    return tensors


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} is not readable JSON: {error}") from error
    return content if isinstance(content, dict) else {}


def _as_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _differences(model: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """What of missing, left-over and differently shaped tensors there is, in words."""
    wanted = model.state_dict()
    missing = [f"{key} {_shape(wanted[key])}" for key in wanted if key not in tensors]
    unexpected = [f"{key} {_shape(tensors[key])}" for key in tensors if key not in wanted]
    resized = [
        f"{key} is {_shape(tensors[key])} in the file, {_shape(wanted[key])} in the model"
        for key in wanted
        if key in tensors and tensors[key].shape != wanted[key].shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": resized}
    return [
        f"{len(names)} {kind} (first: {', '.join(names[:2])})"
        for kind, names in kinds.items()
        if names
    ]


def _shape(tensor: Tensor) -> str:
    return "(" + ", ".join(str(n) for n in tensor.shape) + ")"


def _guess(tensors: Mapping[str, Tensor]) -> str:
    """Name the known model with exactly these tensors, if there is one."""
    tried: list[SamConfig | MicroConfig] = []
    for spec in MODELS.values():
        if spec.architecture in tried:
            continue
        tried.append(spec.architecture)
        kept = {key: value for key, value in tensors.items() if key not in spec.ignored_keys}
        if not _differences(build_empty(spec.architecture), kept):
            return f" This file looks like {spec.name!r}: load it under that name."
    return " It fits no model that napari-sam knows."
