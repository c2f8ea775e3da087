"""The command ``auto`` as a user meets it: results, words, exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner, Result

from napari_sam import _cli_models
from napari_sam._cli import app
from napari_sam._image_files import read_plane
from napari_sam._result_files import PROVENANCE_KEY
from napari_sam.core.registry import get_spec
from napari_sam.core.rle import decode_rle
from napari_sam.errors import OutOfMemoryError
from napari_sam.testing import FakePredictor
from tests.untrained import write_untrained_weights

FLAGS = [
    "--adaptive", "--backend", "--box-nms-thresh", "--channels", "--crop-n-layers",
    "--crop-n-points-downscale-factor", "--crop-nms-thresh", "--crop-overlap-ratio", "--device",
    "--drop-border", "--force", "--format", "--help", "--intensity", "--level", "--max-area",
    "--min-area", "--min-mask-region-area", "--model", "--output", "--overlap", "--overlay",
    "--plane", "--points-per-batch", "--points-per-side", "--precision", "--pred-iou-thresh",
    "--stability-score-offset", "--stability-score-thresh", "--verbose", "--weights",
]  # fmt: skip
# Of the three discs that the fake model gives for a point (scores 0.6, 0.9, 0.3), the middle one.
MIDDLE = ("--points-per-side", "4", "--pred-iou-thresh", "0.7")


class Predictor(FakePredictor):
    """As the command loads it: it has an entry in the registry."""

    spec = get_spec("tiny")


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch) -> Predictor:
    made = Predictor(radius=5)
    monkeypatch.setattr(_cli_models, "load", lambda *_: made)
    return made


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 4000, (64, 80), dtype=np.uint16))
    return path


def auto(image: Path, *arguments: str | Path) -> Result:
    output = () if "-o" in arguments else ("-o", image.with_name("labels.tif"))
    command = ["auto", image, *output, *MIDDLE, *arguments]
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    return CliRunner().invoke(app, [str(one) for one in command], env=environment)


def areas(path: Path) -> list[int]:
    return np.bincount(read_plane(path).ravel())[1:].tolist()


def test_the_flags_are_those_that_scripts_rely_on() -> None:
    from typer.main import get_command

    command = get_command(app).commands["auto"]  # type: ignore[attr-defined]
    context = command.make_context("auto", ["x", "-o", "y"], resilient_parsing=True)
    flags = {flag for one in command.get_params(context) for flag in one.opts if flag[:2] == "--"}
    assert sorted(flags) == FLAGS


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy", ".zarr"])
def test_a_grid_of_discs_becomes_labels(image: Path, predictor: Predictor, suffix: str) -> None:
    output = image.with_name(f"labels{suffix}")
    result = auto(image, "-o", output)
    assert result.exit_code == 0, result.stderr
    assert "16 objects with tiny" in result.stdout
    assert f"labels in {output}" in result.stdout
    assert len(areas(output)) == 16
    assert all(70 < area < 90 for area in areas(output))


def test_several_files_hold_the_same_objects(image: Path, predictor: Predictor) -> None:
    names = ("a.tif", "a.json", "a.coco.json", "a.geojson")
    paths = [image.with_name(name) for name in names]
    files = [argument for path in paths for argument in ("-o", path)]
    result = auto(image, *files, "--overlay", image.with_name("look.png"))
    assert result.exit_code == 0, result.stderr
    labels, records, coco, polygons = (
        read_plane(paths[0]),
        *(json.loads(path.read_text()) for path in paths[1:]),
    )
    assert len(records["records"]) == len(coco["annotations"]) == len(polygons["features"]) == 16
    first = decode_rle(records["records"][0]["rle"])
    assert (first == (labels == 1)).all()
    assert read_plane(image.with_name("look.png")).shape == (64, 80, 3)
    made = records["provenance"]
    assert made["model"] == "tiny"
    assert made["params"]["pred_iou_thresh"] == 0.7
    assert made["params"]["points_per_side"] == 4
    assert len(made["weights_sha256"]) == 64
    with tifffile.TiffFile(paths[0]) as tiff:
        assert tiff.shaped_metadata[0][PROVENANCE_KEY] == made


def test_a_format_can_be_said(image: Path, predictor: Predictor) -> None:
    output = image.with_name("cells.json")
    assert auto(image, "-o", output, "--format", "coco").exit_code == 0
    assert "annotations" in json.loads(output.read_text())


def test_sizes_border_and_overlap(image: Path, predictor: Predictor) -> None:
    output = image.with_name("labels.tif")
    predictor.radius = 9  # discs of neighbouring points overlap, the outer ones touch the border
    assert auto(image, "--box-nms-thresh", "1", "--drop-border").exit_code == 0
    assert len(areas(output)) == 2 * 3
    left_out = auto(image, "--box-nms-thresh", "1", "--min-area", "250", "--force")
    assert "left out by size or border" in left_out.stdout
    assert auto(image, "--max-area", "10", "--force").exit_code == 0
    assert areas(output) == []
    arguments = ("--overlap", "layers", "--box-nms-thresh", "1", "--force")
    assert auto(image, *arguments).exit_code == 0
    layers = tifffile.imread(output)
    assert layers.ndim == 3
    assert sorted(set(layers.ravel()) - {0}) == list(range(1, 17))


def test_the_generators_settings_arrive(image: Path, predictor: Predictor) -> None:
    arguments = (
        "--crop-n-layers",
        "1",
        "--crop-n-points-downscale-factor",
        "2",
        "--level",
        "whole",
    )
    assert auto(image, *arguments, "--points-per-batch", "8").exit_code == 0
    assert len(predictor.images) == 5
    assert max(len(prompts.points) for prompts in predictor.prompts) == 8
    assert sum(len(prompts.points) for prompts in predictor.prompts) == 16 + 4 * 4


def test_a_plane_of_a_stack(tmp_path: Path, predictor: Predictor) -> None:
    path = tmp_path / "movie.tif"
    stack = np.random.default_rng(0).integers(0, 4000, (2, 3, 40, 50), dtype=np.uint16)
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "TZYX"})
    asked = auto(path)
    assert (asked.exit_code, "--plane t,z" in asked.stderr) == (3, True)
    given = auto(path, "--plane", "1,2", "--intensity", "0,4000")
    assert given.exit_code == 0, given.stderr
    assert np.allclose(predictor.images[0][..., 0], stack[1, 2] / 4000 * 255, atol=1)


def test_nothing_found_says_what_to_do(image: Path, predictor: Predictor) -> None:
    result = auto(image, "--pred-iou-thresh", "0.95")
    assert result.exit_code == 0
    assert "0 objects" in result.stdout
    assert "lower --pred-iou-thresh" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("-o", "labels.jpg"), 2, "must end in"),
        (("-o", "x.geojson", "--format", "labels"), 2, "must end in .tif"),
        (("-o", "x.png", "--overlap", "layers"), 2, "must end in"),
        (("-o", "a.tif", "-o", "a.tif"), 2, "same file"),
        (("-o", "a.tif", "-o", "b.tif", "-o", "c.tif", *("--format", "labels") * 2), 2, "--format"),
        (("--overlay", "look.jpg"), 2, "must end in"),
        (("--points-per-side", "0"), 2, "points-per-side"),
        (("--level", "half"), 2, "level"),
        (("--plane", "0"), 3, "single plane"),
        (("--channels", "3"), 3, "0 to 0"),
        (("--model", "vitb"), 5, "Did you mean 'vit_b'"),
        (("-o", "nowhere/labels.tif"), 7, "no folder nowhere"),
    ],
)
def test_faults_have_their_codes_and_one_sentence(
    image: Path, predictor: Predictor, arguments: tuple[str, ...], code: int, words: str
) -> None:
    result = auto(image, *arguments)
    assert result.exit_code == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in image.parent.iterdir()) == ["cells.tif"]


def test_results_are_replaced_only_when_asked(image: Path, predictor: Predictor) -> None:
    assert auto(image).exit_code == 0
    refused = auto(image)
    assert (refused.exit_code, "--force" in refused.stderr) == (7, True)
    assert auto(image, "--force").exit_code == 0
    assert "the image itself" in auto(image, "--force", "-o", image).stderr


@pytest.mark.parametrize("force", [False, True])
def test_an_overlay_that_cannot_be_written_leaves_nothing_half_written(
    image: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    before = np.ones((64, 80), np.uint16)
    if force:
        tifffile.imwrite(image.with_name("labels.tif"), before)

    def full(part: Path) -> None:
        part.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("napari_sam._result_files.picture_writer", lambda _: full)
    options = ("--force",) if force else ()
    result = auto(image, "--overlay", image.with_name("look.png"), *options)
    assert (result.exit_code, "No space left" in result.stderr) == (7, True)
    names = {"cells.tif", "labels.tif"} if force else {"cells.tif"}
    assert {path.name for path in image.parent.iterdir()} == names
    if force:
        assert (tifffile.imread(image.with_name("labels.tif")) == before).all()


def test_out_of_memory_has_its_code_and_leaves_nothing(image: Path, predictor: Predictor) -> None:
    predictor.decode_error = OutOfMemoryError("there was not enough memory.")
    result = auto(image, "-o", image.with_name("a.json"))
    assert result.exit_code == 6
    assert result.stderr.splitlines()[-1] == "napari-sam: there was not enough memory."
    assert not image.with_name("a.json").exists()


def test_the_real_model_and_weights_of_ones_own(image: Path, tmp_path: Path) -> None:
    weights = write_untrained_weights(tmp_path / "mine.safetensors")
    output = tmp_path / "cells.json"
    result = auto(image, "-o", output, "--weights", weights, "--device", "cpu",
                  "--points-per-side", "2", "--pred-iou-thresh", "0",
                  "--stability-score-thresh", "0")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    content = json.loads(output.read_text())
    assert content["provenance"]["weights"] == "mine.safetensors"
    assert content["records"]


def test_help_fits_a_terminal() -> None:
    environment = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    text = CliRunner().invoke(app, ["auto", "--help"], env=environment).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "napari-sam auto cells.tif" in text
