"""Weights files of every kind end up in the network, or in an error that says what is wrong."""

import hashlib
import json
import logging
import re
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from napari_sam.core.architecture import SamConfig, ViTConfig
from napari_sam.core.modeling.micro import MicroSam
from napari_sam.core.modeling.sam import Sam, build_sam
from napari_sam.core.network import load_model, load_state
from napari_sam.core.registry import ModelSpec, get_spec
from napari_sam.core.state_dict import build_empty, load_into, read_state_file
from napari_sam.errors import WeightsError
from tests.core.http_server import FileServer

SMALL = SamConfig(
    encoder=ViTConfig(
        patch_size=4, embed_dim=16, depth=2, num_heads=2, window_size=3, global_attn_indexes=(1,)
    ),
    image_size=32,
    out_chans=16,
    mask_in_chans=8,
    decoder_depth=1,
    decoder_num_heads=2,
    decoder_mlp_dim=24,
    iou_head_depth=3,
    iou_head_hidden_dim=12,
)
POS_EMBED = "image_encoder.pos_embed"
MLP_LAYER = re.compile(r"(?:mlps\.\d|iou_prediction_head)\.(layers\.\d\.)")


@pytest.fixture
def spec() -> ModelSpec:
    return replace(get_spec("vit_b"), name="small", architecture=SMALL)


@pytest.fixture
def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        key: torch.randn(value.shape, generator=generator)
        for key, value in build_sam(SMALL).state_dict().items()
    }


def assert_holds(model: torch.nn.Module, state: dict[str, Tensor]) -> None:
    loaded = model.state_dict()
    assert loaded.keys() == state.keys()
    for key, tensor in state.items():
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], tensor), key


# What can be read


