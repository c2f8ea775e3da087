"""Result files: what is written can be read, appears whole, and replaces only what it may."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from PIL import Image

from napari_sam import _result_files
from napari_sam._image_files import read_plane
from napari_sam._result_files import (
    LABEL_SUFFIXES,
    PROVENANCE_KEY,
    check_output,
    draw_overlay,
    write_labels,
    write_picture,
)
from napari_sam.errors import ImageError

LABELS = np.zeros((20, 30), np.uint32)
LABELS[3:9, 4:10] = 1
LABELS[12:, 20:] = 2
MADE = {"model": "tiny", "objects": 2}


@pytest.mark.parametrize("suffix", LABEL_SUFFIXES)
def test_labels_come_back_and_can_be_replaced(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"labels{suffix}"
    write_labels(path, LABELS * 0, provenance=MADE)
    write_labels(path, LABELS, provenance=MADE)
    read = read_plane(path)
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, LABELS)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    check_output(path, force=True)


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".zarr"])
def test_more_objects_than_16_bits_are_kept(tmp_path: Path, suffix: str) -> None:
    many = LABELS + np.uint32(70_000)
    write_labels(tmp_path / f"a{suffix}", many, provenance=MADE)
    np.testing.assert_array_equal(read_plane(tmp_path / f"a{suffix}"), many)
    with pytest.raises(ImageError, match="65535"):
        write_labels(tmp_path / "a.png", many, provenance=MADE)


def test_provenance_travels_with_the_labels(tmp_path: Path) -> None:
    for suffix in (".tif", ".png", ".zarr"):
        write_labels(tmp_path / f"a{suffix}", LABELS, provenance=MADE)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.shaped_metadata is not None
        assert tiff.shaped_metadata[0][PROVENANCE_KEY] == MADE
    with Image.open(tmp_path / "a.png") as png:
        assert json.loads(png.info[PROVENANCE_KEY]) == MADE
    assert zarr.open_group(tmp_path / "a.zarr", mode="r").attrs[PROVENANCE_KEY] == MADE


def test_zarr_labels_are_valid_ome_zarr(tmp_path: Path) -> None:
    write_labels(tmp_path / "a.zarr", LABELS, provenance=MADE)
    yaozarrs.validate_zarr_store(str(tmp_path / "a.zarr"))
    attributes = zarr.open_group(tmp_path / "a.zarr", mode="r").attrs["ome"]
    assert attributes["version"] == "0.5"  # type: ignore[index,call-overload]
    assert "image-label" in attributes  # type: ignore[operator]


@pytest.mark.parametrize("suffix", LABEL_SUFFIXES)
def test_an_interrupted_write_leaves_the_old_result(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"labels{suffix}"
    write_labels(path, LABELS, provenance=MADE)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_result_files.os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_labels(path, LABELS * 0, provenance=MADE)
    np.testing.assert_array_equal(read_plane(path), LABELS)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_place_that_is_taken_is_refused(tmp_path: Path) -> None:
    image, taken = tmp_path / "image.png", tmp_path / "labels.tif"
    image.touch()
    taken.touch()
    (tmp_path / "data.zarr").mkdir()
    with pytest.raises(FileExistsError, match="--force"):
        check_output(taken, force=False)
    check_output(taken, force=True)
    with pytest.raises(FileExistsError, match="the image itself"):
        check_output(image, force=True, source=tmp_path / "." / "image.png")
    with pytest.raises(FileExistsError, match="did not write"):
        check_output(tmp_path / "data.zarr", force=True)
    with pytest.raises(FileNotFoundError, match="no folder"):
        check_output(tmp_path / "nowhere" / "a.tif", force=False)


def test_overlay_colours_objects_only(tmp_path: Path) -> None:
    picture = np.full((20, 30, 3), 100, np.uint8)
    drawn = draw_overlay(picture, LABELS)
    assert drawn.shape == picture.shape
    assert drawn.dtype == np.uint8
    assert (drawn[LABELS == 0] == 100).all()
    assert (drawn[LABELS > 0] != 100).any(-1).all()
    assert drawn[5, 6].tolist() != drawn[16, 25].tolist()
    np.testing.assert_array_equal(draw_overlay(picture, LABELS * 0), picture)
    write_picture(tmp_path / "a.png", drawn)
    np.testing.assert_array_equal(read_plane(tmp_path / "a.png"), drawn)
