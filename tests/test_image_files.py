"""Image files: the right plane with its axes in order, or a sentence that says what is wrong."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_sam._image_files import read_plane
from napari_sam.errors import ImageError

STACK = np.random.default_rng(0).integers(0, 60_000, (3, 4, 20, 30), dtype=np.uint16)
RGB = np.random.default_rng(1).integers(0, 255, (20, 30, 3), dtype=np.uint8)


def write_ome_zarr(path: Path, axes: str, array: np.ndarray, *, version: str) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("1", data=array)
    scales = [
        {"axes": [{"name": axis} for axis in axes], "datasets": [{"path": "1"}, {"path": "2"}]}
    ]
    if version == "0.4":
        group.attrs["multiscales"] = scales
    else:
        group.attrs["ome"] = {"version": version, "multiscales": scales}


@pytest.mark.parametrize("name", ["a.png", "a.TIF", "a.npy", "a.zarr"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_plane_comes_back_as_written(tmp_path: Path, name: str, dtype: type) -> None:
    path, plane = tmp_path / name, STACK[0, 0].astype(dtype)
    if name == "a.png":
        Image.fromarray(plane).save(path)
    elif name == "a.npy":
        np.save(path, plane)
    elif name == "a.zarr":
        zarr.save_array(path, plane)
    else:
        tifffile.imwrite(path, plane)
    read = read_plane(path)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, plane)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.npy", "a.zarr"])
def test_colours_come_last(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, RGB)
    elif name == "a.zarr":
        write_ome_zarr(path, "cyx", np.moveaxis(RGB, -1, 0), version="0.5")
    elif name == "a.tif":
        tifffile.imwrite(path, RGB, photometric="rgb", planarconfig="contig")
    else:
        Image.fromarray(RGB).save(path)
    np.testing.assert_array_equal(read_plane(path), RGB)


def test_a_jpeg_is_read(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.jpg")
    assert read_plane(tmp_path / "a.jpg").shape == RGB.shape


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1"])
def test_transparency_and_palettes_become_plain_numbers(tmp_path: Path, mode: str) -> None:
    Image.fromarray(RGB).convert(mode).save(tmp_path / "a.png")
    assert read_plane(tmp_path / "a.png").shape == (RGB.shape[:2] if mode in "LA1" else RGB.shape)


@pytest.mark.parametrize(("kind", "plane"), [("imagej", (1, 2)), ("npy", (1, 2)), ("zarr", (1, 2))])
def test_a_plane_of_a_stack(tmp_path: Path, kind: str, plane: tuple[int, ...]) -> None:
    path = tmp_path / {"imagej": "a.tif", "npy": "a.npy", "zarr": "a.zarr"}[kind]
    if kind == "imagej":
        tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "TZYX"})
    elif kind == "npy":
        np.save(path, STACK)
    else:
        zarr.save_array(path, STACK)
    np.testing.assert_array_equal(read_plane(path, plane), STACK[1, 2])


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_channels_of_ome_tiff_stay_together(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path, STACK, metadata={"axes": "TCYX"}, compression=compression, photometric="minisblack"
    )
    np.testing.assert_array_equal(read_plane(path, (1,)), np.moveaxis(STACK[1], 0, -1))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_is_read_by_its_axes(tmp_path: Path, version: str) -> None:
    write_ome_zarr(tmp_path / "a.zarr", "tczyx", STACK[None].swapaxes(0, 1), version=version)
    read = read_plane(tmp_path / "a.zarr", (2, 3))
    np.testing.assert_array_equal(read, STACK[2, 3][..., None])


def test_only_the_wanted_plane_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zarr"
    array = zarr.create_array(path, shape=(50, 8, 8), chunks=(1, 8, 8), dtype="uint8")
    array[7] = 7
    for other in (path / "c").iterdir():  # what is not asked for may be damaged
        if other.name != "7":
            (other / "0" / "0").write_bytes(b"damaged")
    assert (read_plane(path, (7,)) == 7).all()


@pytest.mark.parametrize(
    ("plane", "message"),
    [
        (None, r"T 3, Z 4, Y 20, X 30.*--plane t,z .*for example --plane 1,2"),
        ((1,), "choose one plane"),
        ((1, 4), "Z 0 to 3"),
        ((-1, 0), "T 0 to 2"),
    ],
)
def test_a_stack_without_a_good_plane_says_how(
    tmp_path: Path, plane: tuple[int, ...] | None, message: str
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(ImageError, match=message):
        read_plane(tmp_path / "a.tif", plane)


def test_a_plane_number_for_a_plain_image_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", STACK[0, 0])
    with pytest.raises(ImageError, match="leave --plane out"):
        read_plane(tmp_path / "a.npy", (0,))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.npy"])
@pytest.mark.parametrize("content", [b"", b"II*\0 no image at all", b"\x93NUMPY\x01\x00"])
def test_damaged_files_are_image_errors(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageError, match=name):
        read_plane(path)


def test_half_a_file_is_an_image_error(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ImageError, match=r"a\.png cannot be read"):
        read_plane(path)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "a.lif").write_bytes(b"")
    np.save(tmp_path / "line.npy", np.zeros(5))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    zarr.open_group(tmp_path / "group.zarr", mode="w")
    messages = {
        "nowhere.tif": "There is no file",
        "folder": "only .zarr",
        "empty.zarr": "cannot be read",
        "a.lif": "ending '.lif'; read are .png",
        "line.npy": "no plane y, x",
        "objects.npy": "cannot be read",
        "group.zarr": "without an OME-Zarr image",
    }
    for name, message in messages.items():
        with pytest.raises(ImageError, match=message):
            read_plane(tmp_path / name)
