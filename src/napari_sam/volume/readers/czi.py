"""Zeiss CZI through pylibCZIrw (extra ``czi``): mosaics as one picture, any part of a plane."""

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import ImageError, missing_extra
from napari_sam.volume.lazy_image import LazyImage
from napari_sam.volume.readers.planes import Planes

__all__ = ["open_czi"]

_TYPES = {"Gray8": "u1", "Gray16": "<u2", "Gray32Float": "<f4", "Bgr24": "u1", "Bgr48": "<u2"}
_METERS = 1e6  # micrometers


def open_czi(path: Path, level: int | None, closing: ExitStack) -> LazyImage:
    """Open it; level ``n`` is ``2 ** n`` times coarser, scenes lie where the stage had them.

    Raises
    ------
    MissingExtraError
        pylibCZIrw is not installed.
    ImageError
        Pixels or axes cannot be taken.
    """
    try:
        from pylibCZIrw import czi
    except ImportError as error:
        raise missing_extra("CZI", "pylibCZIrw", "czi") from error

    document: Any = closing.enter_context(czi.open_czi(str(path)))
    kinds = set(document.pixel_types.values())
    if len(kinds) != 1 or not kinds <= set(_TYPES):
        raise ImageError(f"{path} has pixels of the kinds {sorted(kinds)}; one of {list(_TYPES)}"
                         " for all channels is taken.")  # fmt: skip
    ends = {axis: end - start for axis, (start, end) in document.total_bounding_box.items()}
    if many := {axis: n for axis, n in ends.items() if axis not in "TCZYX" and n > 1}:
        raise ImageError(f"{path} has the axes {many} besides t, c, z, y, x; export one of them.")
    frame, factor = document.total_bounding_rectangle, 2 ** (level or 0)
    if min(frame.w, frame.h) < factor:
        raise ImageError(f"{path} has no level {level}: its planes are {frame.h} x {frame.w}.")
    colours = kinds & {"Bgr24", "Bgr48"}
    first = [axis for axis in ("TZ" if colours else "TCZ") if ends.get(axis, 1) > 1]
    if not colours and "C" in document.total_bounding_box and "C" not in first:
        first = [axis for axis in "TCZ" if axis in (*first, "C")]
    size = (frame.h // factor, frame.w // factor)
    shape = (*(ends[axis] for axis in first), *size, *((3,) if colours else ()))
    read = _reader(document, first, factor, bool(colours))
    array = Planes(shape, np.dtype(_TYPES[kinds.pop()]), len(first), read)
    axes = "".join(first).lower() + ("yxc" if colours else "yx")
    steps = _steps(document.raw_metadata)
    scale = tuple(steps.get(a, 1.0) * (factor if a in "yx" else 1) for a in axes)
    units = tuple("micrometer" if a in steps else None for a in axes)
    return LazyImage(array, axes, level or 0, scale, (0.0,) * len(axes), units)


def _reader(document: Any, first: list[str], factor: int, colours: bool) -> Any:
    corner, lock = document.total_bounding_rectangle, threading.Lock()
    starts = {axis: start for axis, (start, _) in document.total_bounding_box.items()}

    def read(index: tuple[int, ...], rows: slice, columns: slice) -> NDArray[Any]:
        plane = {axis: starts[axis] for axis in "TCZ" if axis in starts}
        plane |= {axis: starts[axis] + i for axis, i in zip(first, index, strict=True)}
        height, width = rows.stop - rows.start, columns.stop - columns.start
        roi = (corner.x + columns.start * factor, corner.y + rows.start * factor,
               width * factor, height * factor)  # fmt: skip
        with lock:
            pixels: NDArray[Any] = document.read(roi=roi, plane=plane, zoom=1 / factor)
        pixels = pixels[:height, :width]
        return pixels[..., ::-1] if colours else pixels[..., 0]

    return read


def _steps(metadata: str) -> dict[str, float]:
    """Micrometers by axis, where the file tells."""
    found = {}
    for item in ElementTree.fromstring(metadata).iterfind(".//Scaling/Items/Distance"):
        step = float(item.findtext("Value") or 0) * _METERS
        if step > 0:
            found[str(item.get("Id")).lower()] = step
    return found
