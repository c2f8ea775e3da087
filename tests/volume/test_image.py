import json
import pickle
from pathlib import Path

import dask.array
import numpy as np
import pytest
import tifffile
import zarr

from napari_sam.core.intensity import to_picture
from napari_sam.errors import ImageError
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.sample import fingerprint, sample_blocks
from napari_sam.volume.sources import forget_sources
from tests.volume.images import write_ome_zarr


@pytest.fixture(autouse=True)
def _closed_files():
    yield
    forget_sources()


def stack(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize("axes", ["yx", "xy", "zyx", "yxz", "tzyx", "tczyx", "cyx", "yxc", "xzcyt"])
def test_axes_in_any_subset_and_order(axes: str) -> None:
    lengths = {"t": 2, "c": 3, "z": 4, "y": 5, "x": 6}
    data = stack(*(lengths[a] for a in axes))
    image = ImageRef.open(data, axes=axes)
    plane = (image.times - 1, image.depth - 1)
    part = image.read(plane, (slice(1, 4), slice(2, 6)))
    whole = np.moveaxis(data, [axes.index(a) for a in "yx"], [-2, -1])
    rest = [a for a in axes if a not in "yx"]
    index = tuple({"t": plane[0], "z": plane[1], "c": slice(None)}[a] for a in rest)
    expected = whole[index][..., 1:4, 2:6]
    expected = np.moveaxis(expected, 0, -1) if "c" in axes else expected
    np.testing.assert_array_equal(part, expected)
    assert image.size == (5, 6)
    assert len(image.planes) == image.times * image.depth


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_keeps_axes_levels_and_scale(tmp_path: Path, version: str) -> None:
    data = stack(2, 3, 32, 48)
    path = write_ome_zarr(tmp_path / "image.zarr", data, "czyx", version=version, levels=2)
    image = ImageRef.open(path)
    assert (image.axes, image.level, image.channels) == ("czyx", 0, 2)
    assert image.spacing == (2.0, 0.5, 0.5)
    assert image.units[1] == "micrometer"
    np.testing.assert_array_equal(image.read((0, 1)), data[:, 1].transpose(1, 2, 0))
    coarse = ImageRef.open(path, level=1)
    assert coarse.size == (16, 24)
    assert coarse.spacing == (2.0, 1.0, 1.0)
    with pytest.raises(ImageError, match=r"no level 5; there are 0, 1"):
        ImageRef.open(path, level=5)


def test_a_level_0_that_was_left_upstream_is_no_hindrance(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "image.zarr", stack(32, 48), "yx", levels=2)
    (path / "0" / "zarr.json").unlink()
    assert ImageRef.open(path).level == 1
    with pytest.raises(ImageError, match=r"no level 0; there are 1"):
        ImageRef.open(path, level=0)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_plain_zarr(tmp_path: Path, zarr_format: int) -> None:
    data = stack(4, 20, 30)
    array = zarr.create_array(tmp_path / "a.zarr", data=data, zarr_format=zarr_format)
    assert array.shape == data.shape
    image = ImageRef.open(tmp_path / "a.zarr")
    assert image.axes == "zyx"
    np.testing.assert_array_equal(image.read((0, 2)), data[2])


def test_arrays_files_and_pickles(tmp_path: Path) -> None:
    data = stack(5, 20, 30)
    np.save(tmp_path / "a.npy", data)
    tifffile.imwrite(tmp_path / "a.tif", data, bigtiff=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(
        tmp_path / "b.ome.tif", data, ome=True,
        metadata={"axes": "ZYX", "PhysicalSizeX": 0.3, "PhysicalSizeXUnit": "µm",
                  "PhysicalSizeZ": 2.0},
    )  # fmt: skip
    memmap = np.lib.format.open_memmap(tmp_path / "a.npy", mode="r")
    sources = [data, memmap, dask.array.from_array(data, chunks=(2, 7, 9)), tmp_path / "a.npy",
               tmp_path / "a.tif", str(tmp_path / "b.ome.tif")]  # fmt: skip
    prints = set()
    for source in sources:
        image = pickle.loads(pickle.dumps(ImageRef.open(source)))
        np.testing.assert_array_equal(image.read((0, 3), (slice(2, 9), slice(0, 30))), data[3, 2:9])
        prints.add(json.dumps(fingerprint(image)))
    assert len(prints) == 1
    ome = ImageRef.open(tmp_path / "b.ome.tif")
    assert (ome.spacing, ome.units[2]) == ((2.0, 1.0, 0.3), "micrometer")
    assert ome.with_spacing((3, 1, 1)).spacing == (3, 1, 1)


@pytest.mark.parametrize(
    ("data", "axes", "message"),
    [
        (np.zeros((3, 3), complex), None, "real numbers"),
        (np.zeros((0, 3)), None, "empty"),
        (np.zeros((2,) * 6), None, "one letter of t, c, z, y, x"),
        (np.zeros((3, 3)), "zy", "with y and x among them"),
        (np.zeros((3, 3, 3)), "yyx", "each letter may be there once"),
        ([[1]], None, "a path or an array"),
    ],
)
def test_what_is_not_taken_is_said(data: object, axes: str | None, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        ImageRef.open(data, axes=axes)


def test_files_that_are_no_images_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"no")
    (tmp_path / "a.txt").write_bytes(b"no")
    zarr.create_group(tmp_path / "g.zarr")
    bad = zarr.create_group(tmp_path / "bad.zarr")
    bad.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": 3}]}
    for name, message in (
        ("a.tif", "cannot be read"), ("a.txt", "ending '.txt'"), ("none.tif", "no file"),
        ("g.zarr", "without an OME-Zarr image"), ("bad.zarr", "not OME-Zarr 0.4 or 0.5: "),
    ):  # fmt: skip
        with pytest.raises(ImageError, match=message):
            ImageRef.open(tmp_path / name)


def test_regions_outside_are_said() -> None:
    image = ImageRef.open(stack(2, 8, 8))
    for plane, rows in (((0, 2), slice(0, 8)), ((0, 0), slice(0, 9)), ((0, 0), slice(4, 4))):
        with pytest.raises(ImageError, match="outside the image"):
            image.read(plane, (rows, slice(0, 8)))


def test_a_damaged_chunk_is_an_image_error(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=stack(2, 64, 64), chunks=(1, 64, 64))
    (tmp_path / "a.zarr" / "c" / "1" / "0" / "0").write_bytes(b"torn")
    image = ImageRef.open(tmp_path / "a.zarr")
    image.read((0, 0))
    with pytest.raises(ImageError, match=r"cannot be read at plane \(t, z\) = \(0, 1\)"):
        image.read((0, 1))


def test_a_large_volume_is_sampled_and_a_small_one_is_read_whole() -> None:
    small = stack(2, 300, 300)
    assert sum(block.size for block in sample_blocks(ImageRef.open(small))) == small.size
    large = dask.array.zeros((50, 30_000, 30_000), dtype="uint8", chunks=(1, 256, 256))
    blocks = list(sample_blocks(ImageRef.open(large)))
    assert len(blocks) == 64


@pytest.mark.parametrize("intensity", ["percentile", "per-channel", (10.0, 90.0)])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 5])
def test_a_small_plane_looks_as_it_does_in_the_core(
    intensity: object, channels: int | None
) -> None:
    data = stack(60, 70) if channels is None else stack(60, 70, channels)
    image = ImageRef.open(data, axes="yx" if channels is None else "yxc")
    whole = to_picture(data, intensity=intensity)
    measured = VolumeIntensity.measure(image, intensity)
    np.testing.assert_array_equal(measured.picture(data), whole)
    part = (slice(10, 30), slice(5, 25))  # a tile alone would have another range
    np.testing.assert_array_equal(measured.picture(image.read((0, 0), part)), whole[part])


def test_an_unused_alpha_is_decided_for_the_volume() -> None:
    data = stack(40, 40, 4, dtype="uint8")
    data[:20, :, 3] = 255
    measured = VolumeIntensity.measure(ImageRef.open(data, axes="yxc"))
    assert measured.channels == (0, 1, 2, 3)  # although the upper half alone has a constant alpha
    data[..., 3] = 255
    assert VolumeIntensity.measure(ImageRef.open(data, axes="yxc")).channels == (0, 1, 2)


def test_intensity_that_cannot_be_is_said() -> None:
    image = ImageRef.open(stack(8, 8))
    with pytest.raises(ImageError, match="intensity is 'bright'"):
        VolumeIntensity.measure(image, "bright")  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=r"channels \(1,\) were chosen; the image has no axis c"):
        VolumeIntensity.measure(image, channels=(1,))
