"""Image files, folders and addresses as lazy arrays: which reader takes what.

Knows endings and keeps what is open, so that each tile does not open its file again; knows nothing
of planes and tiles.
"""

import atexit
import threading
from collections import OrderedDict
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from napari_sam.errors import ImageError, MissingExtraError
from napari_sam.volume.lazy_image import LazyImage, Where, guess_axes, known_levels, plain

__all__ = ["forget_sources", "open_source"]

_TIFF = (".tif", ".tiff", ".btf", ".tf8", ".tf2")
_NIFTI = (".nii", ".nii.gz")
_OPENED_AT_MOST = 16
_METADATA = ("zarr.json", ".zattrs", ".zarray", ".zgroup")
_opened: "OrderedDict[tuple[object, ...], tuple[LazyImage, ExitStack]]" = OrderedDict()
_lock = threading.Lock()


def open_source(where: Where, level: int | None) -> LazyImage:
    """Open an image; the same one is opened once in a process.

    Parameters
    ----------
    where
        A file; a folder with a zarr array, an OME-Zarr image or a DICOM series in it; or the
        address of a zarr or TIFF (``https://``, ``s3://``).
    level
        Resolution; None takes the finest that is there.

    Raises
    ------
    ImageError
        There is no such file, its format is not read, or it is damaged.
    MissingExtraError
        Its reader is an extra that is not installed.
    """
    key = (_known_as(where), level)
    with _lock:
        if key not in _opened:
            _opened[key] = _open(where, level)
            while len(_opened) > _OPENED_AT_MOST:
                _opened.popitem(last=False)[1][1].close()
        _opened.move_to_end(key)
        return _opened[key][0]


def forget_sources() -> None:
    """Close all files that this process has opened."""
    with _lock:
        while _opened:
            _opened.popitem()[1][1].close()


atexit.register(forget_sources)


def _known_as(where: Where) -> tuple[object, ...]:
    """What an opened source is kept by: a file that was written again is another one."""
    if isinstance(where, str):
        return (where,)
    try:
        stamp = where.stat().st_mtime_ns
    except OSError as error:
        raise ImageError(f"There is no file {where}.") from error
    if where.is_file():
        return (str(where.resolve()), stamp)
    files = [where / name for name in _METADATA]
    return (str(where.resolve()), *(f.stat().st_mtime_ns for f in files if f.exists()))


def _open(where: Where, level: int | None) -> tuple[LazyImage, ExitStack]:
    """Readers raise what they like at a damaged file: all of it means the same to a user."""
    closing = ExitStack()
    try:
        if isinstance(where, str):
            return _open_address(where, level, closing), closing
        if where.is_dir():
            return _open_folder(where, level), closing
        return _open_file(where, level, closing), closing
    except (ImageError, MemoryError, MissingExtraError):
        closing.close()
        raise
    except Exception as error:
        closing.close()
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"{where} cannot be read as an image: {reason}") from error


def _open_folder(path: Path, level: int | None) -> LazyImage:
    from napari_sam.volume.readers.dicom import is_dicom_folder, open_dicom
    from napari_sam.volume.readers.zarr import open_zarr

    zarr_there = any((path / name).exists() for name in _METADATA)
    if not zarr_there and is_dicom_folder(path):
        return open_dicom(path, level)
    return open_zarr(path, level)


def _open_file(path: Path, level: int | None, closing: ExitStack) -> LazyImage:
    name = path.name.lower()
    if name.endswith(_TIFF):
        from napari_sam.volume.readers.tiff import open_tiff

        return open_tiff(path, path, level, closing)
    if name.endswith(".npy"):
        array = np.lib.format.open_memmap(path, mode="r")
        known_levels(path, level)
        return plain(array, guess_axes(array.shape))
    if name.endswith(".czi"):
        from napari_sam.volume.readers.czi import open_czi

        return open_czi(path, level, closing)
    if name.endswith(".nd2"):
        from napari_sam.volume.readers.nd2 import open_nd2

        return open_nd2(path, level, closing)
    if name.endswith(".dcm"):
        from napari_sam.volume.readers.dicom import open_dicom

        return open_dicom(path, level)
    if name.endswith(_NIFTI):
        from napari_sam.volume.readers.nifti import open_nifti

        return open_nifti(path, level, closing)
    raise ImageError(
        f"{path} has the ending {path.suffix or 'none'!r}; volumes are read from OME-Zarr, zarr and"
        f" DICOM folders, .npy, {', '.join(_TIFF[:3])}, .czi, .nd2, .dcm, .nii, .nii.gz. For a"
        " single picture use `napari-sam auto`."
    )


def _open_address(address: str, level: int | None, closing: ExitStack) -> LazyImage:
    from napari_sam.volume.readers.tiff import open_tiff
    from napari_sam.volume.readers.zarr import open_zarr
    from napari_sam.volume.remote import open_remote_file, refusal, remote_store

    if address.lower().endswith(_TIFF):
        return open_tiff(address, open_remote_file(address, closing), level, closing)
    try:
        return open_zarr(address, level, remote_store(address))
    except Exception as error:
        if said := refusal(address, error):
            raise said from error
        raise
