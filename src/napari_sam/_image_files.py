"""One plane out of an image file: PNG, JPEG, TIFF, NumPy, (OME-)Zarr, and those of the extras.

Knows file formats and axes; of a stack only the wanted plane is read. Knows no model and no ranges
(see ``core/intensity``). Every fault of a file becomes an :class:`ImageError` in plain words.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_sam.errors import ImageError

__all__ = ["READABLE", "read_plane"]

_TIFF = (".tif", ".tiff")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_EXTRAS = (".czi", ".nd2", ".dcm", ".nii", ".nii.gz")
READABLE = (*_PICTURES, *_TIFF, ".npy", ".zarr", *_EXTRAS)
# What Pillow calls a mode -> one whose array is plain numbers. Transparency is no channel.
_PLAIN_MODES = {"1": "L", "P": "RGB", "LA": "L", "PA": "RGB", "RGBA": "RGB", "CMYK": "RGB"}
_COLOURS = (3, 4)


@dataclass(frozen=True)
class _Stack:
    """An array that can be sliced without being read whole, and a letter for each axis."""

    array: Any
    axes: str


def read_plane(path: str | Path, plane: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Read one plane.

    Parameters
    ----------
    path
        A file, or a folder whose name ends in ``.zarr`` (OME-Zarr 0.4 or 0.5: its largest level).
    plane
        For a stack or time series: one index for each axis besides y, x and channels that is
        longer than one, in the file's order.

    Returns
    -------
    numpy.ndarray
        (H, W) or (H, W, C), values as in the file; transparency is left out.

    Raises
    ------
    ImageError
        There is no such file, its format is not read, it is damaged, or ``plane`` does not fit:
        the message says which axes there are.
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(f"There is no file {path}.")
    with ExitStack() as closing, _plain_errors(path):
        stack = _open(path, closing)
        if not {"Y", "X"} <= set(stack.axes) or len(set(stack.axes)) != len(stack.axes):
            raise ImageError(f"{path} has the axes {_describe(stack) or 'none'}; no plane y, x.")
        image = np.asarray(stack.array[_plane_index(path, stack, plane)])
    kept = [axis for axis in stack.axes if axis in "YXC"]
    return image.transpose([kept.index(axis) for axis in "YXC" if axis in kept])


def _open(path: Path, closing: ExitStack) -> _Stack:
    suffix = path.suffix.lower()
    if suffix == ".zarr":
        return _open_zarr(path)
    if path.is_dir():
        raise ImageError(f"{path} is a folder; of folders only .zarr stores can be read.")
    if suffix in _PICTURES:
        return _open_picture(path)
    if suffix in _TIFF:
        return _open_tiff(path, closing)
    if suffix == ".npy":
        array = np.lib.format.open_memmap(path, mode="r")  # np.load would speak of pickles
        return _Stack(array, _guess_axes(array.shape))
    if path.name.lower().endswith(_EXTRAS):
        from napari_sam.volume.sources import open_source

        lazy = open_source(path, None)
        return _Stack(lazy.array, lazy.axes.upper())
    raise ImageError(f"{path} has the ending {suffix or 'none'!r}; read are {', '.join(READABLE)}.")


def _open_picture(path: Path) -> _Stack:
    with Image.open(path) as opened:
        plain = _PLAIN_MODES.get(opened.mode)
        array = np.asarray(opened.convert(plain) if plain else opened)
    return _Stack(array, "YXC" if array.ndim == 3 else "YX")


def _open_tiff(path: Path, closing: ExitStack) -> _Stack:
    import zarr

    tiff = closing.enter_context(tifffile.TiffFile(path))
    if not tiff.series:
        raise ImageError(f"{path} holds no image.")
    axes = tiff.series[0].axes
    # Samples of a pixel are its channels; where there are channels as well, those are an axis.
    axes = axes.replace("C", "c").replace("S", "C") if "S" in axes else axes
    store = closing.enter_context(tiff.series[0].aszarr(level=0))
    return _Stack(zarr.open_array(store, mode="r"), axes)


def _open_zarr(path: Path) -> _Stack:
    import zarr

    opened = zarr.open(path, mode="r")
    if isinstance(opened, zarr.Array):
        return _Stack(opened, _guess_axes(opened.shape))
    attributes: Any = opened.attrs.asdict()
    scales = attributes.get("ome", attributes).get("multiscales")
    if not scales:
        raise ImageError(f"{path} is a Zarr group without an OME-Zarr image in it.")
    array: Any = opened[scales[0]["datasets"][0]["path"]]
    names = [axis["name"] if isinstance(axis, dict) else axis for axis in scales[0]["axes"]]
    return _Stack(array, "".join(name[:1].upper() for name in names))


def _guess_axes(shape: tuple[int, ...]) -> str:
    """Letters for an array that comes without names: colours last, or else planes first."""
    spatial = 3 if len(shape) > 2 and shape[-1] in _COLOURS and min(shape[-3:-1]) > 4 else 2
    if len(shape) < spatial or len(shape) > spatial + 9:
        return ""
    return "123456789"[: len(shape) - spatial] + "YXC"[:spatial]


def _plane_index(
    path: Path, stack: _Stack, plane: tuple[int, ...] | None
) -> tuple[int | slice, ...]:
    """Index of one plane; axes of length one need no number."""
    sizes = dict(zip(stack.axes, stack.array.shape, strict=True))
    free = [axis for axis in stack.axes if axis not in "YXC" and sizes[axis] > 1]
    wanted = plane or ()
    outside = [axis for axis, i in zip(free, wanted, strict=False) if not -1 < i < sizes[axis]]
    if len(wanted) != len(free) or outside:
        raise ImageError(_plane_help(path, stack, {axis: sizes[axis] for axis in free}))
    chosen = dict(zip(free, wanted, strict=True))
    return tuple(slice(None) if axis in "YXC" else chosen.get(axis, 0) for axis in stack.axes)


def _plane_help(path: Path, stack: _Stack, free: dict[str, int]) -> str:
    if not free:
        return f"{path} ({_describe(stack)}) is a single plane: leave --plane out."
    names = ",".join(axis.lower() if axis.isalpha() else f"axis{axis}" for axis in free)
    middle = ",".join(str(size // 2) for size in free.values())
    ranges = ", ".join(f"{axis} 0 to {size - 1}" for axis, size in free.items())
    return (
        f"{path} is a stack ({_describe(stack)}): choose one plane with --plane {names} ({ranges}),"
        f" for example --plane {middle}."
    )


def _describe(stack: _Stack) -> str:
    if len(stack.axes) != len(stack.array.shape):
        return " x ".join(map(str, stack.array.shape))
    sizes = zip(stack.axes, stack.array.shape, strict=True)
    return ", ".join(f"{axis} {size}" for axis, size in sizes)


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    """Readers raise what they like at a damaged file: all of it means the same to a user."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"{path} cannot be read as an image: {reason}") from error
