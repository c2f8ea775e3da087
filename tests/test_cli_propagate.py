"""``napari-sam propagate`` as a user meets it: files, words, exit codes."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_sam._cli import app
from napari_sam._cli_models import Engine
from napari_sam.volume.image import ImageRef
from napari_sam.volume.sources import forget_sources
from tests.volume.fakes import Greys, cells
from tests.volume.images import write_ome_zarr

FAST = ["--tile", "200", "--intensity", "as_is", "--mode", "points", "--least-overlap", "0.01",
        "--most-area-change", "50", "--least-contrast", "0", "--stiffness", "0",
        "--grey-weight", "0"]  # fmt: skip


@pytest.fixture(autouse=True)
def _fake_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Engine, "choice", lambda engine: Greys("tiny"))
    yield
    forget_sources()


def run(*arguments: object, code: int = 0) -> str:
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def stack(tmp_path: Path) -> tuple[Path, Path, np.ndarray]:
    """An image, seeds with the largest section of each object, and the truth."""
    image, truth = cells((9, 60, 90), count=6)
    seeds = np.zeros_like(truth, np.uint16)
    for one in np.unique(truth[truth > 0]):
        plane = np.count_nonzero(truth == one, axis=(1, 2)).argmax()
        seeds[plane][truth[plane] == one] = one
    tifffile.imwrite(tmp_path / "stack.tif", image, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "seeds.tif", seeds, metadata={"axes": "ZYX"})
    return tmp_path / "stack.tif", tmp_path / "seeds.tif", truth


def test_seeds_become_volumes_and_the_same_command_goes_on(stack, tmp_path: Path) -> None:
    image, seeds, truth = stack
    labels, scores = tmp_path / "labels.tif", tmp_path / "scores.csv"
    command = ("propagate", image, "--labels", seeds, "-o", labels, "--scores", scores, *FAST)
    text = run(*command)
    planes = np.count_nonzero(truth.any((1, 2)))
    assert f"{truth.max()} objects on {planes} planes in {labels}" in text
    found = tifffile.imread(labels)
    assert found.dtype == np.uint16 and (found == truth).all()
    with tifffile.TiffFile(labels) as file:
        assert file.series[0].axes == "ZYX"
        made = json.loads(file.pages[0].description)["napari-sam"]
    assert made["params"]["mode"] == "points" and made["seeds"] == "seeds.tif"
    rows = list(csv.DictReader(scores.read_text().splitlines()))
    assert sum(int(row["area"]) for row in rows) == np.count_nonzero(truth)
    assert {row["origin"] for row in rows} == {"key", "forward", "backward"}
    assert "--force" in run(*command, code=7)
    before = labels.read_bytes()
    run(*command, "--force")
    assert labels.read_bytes() == before
    assert not list((tmp_path / "stack.tif.napari-sam" / "propagated").glob("labels*"))


def test_labels_go_into_the_ome_zarr_image(stack, tmp_path: Path) -> None:
    source, seeds, truth = stack
    image = write_ome_zarr(tmp_path / "a.zarr", tifffile.imread(source), "zyx")
    command = ("propagate", image, "--labels", seeds, "-o", image, "--name", "cells", *FAST)
    assert "labels/cells" in run(*command)
    labels = ImageRef.open(image / "labels" / "cells")
    assert (np.stack([labels.read((0, z)) for z in range(9)]) == truth).all()
    run(*command)
    run(*command, "--first", "2", code=8)
    run(*command, "--first", "2", "--force")
    labels = ImageRef.open(image / "labels" / "cells")
    assert not labels.read((0, 1)).any() and labels.read((0, 4)).any()


@pytest.mark.parametrize("along", ["y", "x"])
def test_along_another_axis(stack, tmp_path: Path, along: str) -> None:
    image, _, truth = stack
    axis = "zyx".index(along)
    one = int(np.bincount(truth[truth > 0]).argmax())
    areas = np.count_nonzero(truth == one, axis=tuple({0, 1, 2} - {axis}))
    seeds = np.zeros_like(truth, np.uint16)
    where = [slice(None)] * 3
    where[axis] = int(areas.argmax())
    seeds[tuple(where)] = (truth[tuple(where)] == one) * 300
    np.save(tmp_path / "seeds.npy", seeds)
    run("propagate", image, "--labels", tmp_path / "seeds.npy", "-o", tmp_path / "out.npy",
        "--along", along, *FAST)  # fmt: skip
    found = np.load(tmp_path / "out.npy")
    assert set(np.unique(found)) == {0, 300}
    both = np.count_nonzero((found > 0) & (truth == one))
    assert both > 0.9 * np.count_nonzero(truth == one)


def test_through_time(stack, tmp_path: Path) -> None:
    image, seeds, truth = stack
    run("propagate", image, "--labels", seeds, "-o", tmp_path / "tracks.tif", "--axes", "tyx",
        "--along", "t", *FAST)  # fmt: skip
    with tifffile.TiffFile(tmp_path / "tracks.tif") as file:
        assert file.series[0].axes == "TYX"
        assert (file.asarray() == truth).all()


@pytest.mark.parametrize(
    ("seeds", "words", "code"),
    [
        (np.zeros((9, 60, 90), np.uint8), "are empty", 4),
        (np.ones((9, 60, 91), np.uint8), "do not fit the image", 3),
        (np.ones((60, 90), np.uint8), "axes", 3),
        (np.ones((9, 60, 90), np.float32), "whole numbers", 3),
    ],
)
def test_seeds_that_cannot_be_are_refused(stack, tmp_path: Path, seeds, words, code) -> None:
    np.save(tmp_path / "bad.npy", seeds)
    text = run("propagate", stack[0], "--labels", tmp_path / "bad.npy", "-o", tmp_path / "o.tif",
               *FAST, code=code)  # fmt: skip
    assert words in text
    assert not (tmp_path / "o.tif").exists()


def test_places_that_cannot_be_are_refused_before_any_work(stack, tmp_path: Path) -> None:
    image, seeds, _ = stack
    command = ("propagate", image, "--labels", seeds)
    assert ".tif" in run(*command, "-o", tmp_path / "out.png", code=2)
    assert "image itself" in run(*command, "-o", image, "--force", code=7)
    assert "seeds" in run(*command, "-o", seeds, "--force", code=7)
    run(*command, "-o", tmp_path / "no" / "out.tif", code=7)
    assert not (tmp_path / "stack.tif.napari-sam").exists()


def test_two_of_three_axes_decide(tmp_path: Path) -> None:
    image = np.zeros((12, 16, 40), np.uint8)
    image[1:11, 4:12, 4:12] = 90
    truth = (image > 0).astype(np.uint16) * 5
    seeds = np.zeros_like(truth)
    seeds[6] = truth[6]
    for name, array in (("cubes.tif", image), ("seeds.tif", seeds)):
        tifffile.imwrite(tmp_path / name, array, metadata={"axes": "ZYX"})
    command = ("propagate", tmp_path / "cubes.tif", "--labels", tmp_path / "seeds.tif", "-o",
               tmp_path / "found.tif", "--scores", tmp_path / "s.csv",
               "--consensus", *FAST)  # fmt: skip
    run(*command)
    assert (tifffile.imread(tmp_path / "found.tif") == truth).all()
    table = (tmp_path / "s.csv").read_text().splitlines()
    assert len(table) == 11 and table[1].endswith(",64")
    assert not list((tmp_path / "cubes.tif.napari-sam").rglob("labels-*.npy"))
    for words, more in (
        ("cubes", ("--spacing", "5,1,1")), ("--along y", ("--along", "y")),
        ("--embeddings", ("--embeddings",)),
    ):  # fmt: skip
        assert words in run(*command, "--force", *more, code=2 if words[0] == "-" else 4)