def test_official_file(spec: ModelSpec, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(OrderedDict(state), tmp_path / "sam.pth")
    model = load_model(spec, weights=str(tmp_path / "sam.pth"))
    assert_holds(model, state)
    assert isinstance(model, Sam) and not model.training
    assert model.pixel_mean.flatten()[0] == pytest.approx(123.675)  # not in the file


def test_loaded_model_computes(spec: ModelSpec, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "sam.pth")
    model = load_model(spec, weights=tmp_path / "sam.pth")
    assert isinstance(model, Sam)
    reference = build_sam(SMALL).eval()
    reference.load_state_dict(state)
    picture = torch.rand(1, 3, 32, 30) * 255
    with torch.inference_mode():
        got = model.encode_image(picture, canvas=(32, 32))
        wanted = reference.encode_image(picture, canvas=(32, 32))
    assert torch.equal(got.features, wanted.features)


def test_missing_weights_are_downloaded_first(
    spec: ModelSpec, state: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "published.pth")
    content = (tmp_path / "published.pth").read_bytes()
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    with FileServer(content) as server:
        spec = replace(spec, url=server.url, hash=digest)
        for _ in range(2):
            assert_holds(load_model(spec, cache=tmp_path / "cache"), state)
    assert server.ranges == [None]


def test_file_of_old_torch(spec: ModelSpec, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_holds(load_model(spec, weights=tmp_path / "old.pth"), state)


def test_torch_em_checkpoint_with_decoder(
    spec: ModelSpec, state: dict[str, Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = {
        "model_state": {f"sam.{key}": tensor for key, tensor in state.items()},
        "decoder_state": {"out_conv.weight": torch.zeros(3)},
        "epoch": 7,
    }
    torch.save(checkpoint, tmp_path / "best.pt")
    assert read_state_file(tmp_path / "best.pt").extras == ("decoder_state", "epoch")
    with caplog.at_level(logging.INFO):
        assert_holds(load_model(spec, weights=tmp_path / "best.pt"), state)
    assert "decoder_state" in caplog.text


@pytest.mark.parametrize("wrapper", ["model", "state_dict"])
def test_training_checkpoint_of_others(
    wrapper: str, spec: ModelSpec, state: dict[str, Tensor], tmp_path: Path
) -> None:
    parallel = {f"module.{key}": tensor for key, tensor in state.items()}
    torch.save({wrapper: parallel, "epoch": 1}, tmp_path / "latest.pth")
    assert_holds(load_model(spec, weights=tmp_path / "latest.pth"), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_safetensors_of_any_precision_become_float32(
    dtype: torch.dtype, spec: ModelSpec, state: dict[str, Tensor], tmp_path: Path
) -> None:
    stored = {key: tensor.to(dtype) for key, tensor in state.items()}
    save_file(stored, tmp_path / "small.safetensors")
    model = load_model(spec, weights=tmp_path / "small.safetensors")
    assert_holds(model, {key: tensor.float() for key, tensor in stored.items()})


def test_own_architecture_is_built_and_loaded(tmp_path: Path) -> None:
    spec = get_spec("tiny")
    model = build_empty(spec.architecture)
    state = {key: torch.zeros_like(value) for key, value in model.state_dict().items()}
    save_file(state, tmp_path / "mine.safetensors")
    loaded = load_model(spec, weights=tmp_path / "mine.safetensors")
    assert isinstance(loaded, MicroSam) and not loaded.training
    assert_holds(loaded, state)


# Hugging Face


def as_hugging_face(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename what tells whose names they are; names that both share stay."""
    theirs = {POS_EMBED: "vision_encoder.pos_embed"}
    layers = {"layers.0.": "proj_in.", "layers.1.": "layers.0.", "layers.2.": "proj_out."}
    for key in state:
        if layer := MLP_LAYER.search(key):
            theirs[key] = key.replace(layer[1], layers[layer[1]])
    return {theirs.get(key, key): tensor for key, tensor in state.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam"}))
    return tmp_path


def test_hugging_face_folder(spec: ModelSpec, state: dict[str, Tensor], folder: Path) -> None:
    save_file(as_hugging_face(state), folder / "model.safetensors")
    assert_holds(load_model(spec, weights=folder), state)


def test_hugging_face_folder_with_a_pickle(
    spec: ModelSpec, state: dict[str, Tensor], folder: Path
) -> None:
    torch.save(as_hugging_face(state), folder / "pytorch_model.bin")
    assert_holds(load_model(spec, weights=folder), state)


def test_hugging_face_file_alone(spec: ModelSpec, state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(as_hugging_face(state), tmp_path / "copy.safetensors")
    assert_holds(load_model(spec, weights=tmp_path / "copy.safetensors"), state)


def test_hugging_face_folder_in_parts(
    spec: ModelSpec, state: dict[str, Tensor], folder: Path
) -> None:
    theirs = as_hugging_face(state)
    weight_map = {key: f"model-{i % 2}.safetensors" for i, key in enumerate(theirs)}
    for part in set(weight_map.values()):
        save_file({k: t for k, t in theirs.items() if weight_map[k] == part}, folder / part)
    index = json.dumps({"weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(index)
    assert_holds(load_model(spec, weights=folder), state)

    (folder / "model-1.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"lacks model-1\.safetensors"):
        load_model(spec, weights=folder)


def test_folder_of_another_kind_of_model(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "sam2"}))
    with pytest.raises(WeightsError, match="of type 'sam2'"):
        load_state(folder)


def test_folder_without_weights_or_with_broken_config(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"lacks model\.safetensors"):
        load_state(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(WeightsError, match="not readable JSON"):
        load_state(folder)


# What cannot be read


class Unsafe:
    """Not a tensor."""


def test_pickle_with_other_objects_is_refused_and_explained(tmp_path: Path) -> None:
    torch.save({"model_state": {}, "trainer": Unsafe()}, tmp_path / "unsafe.pt")
    with pytest.raises(WeightsError, match=r"test_state_dict\.Unsafe.*weights_only"):
        load_state(tmp_path / "unsafe.pt")


@pytest.mark.parametrize("name", ["page.pth", "page.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>Please log in</html>"], ids=["empty", "html"])
def test_file_that_is_no_weights_file(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        load_state(tmp_path / name)


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
def test_truncated_file(name: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / name
    (save_file if path.suffix == ".safetensors" else torch.save)(state, path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(WeightsError, match=name):
        load_state(path)


@pytest.mark.parametrize("content", [[1], {}, {"epoch": 3}, {"model": {"lr": 0.1}}], ids=str)
def test_file_without_named_tensors(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"odd\.pth"):
        load_state(tmp_path / "odd.pth")


def test_missing_file_is_named(spec: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights file .*nowhere\.pth"):
        load_model(spec, weights=tmp_path / "nowhere.pth")


# What does not fit


def test_differences_are_named_with_shapes(
    spec: ModelSpec, state: dict[str, Tensor], tmp_path: Path
) -> None:
    del state["mask_decoder.iou_token.weight"]
    state["new.bias"] = torch.zeros(3)
    state[POS_EMBED] = torch.zeros(1, 4, 4, 16)
    torch.save(state, tmp_path / "sam.pth")
    with pytest.raises(WeightsError) as caught:
        load_model(spec, weights=tmp_path / "sam.pth")
    message = str(caught.value)
    assert "1 missing (first: mask_decoder.iou_token.weight (1, 16))" in message
    assert "1 unexpected (first: new.bias (3))" in message
    assert f"{POS_EMBED} is (1, 4, 4, 16) in the file, (1, 8, 8, 16) in the model" in message
    assert "fits no model" in message


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "mobile_sam", "tiny"])
def test_file_of_another_model_is_recognised(name: str, spec: ModelSpec) -> None:
    other = get_spec(name)
    tensors = build_empty(other.architecture).state_dict()
    tensors |= {key: torch.zeros(1) for key in other.ignored_keys}
    with pytest.raises(WeightsError, match=f"looks like '{name}'"):
        load_into(build_empty(SMALL), tensors, spec=spec, path=Path("file.pth"))


def test_unused_head_of_mobile_sam_is_dropped_and_nothing_else() -> None:
    spec = get_spec("mobile_sam")
    model = build_empty(spec.architecture)
    tensors = dict(model.state_dict())
    assert len(spec.ignored_keys) == 4 and not spec.ignored_keys & tensors.keys()
    tensors |= {key: torch.zeros(1) for key in spec.ignored_keys}
    load_into(model, tensors, spec=spec, path=Path("mobile_sam.pt"))
    tensors["image_encoder.head2.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"1 unexpected \(first: image_encoder\.head2"):
        load_into(model, tensors, spec=spec, path=Path("mobile_sam.pt"))


def test_same_head_is_not_dropped_for_other_models(
    spec: ModelSpec, state: dict[str, Tensor]
) -> None:
    state["image_encoder.head.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError, match="unexpected"):
        load_into(build_empty(SMALL), state, spec=spec, path=Path("sam.pth"))
