"""Models made on this machine: named, found, replaced, forgotten."""

import hashlib
import json
from pathlib import Path

import pytest

from napari_sam.core.registered import (
    all_models,
    forget,
    models_folder,
    provenance,
    register,
    registered,
)
from napari_sam.core.registry import MODELS, get_spec
from napari_sam.core.weights import find, verify
from napari_sam.errors import ModelError, UnknownModelError, WeightsError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAPARI_SAM_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "any.safetensors"
    path.write_bytes(b"weights")
    return path


def test_a_registered_model_is_like_its_base_with_its_own_file(weights: Path, folder: Path):
    assert models_folder() == folder
    spec = register("mine", weights, like="tiny", made={"images": ["a", "b"]})
    assert get_spec("mine") == spec
    assert list(all_models()) == [*MODELS, "mine"]
    assert spec.architecture == get_spec("tiny").architecture
    assert spec.least_size == get_spec("tiny").least_size
    assert spec.hash == f"sha256:{hashlib.sha256(b'weights').hexdigest()}"
    path = find(spec)
    assert path is not None and path.read_bytes() == b"weights" and path.parent == folder
    verify(spec, path)
    assert not spec.bundled
    assert provenance("mine") == {"images": ["a", "b"]}


def test_a_model_made_from_one_made_here_has_the_published_architecture(weights: Path):
    register("first", weights, like="tiny")
    assert register("second", weights, like="first").like == "tiny"


def test_replacing_needs_a_yes_and_leaves_one_file(weights: Path, folder: Path):
    register("mine", weights, like="tiny")
    weights.write_bytes(b"better")
    with pytest.raises(ModelError, match="already"):
        register("mine", weights, like="tiny")
    spec = register("mine", weights, like="tiny", replace_old=True)
    assert [p.read_bytes() for p in folder.glob("*.safetensors")] == [b"better"]
    assert find(spec) is not None


def test_forgetting_removes_the_files(weights: Path, folder: Path):
    register("mine", weights, like="tiny")
    forget("mine")
    assert registered() == {} and list(folder.iterdir()) == []
    with pytest.raises(UnknownModelError, match="Registered: none"):
        forget("mine")


@pytest.mark.parametrize("name", ["tiny", "", "a/b", "../a", "-a", "a" * 65])
def test_names_that_cannot_be(name: str, weights: Path):
    with pytest.raises(ModelError, match="name"):
        register(name, weights, like="tiny")


def test_what_is_not_there_is_said(tmp_path: Path, weights: Path):
    with pytest.raises(WeightsError, match="no file"):
        register("mine", tmp_path / "none", like="tiny")
    with pytest.raises(UnknownModelError):
        register("mine", weights, like="nothing")


@pytest.mark.parametrize("content", ["", "[]", '{"like": "gone"}'])
def test_a_damaged_entry_does_not_hide_the_others(content: str, weights: Path, folder: Path):
    register("mine", weights, like="tiny")
    (folder / "bad.json").write_text(content)
    assert list(registered()) == ["mine"]


def test_weights_that_changed_are_refused(weights: Path):
    spec = register("mine", weights, like="tiny")
    Path(spec.file_name).write_bytes(b"other")
    with pytest.raises(WeightsError, match="expected sha256"):
        verify(spec, Path(spec.file_name))


def test_an_entry_is_plain_json(weights: Path, folder: Path):
    register("mine", weights, like="tiny", title="Mine")
    entry = json.loads((folder / "mine.json").read_text())
    assert entry["title"] == "Mine" and entry["like"] == "tiny"
