"""The command line as a user meets it: results, words, exit codes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner, Result

from napari_sam import _cli_models
from napari_sam._cli import app
from napari_sam._image_files import read_plane
from napari_sam._result_files import PROVENANCE_KEY
from napari_sam.core import engines
from napari_sam.core import predictor as predictor_module
from napari_sam.core.registry import MODELS, get_spec
from napari_sam.errors import ModelError, OutOfMemoryError
from tests.core.http_server import FileServer
from tests.untrained import write_untrained_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 4000, (60, 90), dtype=np.uint16))
    return path


def run(*arguments: str | Path, wide: bool = True) -> Result:
    environment = {"COLUMNS": "200" if wide else "80", "NO_COLOR": "1", "TERM": "dumb"}
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)


def segment(image: Path, weights: Path, *arguments: str | Path) -> Result:
    output = () if "-o" in arguments else ("-o", image.with_name("labels.tif"))
    return run("segment", image, "--device", "cpu", "--weights", weights, *output, *arguments)


# segment


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy", ".zarr"])
def test_points_make_a_label_image(image: Path, weights: Path, suffix: str) -> None:
    output = image.with_name(f"labels{suffix}")
    result = segment(image, weights, "-p", "20,30", "--negative", "50,80", "-o", output)
    assert result.exit_code == 0, result.stderr
    assert "1 object in" in result.stdout
    labels = read_plane(output)
    assert labels.shape == (60, 90)
    assert set(np.unique(labels)) <= {0, 1}


def test_boxes_and_each_make_an_object_each(image: Path, weights: Path) -> None:
    boxes = segment(image, weights, "-b", "5,5,30,40", "-b", "30,40,55,85", "-p", "20,20")
    assert "2 objects" in boxes.stdout, boxes.stderr
    points = segment(image, weights, "--each", "-p", "5,5", "-p", "9,9", "-p", "50,50", "--force")
    assert "3 objects" in points.stdout, points.stderr


def test_provenance_and_overlay(image: Path, weights: Path) -> None:
    overlay = image.with_name("look.png")
    arguments = ("-p", "20,30", "--intensity", "0,4000", "--overlay", overlay)
    assert segment(image, weights, *arguments).exit_code == 0
    assert read_plane(overlay).shape == (60, 90, 3)
    with tifffile.TiffFile(image.with_name("labels.tif")) as tiff:
        assert tiff.shaped_metadata is not None
        made = tiff.shaped_metadata[0][PROVENANCE_KEY]
    assert made["model"] == "tiny"
    assert made["image"] == "cells.tif"
    assert made["intensity"] == "0,4000"
    assert made["objects"] == [{"positive": [[20, 30]], "negative": [], "box": None}]
    assert json.dumps(made)


def test_a_plane_and_channels_of_a_stack(tmp_path: Path, weights: Path) -> None:
    path = tmp_path / "movie.tif"
    stack = np.random.default_rng(0).integers(0, 4000, (2, 3, 2, 40, 50), dtype=np.uint16)
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "TZCYX"})
    asked = segment(path, weights, "-p", "5,6")
    assert asked.exit_code == 3
    assert "--plane t,z" in asked.stderr
    given = segment(path, weights, "-p", "5,6", "--plane", "1,2", "--channels", "1")
    assert given.exit_code == 0, given.stderr


def test_results_are_replaced_only_when_asked(image: Path, weights: Path) -> None:
    output = image.with_name("labels.tif")
    assert segment(image, weights, "-p", "20,30").exit_code == 0
    first = output.read_bytes()
    refused = segment(image, weights, "-p", "50,60")
    assert (refused.exit_code, output.read_bytes()) == (7, first)
    assert "--force" in refused.stderr
    assert segment(image, weights, "-p", "50,60", "--force").exit_code == 0
    onto_itself = segment(image, weights, "-p", "50,60", "--force", "-o", image)
    assert onto_itself.exit_code == 7
    assert "the image itself" in onto_itself.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "--point Y,X or --box"),
        (("-p", "20"), 2, "'20' is not y,x"),
        (("-p", "a,b"), 2, "'a,b' is not y,x"),
        (("-b", "1,2,3"), 2, "is not y0,x0,y1,x1"),
        (("-b", "1,2,30,40", "--each"), 2, "--each is for points"),
        (("-p", "5,5", "-o", "labels.jpg"), 2, "must end in"),
        (("-p", "5,5", "--overlay", "look.jpg"), 2, "must end in"),
        (("-p", "5,5", "--intensity", "bright"), 2, "is not low,high"),
        (("-p", "5,5", "--precision", "quick"), 2, "precision"),
        (("-p", "5,5", "--precision", "smallest"), 5, "no faster than 'fast'"),
        (("-p", "5,5", "--backend", "tensorrt"), 2, "backend"),
        (("-p", "5,5", "--backend", "onnxruntime", "--precision", "fast"), 5, "no bfloat16"),
        (("-p", "5,5", "--plane", "x"), 2, "is not"),
        (("-p", "5,5", "--plane", "0"), 3, "single plane"),
        (("-p", "5,5", "--channels", "3"), 3, "0 to 0"),
        (("-p", "5,5", "--intensity", "9,1"), 3, "low < high"),
        (("-n", "5,5"), 2, "--point Y,X or --box"),
        (("-p", "60,5"), 4, "outside the image of 60 x 90 pixels"),
        (("-b", "30,5,10,50"), 4, "y0 <= y1"),
        (("-b", "1,2,30,40", "-p", "50,50"), 4, "none of the boxes"),
        (("-p", "nan,5"), 4, "not finite"),
        (("-p", "5,5", "--model", "vitb"), 5, "Did you mean 'vit_b'"),
        (("-p", "5,5", "--device", "warp"), 5, "cannot be used here"),
        (("-p", "5,5", "-o", "nowhere/labels.tif"), 7, "no folder nowhere"),
    ],
)
def test_faults_have_their_codes_and_one_sentence(
    image: Path, weights: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    result = segment(image, weights, *arguments)
    assert result.exit_code == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not image.with_name("labels.tif").exists()


def test_missing_and_damaged_files_have_their_codes(
    image: Path, weights: Path, tmp_path: Path
) -> None:
    assert segment(tmp_path / "nowhere.tif", weights, "-p", "5,5").exit_code == 3
    image.with_name("bad.png").write_bytes(b"no image")
    assert segment(image.with_name("bad.png"), weights, "-p", "5,5").exit_code == 3
    weights_error = segment(image, tmp_path / "nowhere.pth", "-p", "5,5")
    assert weights_error.exit_code == 5
    other = segment(image, weights, "-p", "5,5", "--model", "vit_b")
    assert other.exit_code == 5
    assert "looks like 'tiny'" in other.stderr


def test_a_backend_that_is_not_installed_has_its_code_and_pip_line(
    image: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    result = segment(image, weights, "-p", "5,5", "--backend", "openvino")
    assert result.exit_code == 8
    assert result.stderr.splitlines()[-1].endswith("Run: pip install openvino")


def test_what_runs_is_printed_and_written(image: Path, weights: Path) -> None:
    result = segment(image, weights, "-p", "5,5", "--backend", "torch", "--precision", "exact")
    assert "cpu, exact (float32), PyTorch" in result.stdout
    with tifffile.TiffFile(image.with_name("labels.tif")) as tiff:
        assert tiff.shaped_metadata is not None
        made = tiff.shaped_metadata[0][PROVENANCE_KEY]
    assert made["runtime"] == "cpu, exact (float32), PyTorch"


def test_out_of_memory_has_its_code(
    image: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OutOfMemoryError("there was not enough memory.")

    monkeypatch.setattr(predictor_module.Predictor, "encode", fail)
    result = segment(image, weights, "-p", "5,5")
    assert result.exit_code == 6
    assert result.stderr.splitlines()[-1] == "napari-sam: there was not enough memory."


def test_verbose_shows_where(image: Path, weights: Path) -> None:
    result = segment(image, weights, "-p", "600,5", "--verbose")
    assert result.exit_code == 4
    assert "Traceback" in result.stderr


# models


def test_models_are_listed() -> None:
    result = run("models", "list")
    assert result.exit_code == 0
    for name, spec in MODELS.items():
        row = next(line for line in result.stdout.splitlines() if line.startswith(f"{name} "))
        assert spec.licence in row


def test_a_model_is_downloaded_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path))
    with FileServer(b"weights" * 1000) as server:
        spec = replace(get_spec("vit_b"), url=server.url, size_bytes=7000, hash=None)
        monkeypatch.setattr(_cli_models, "get_spec", lambda name: spec)
        missing = run("models", "verify", "vit_b")
        assert missing.exit_code == 5
        assert str(tmp_path / spec.file_name) in missing.stderr
        done = run("models", "download", "vit_b")
        assert done.exit_code == 0, done.stderr
    assert (tmp_path / spec.file_name).read_bytes() == b"weights" * 1000
    assert run("models", "verify", "vit_b").exit_code == 0
    (tmp_path / spec.file_name).write_bytes(b"other")
    damaged = run("models", "verify", "vit_b")
    assert damaged.exit_code == 5
    assert "expected sha256:" in damaged.stderr


def test_unknown_models_are_refused_before_any_download() -> None:
    result = run("models", "download", "vit_z")
    assert result.exit_code == 5
    assert "There is no model 'vit_z'" in result.stderr


def test_a_missing_model_is_downloaded_on_the_way(
    image: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path / "cache"))
    with FileServer(weights.read_bytes()) as server:
        spec = replace(
            get_spec("tiny"), name="far", url=server.url, file_name="far.safetensors", hash=None
        )
        with_far = MappingProxyType({**MODELS, "far": spec})
        monkeypatch.setattr("napari_sam.core.registry.MODELS", with_far)
        result = run("segment", image, "-m", "far", "--device", "cpu", "-p", "9,9",
                     "-o", tmp_path / "a.png")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "cache" / "far.safetensors").is_file()


# evaluate is tested with its own modules: here, that it is there and that errors have their code


def test_evaluate_is_mounted(tmp_path: Path, weights: Path) -> None:
    assert run("evaluate", "--help").exit_code == 0
    result = run("evaluate", tmp_path, "--weights", weights, "--device", "cpu")
    assert result.exit_code == 3
    assert "has no labelled images" in result.stderr


def test_evaluate_runs_on_the_engine_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(*choice: object) -> None:
        asked.append(choice)
        raise ModelError("seen.")

    monkeypatch.setattr("napari_sam._cli_models.load", load)
    for name in ("a", "a_label"):
        np.save(tmp_path / f"{name}.npy", np.ones((30, 30), np.uint8))
    assert run("evaluate", tmp_path).exit_code == 5
    run("evaluate", tmp_path, "--model", "vit_b", "--device", "cpu", "--precision", "fast",
        "--backend", "torch")  # fmt: skip
    assert asked == [
        ("tiny", None, "auto", "exact", "auto"),
        ("vit_b", None, "cpu", "fast", "torch"),
    ]


# the whole


def test_help_has_examples_for_a_newcomer() -> None:
    root = run("--help").stdout
    assert "napari-sam demo" in root
    assert "Exit codes" in root
    help_text = run("segment", "--help").stdout
    for option in ("--point", "--negative", "--box", "--each", "--plane", "--overlay",
                   "--precision", "--backend"):  # fmt: skip
        assert option in help_text
    assert "napari-sam segment cells.tif --point 120,85" in help_text
    for command in ("segment", "models", "demo", "evaluate"):
        assert command in root


def test_help_fits_a_terminal() -> None:
    for command in ("segment", "models", "demo"):
        assert max(map(len, run(command, "--help", wide=False).stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    "start", [["-m", "napari_sam"], [str(Path(sys.executable).parent / "napari-sam")]]
)
def test_it_starts_from_a_shell(start: list[str]) -> None:
    command = [sys.executable, *start] if start[0] == "-m" else start
    environment = os.environ | {"NO_COLOR": "1"}
    version = subprocess.run(
        [*command, "--version"], capture_output=True, text=True, check=True, env=environment
    )
    assert version.stdout.startswith("napari-sam ")
