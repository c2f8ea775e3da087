"""LazyImage: an array that is read when sliced, and what its file says of it. Knows no format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_sam.errors import ImageError

__all__ = ["LazyImage", "Where", "guess_axes", "known_levels", "plain", "unit_of"]

Where = Path | str
"""A path, or an address such as ``s3://bucket/image.zarr``."""
_COLOURS = (3, 4)
_UNITS = {"µm": "micrometer", "um": "micrometer", "micron": "micrometer",
                "\\u00B5m": "micrometer", "nm": "nanometer", "mm": "millimeter"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class LazyImage:
    """An array that is read when sliced, and what its file says of it.

    Attributes
    ----------
    array
        Has ``shape``, ``dtype`` and ``__getitem__``.
    axes
        A letter of ``tczyx`` for each axis; "" where the file does not tell.
    level
        Which resolution of a pyramid, 0 is the finest that the file names.
    scale, translation
        Size of a step and position of the first one along each axis, in units.
    units
        Name of the unit for each axis, None where unknown.
    zarr_format
        2 or 3 for an OME-Zarr image, to which labels can be added; else None.
    """

    array: Any
    axes: str
    level: int
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    units: tuple[str | None, ...]
    zarr_format: int | None = None


def guess_axes(shape: tuple[int, ...]) -> str:
    """Letters for an array that comes without names: colours last, then x, y, z, c, t backwards."""
    colours = len(shape) > 2 and shape[-1] in _COLOURS and min(shape[-3:-1]) > max(_COLOURS)
    if colours:
        return "tzyx"[-(len(shape) - 1) :] + "c" if len(shape) <= 5 else ""
    return {2: "yx", 3: "zyx", 4: "tzyx", 5: "tczyx"}.get(len(shape), "")


def plain(array: Any, axes: str, zarr_format: int | None = None) -> LazyImage:
    """An image of one level whose file tells neither scale nor units."""
    count = len(array.shape)
    return LazyImage(array, axes, 0, (1.0,) * count, (0.0,) * count, (None,) * count, zarr_format)


def known_levels(where: Where, level: int | None, count: int = 1) -> int:
    """The level that was asked for, 0 where none was.

    Raises
    ------
    ImageError
        There are only ``count``.
    """
    if level is None or 0 <= level < count:
        return level or 0
    there = "one level, 0" if count == 1 else f"the levels 0 to {count - 1}"
    raise ImageError(f"level {level} was asked for; {where} has {there}.")


def unit_of(name: str | None) -> str | None:
    """A unit of length by its full name, where it is known."""
    return _UNITS.get(name, name) if name else None
