"""The optional readers, on files that their own libraries write (or that the packs have)."""

import builtins
import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sam._image_files import read_plane
from napari_sam.errors import ImageError, MissingExtraError
from napari_sam.volume.image import ImageRef
from napari_sam.volume.sources import forget_sources
from tests.volume.nd2_files import write_nd2

FORMATS = Path(__file__).parents[3] / "shared" / "packs" / "dev"


@pytest.fixture(autouse=True)
def _closed_files() -> Iterator[None]:
    yield
    forget_sources()


def stack(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def test_nifti_keeps_its_axes_spacing_and_scaled_values(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    data = stack(6, 5, 4, dtype="int16")  # x, y, z
    image = nibabel.Nifti1Image(data, np.diag([0.5, 0.7, 3.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, tmp_path / "a.nii")
    with (tmp_path / "a.nii").open("rb") as file, gzip.open(tmp_path / "b.nii.gz", "wb") as packed:
        shutil.copyfileobj(file, packed)
    for name in ("a.nii", "b.nii.gz"):
        found = ImageRef.open(tmp_path / name)
        assert (found.axes, found.dtype, found.size, found.depth) == ("xyz", "<i2", (5, 6), 4)
        np.testing.assert_allclose(found.spacing, (3.0, 0.7, 0.5), rtol=1e-6)
        assert found.units == ("millimeter",) * 3
        part = found.read((0, 2), (slice(1, 4), slice(0, 6)))
        np.testing.assert_array_equal(part, data[:, 1:4, 2].T)
    image.header.set_slope_inter(2.0, -10.0)
    scaled = nibabel.Nifti1Image(data * 2.0 - 10, image.affine, image.header)
    scaled.header.set_data_dtype("int16")
    nibabel.save(scaled, tmp_path / "c.nii")
    found = ImageRef.open(tmp_path / "c.nii")
    assert found.dtype == "<f4"
    np.testing.assert_allclose(found.read((0, 1)), data[:, :, 1].T * 2.0 - 10, atol=0.01)


def test_nifti_of_several_times_and_channels(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    data = stack(6, 5, 4, 3)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "t.nii")
    found = ImageRef.open(tmp_path / "t.nii")
    assert (found.axes, found.times) == ("xyzt", 3)
    np.testing.assert_array_equal(found.read((2, 1)), data[:, :, 1, 2].T)
    nibabel.save(nibabel.Nifti1Image(data[:, :, :, None], np.eye(4)), tmp_path / "c.nii")
    found = ImageRef.open(tmp_path / "c.nii")
    assert (found.axes, found.channels) == ("xyzc", 3)
    np.testing.assert_array_equal(found.read((0, 1)), data[:, :, 1].transpose(1, 0, 2))


def test_a_plane_for_a_single_picture(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    data = stack(6, 5, 4)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_plane(tmp_path / "a.nii.gz", (2,)), data[:, :, 2].T)


def write_dicom(path: Path, pixels: np.ndarray, number: int, z: float, **more: Any) -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    one.SeriesInstanceUID, one.InstanceNumber = "1.2.3", number
    one.Rows, one.Columns = pixels.shape[-2:]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation = 15, 0
    one.PixelSpacing = [0.8, 0.6]
    one.ImagePositionPatient, one.ImageOrientationPatient = [0, 0, z], [1, 0, 0, 0, 1, 0]
    for name, value in more.items():
        setattr(one, name, value)
    one.PixelData = pixels.astype("<u2").tobytes()
    one.save_as(path, enforce_file_format=True)


def test_a_dicom_series_is_put_in_order_and_rescaled(tmp_path: Path) -> None:
    data = stack(3, 6, 7)
    (tmp_path / "notes.txt").write_text("not DICOM")
    for z, name in zip((2, 0, 1), "abc", strict=True):  # neither names nor numbers are in order
        more = {"RescaleSlope": 1, "RescaleIntercept": -1024}
        write_dicom(tmp_path / name, data[z], 9 - z, 2.5 * z, **more)
    found = ImageRef.open(tmp_path)
    assert (found.axes, found.shape, found.dtype) == ("zyx", (3, 6, 7), "<f4")
    assert (found.spacing, found.units) == ((2.5, 0.8, 0.6), ("millimeter",) * 3)
    for z in range(3):
        np.testing.assert_array_equal(found.read((0, z)), data[z].astype(np.float32) - 1024)
    part = found.read((0, 1), (slice(2, 5), slice(1, 3)))
    np.testing.assert_array_equal(part, data[1, 2:5, 1:3].astype(np.float32) - 1024)


def test_dicom_that_does_not_fit_together_is_said(tmp_path: Path) -> None:
    data = stack(2, 6, 7)
    write_dicom(tmp_path / "a", data[0], 1, 0.0)
    write_dicom(tmp_path / "b", data[1], 2, 1.0, SeriesInstanceUID="1.2.4")
    with pytest.raises(ImageError, match="holds 2 series"):
        ImageRef.open(tmp_path)
    write_dicom(tmp_path / "b", data[1, :5], 2, 1.0)
    with pytest.raises(ImageError, match="different sizes"):
        ImageRef.open(tmp_path)
    write_dicom(tmp_path / "b", data[1], 2, 1.0)
    write_dicom(tmp_path / "c", data[1], 3, 1.0)
    with pytest.raises(ImageError, match="1 to 2 slices at one place"):
        ImageRef.open(tmp_path)


def test_dicom_times_and_frames(tmp_path: Path) -> None:
    data = stack(2, 3, 6, 7)
    (tmp_path / "series").mkdir()
    for t in range(2):
        for z in range(3):
            write_dicom(tmp_path / "series" / f"{t}{z}.dcm", data[t, z], t * 3 + z, float(z))
    found = ImageRef.open(tmp_path / "series")
    assert (found.axes, found.times, found.spacing[0]) == ("tzyx", 2, 1.0)
    np.testing.assert_array_equal(found.read((1, 2)), data[1, 2])
    write_dicom(tmp_path / "f.dcm", data[0], 1, 0.0, NumberOfFrames=3, SpacingBetweenSlices=4)
    found = ImageRef.open(tmp_path / "f.dcm")
    assert (found.axes, found.dtype, found.spacing) == ("zyx", "<u2", (4.0, 0.8, 0.6))
    np.testing.assert_array_equal(found.read((0, 2)), data[0, 2])


def test_czi_in_parts_channels_and_levels(tmp_path: Path) -> None:
    czi = pytest.importorskip("pylibCZIrw.czi")
    data = stack(2, 3, 40, 60)  # c, z, y, x
    with czi.create_czi(str(tmp_path / "a.czi")) as document:
        for c in range(2):
            for z in range(3):
                document.write(data[c, z][..., None], plane={"T": 0, "C": c, "Z": z})
        document.write_metadata(scale_x=0.5e-6, scale_y=0.25e-6, scale_z=2e-6)
    found = ImageRef.open(tmp_path / "a.czi")
    assert (found.axes, found.shape, found.dtype) == ("czyx", (2, 3, 40, 60), "<u2")
    np.testing.assert_allclose(found.spacing, (2, 0.25, 0.5))
    assert found.units[1:] == ("micrometer",) * 3
    part = found.read((0, 2), (slice(5, 25), slice(7, 60)))
    np.testing.assert_array_equal(part, data[:, 2, 5:25, 7:].transpose(1, 2, 0))
    coarse = ImageRef.open(tmp_path / "a.czi", level=1)
    assert (coarse.size, coarse.spacing[1:]) == ((20, 30), (0.5, 1.0))
    assert coarse.read((0, 0), (slice(3, 20), slice(0, 30))).shape == (17, 30, 2)


def test_czi_in_colour(tmp_path: Path) -> None:
    czi = pytest.importorskip("pylibCZIrw.czi")
    data = stack(20, 30, 3, dtype="uint8")
    with czi.create_czi(str(tmp_path / "a.czi")) as document:
        document.write(data[..., ::-1].copy(), plane={"T": 0, "C": 0, "Z": 0})  # blue first
    found = ImageRef.open(tmp_path / "a.czi")
    assert (found.axes, found.channels) == ("yxc", 3)
    np.testing.assert_array_equal(found.read((0, 0)), data)


@pytest.mark.parametrize(
    ("name", "extra", "package"),
    [
        ("a.czi", "czi", "pylibCZIrw"), ("a.nd2", "nd2", "nd2"), ("a.dcm", "dicom", "pydicom"),
        ("a.nii.gz", "nifti", "nibabel"), ("s3://a/b.tif", "remote", "fsspec"),
    ],
)  # fmt: skip
def test_what_is_not_installed_is_said_with_the_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, extra: str, package: str
) -> None:
    real = builtins.__import__

    def refuse(module: str, *others: Any, **more: Any) -> Any:
        if module.split(".")[0] == package:
            raise ImportError(module)
        return real(module, *others, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    where = name if "://" in name else tmp_path / name
    if isinstance(where, Path):
        where.write_bytes(b"")
    with pytest.raises(MissingExtraError, match=rf'pip install "napari-sam\[{extra}\]"'):
        ImageRef.open(where)


@pytest.mark.parametrize("name", ["a.czi", "a.nd2", "a.dcm", "a.nii", "a.nii.gz"])
def test_files_that_are_none_are_said(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"this is not an image")
    with pytest.raises(ImageError, match="cannot be read as an image"):
        ImageRef.open(tmp_path / name)


@pytest.mark.packs
@pytest.mark.skipif(not FORMATS.is_dir(), reason="the packs are not there")
def test_real_files() -> None:
    cells = ImageRef.open(FORMATS / "formats" / "CellDivision_T3_Z5_CH2_X240_Y170.czi")
    assert (cells.axes, cells.shape) == ("tczyx", (3, 2, 5, 170, 240))
    assert cells.read((2, 4)).any() and cells.spacing[1] < 1
    liver = ImageRef.open(FORMATS / "liver_ct_dicom")
    assert (liver.axes, liver.depth) == ("zyx", 3)
    assert liver.read((0, 1)).min() < -500  # air, in HU


def test_nd2_keeps_channels_planes_and_steps(tmp_path: Path) -> None:
    pytest.importorskip("nd2")
    data = stack(3, 2, 20, 30)  # z, c, y, x
    path = write_nd2(tmp_path / "a.nd2", data, step_um=0.3, z_um=1.5)
    found = ImageRef.open(path)
    assert (found.axes, found.shape, found.dtype) == ("zcyx", (3, 2, 20, 30), "<u2")
    np.testing.assert_allclose(found.spacing, (1.5, 0.3, 0.3))
    assert found.units == ("micrometer", None, "micrometer", "micrometer")
    part = found.read((0, 2), (slice(4, 9), slice(0, 30)))
    np.testing.assert_array_equal(part, data[2, :, 4:9].transpose(1, 2, 0))
