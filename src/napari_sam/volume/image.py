"""ImageRef: an image of any size as a small value that can be sent to other processes.

Knows axes, levels and planes; reads only what is asked for. Knows no file format (``sources``), no
tile and no model.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.regions import Region
from napari_sam.errors import ImageError
from napari_sam.volume.lazy_image import LazyImage, Where, guess_axes, plain
from napari_sam.volume.remote import is_address, name_of
from napari_sam.volume.sources import open_source

__all__ = ["ImageRef", "Plane"]

Plane = tuple[int, int]
"""(t, z): one plane of a volume; 0 along an axis that the image does not have."""


@dataclass(frozen=True, eq=False)
class ImageRef:
    """An image in a file or in memory, of which any part can be read.

    Made by :meth:`open`. Pickles as its path; an array in memory is pickled with it.

    Attributes
    ----------
    source
        Absolute path, address, or the array itself (NumPy or dask).
    axes
        Letters of ``t c z y x``, each at most once, in the order of the array.
    shape, dtype
        Of the array, as its axes.
    level
        Resolution of a pyramid, 0 is the finest.
    scale, translation
        Step and position of the first step along each axis, in units.
    units
        Unit along each axis, None where unknown.
    zarr_format
        2 or 3 where the source is an OME-Zarr image, else None.
    """

    source: Any
    axes: str
    shape: tuple[int, ...]
    dtype: str
    level: int
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    units: tuple[str | None, ...]
    zarr_format: int | None = None

    @classmethod
    def open(cls, source: Any, *, axes: str | None = None, level: int | None = None) -> "ImageRef":
        """Look at an image without reading it.

        Parameters
        ----------
        source
            Path of an OME-Zarr image (0.4 or 0.5), a zarr array (v2 or v3), a TIFF, OME-TIFF or
            BigTIFF, a ``.npy``, and with extras CZI, ND2, DICOM and NIfTI; an address of a zarr or
            TIFF (``https://``, ``s3://``); or an array: NumPy, memory map or dask.
        axes
            One letter of ``tczyx`` for each axis, in the array's order. None takes what the file
            says, or guesses: yx, zyx, tzyx, tczyx, and colours last.
        level
            Resolution of a pyramid; None takes the finest that is there.

        Raises
        ------
        ImageError
            The file cannot be read, or its axes or dtype cannot be taken.
        MissingExtraError
            What reads it is not installed; says the pip line.
        """
        if isinstance(source, str | Path):
            where: Any = source if is_address(source) else str(Path(source).resolve())
            lazy = open_source(_where(where), level)
        else:
            where, lazy = source, _in_memory(source, level)
        letters = (axes or lazy.axes or guess_axes(tuple(lazy.array.shape))).lower()
        shape = tuple(int(n) for n in lazy.array.shape)
        _check(letters, shape, np.dtype(lazy.array.dtype))
        return cls(
            where, letters, shape, np.dtype(lazy.array.dtype).str, lazy.level, lazy.scale,
            lazy.translation, lazy.units, lazy.zarr_format,
        )  # fmt: skip

    def with_spacing(self, spacing: tuple[float, float, float]) -> "ImageRef":
        """The same image with a voxel size (z, y, x)."""
        given = dict(zip("zyx", spacing, strict=True))
        pairs = zip(self.axes, self.scale, strict=True)
        return replace(self, scale=tuple(given.get(axis, old) for axis, old in pairs))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a plane."""
        return (self._length("y"), self._length("x"))

    @property
    def channels(self) -> int | None:
        """How many channels; None without such an axis."""
        return self._length("c") if "c" in self.axes else None

    @property
    def times(self) -> int:
        """How many points in time."""
        return self._length("t")

    @property
    def depth(self) -> int:
        """How many planes along z."""
        return self._length("z")

    @property
    def planes(self) -> tuple[Plane, ...]:
        """All planes, z first."""
        return tuple((t, z) for t in range(self.times) for z in range(self.depth))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size (z, y, x) in units; 1 where unknown."""
        known = dict(zip(self.axes, self.scale, strict=True))
        z, y, x = (known.get(axis, 1.0) for axis in "zyx")
        return (z, y, x)

    def read(self, plane: Plane, region: Region | None = None) -> NDArray[Any]:
        """Read part of a plane.

        Parameters
        ----------
        plane
            (t, z).
        region
            Half-open slices along y and x in pixels; None reads the whole plane.

        Returns
        -------
        numpy.ndarray
            (y, x) or (y, x, c), values as in the file.

        Raises
        ------
        ImageError
            There is no such plane, the region leaves it, or the file is damaged there.
        """
        height, width = self.size
        rows, columns = region or (slice(0, height), slice(0, width))
        inside = (
            0 <= rows.start < rows.stop <= height and 0 <= columns.start < columns.stop <= width
        )
        if plane[0] not in range(self.times) or plane[1] not in range(self.depth) or not inside:
            raise ImageError(
                f"plane (t, z) = {plane}, rows {rows.start} to {rows.stop}, columns"
                f" {columns.start} to {columns.stop} lie outside the image: {self.describe()}."
            )
        wanted = {"t": plane[0], "z": plane[1], "y": rows, "x": columns, "c": slice(None)}
        array = self._array()
        try:
            values = np.asarray(array[tuple(wanted[axis] for axis in self.axes)])
        except MemoryError:
            raise
        except Exception as error:  # each codec has errors of its own
            reason = str(error) or type(error).__name__
            raise ImageError(
                f"{self.name} cannot be read at plane (t, z) = {plane}: {reason}"
            ) from error
        kept = [axis for axis in self.axes if axis in "yxc"]
        return values.transpose([kept.index(axis) for axis in "yxc" if axis in kept])

    @property
    def name(self) -> str:
        """The file's name, or what there is instead."""
        if not isinstance(self.source, str):
            return "array in memory"
        return name_of(self.source) if is_address(self.source) else Path(self.source).name

    def describe(self) -> str:
        """Axes and sizes for a message."""
        pairs = zip(self.axes, self.shape, strict=True)
        return f"{self.name}, " + ", ".join(f"{axis} {n}" for axis, n in pairs) + f", {self.dtype}"

    def _length(self, axis: str) -> int:
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    def _array(self) -> Any:
        if not isinstance(self.source, str):
            return self.source
        array = open_source(_where(self.source), self.level).array
        if tuple(array.shape) != self.shape or np.dtype(array.dtype).str != self.dtype:
            raise ImageError(f"{self.source} has changed since it was opened; open it again.")
        return array


def _in_memory(array: Any, level: int | None) -> LazyImage:
    if not all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__")):
        raise ImageError(f"a path or an array is wanted as the image; got {type(array).__name__}.")
    if level:
        raise ImageError(f"level {level} was asked for; an array has one level, 0.")
    return plain(array, "")


def _where(source: str) -> Where:
    return source if is_address(source) else Path(source)


def _check(axes: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if len(axes) != len(shape) or not {"y", "x"} <= set(axes) <= set("tczyx"):
        raise ImageError(
            f"the image has {len(shape)} axes of lengths {shape}, and the axes were given or found"
            f" as {axes or 'nothing'!r}; one letter of t, c, z, y, x is wanted for each, with y and"
            " x among them."
        )
    if len(set(axes)) != len(axes):
        raise ImageError(f"the axes are {axes!r}; each letter may be there once.")
    if dtype.kind not in "uifb":
        raise ImageError(f"the image has dtype {dtype}; only real numbers can be segmented.")
    if 0 in shape:
        raise ImageError(f"the image has shape {shape}: it is empty.")
