"""Image files as lazy arrays: OME-Zarr 0.4 and 0.5, plain zarr, NumPy files, TIFF.

Knows formats, the names of their axes, and physical scales; knows nothing of planes and tiles. An
opened source is kept for the process, so that each tile does not open its file again.
"""

import atexit
import threading
import warnings
from collections import OrderedDict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_sam.errors import ImageError

__all__ = ["LazyImage", "forget_sources", "guess_axes", "open_source"]

_TIFF = (".tif", ".tiff", ".btf", ".tf8", ".tf2")
_OPENED_AT_MOST = 16
_MICROMETERS = {"µm": "micrometer", "um": "micrometer", "micron": "micrometer",
                "\\u00B5m": "micrometer", "nm": "nanometer", "mm": "millimeter"}  # fmt: skip
_COLOURS = (3, 4)
_opened: "OrderedDict[tuple[object, ...], tuple[LazyImage, ExitStack]]" = OrderedDict()
_lock = threading.Lock()


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


def open_source(path: Path, level: int | None) -> LazyImage:
    """Open an image file; the same file is opened once in a process.

    Parameters
    ----------
    path
        A ``.tif``, a ``.npy``, or a folder with a zarr array or an OME-Zarr image in it.
    level
        Resolution; None takes the finest that is there.

    Raises
    ------
    ImageError
        There is no such file, its format is not read, or it is damaged.
    """
    try:
        stamp = path.stat().st_mtime_ns
    except OSError as error:
        raise ImageError(f"There is no file {path}.") from error
    key = (str(path.resolve()), level, stamp if path.is_file() else None)
    with _lock:
        if key not in _opened:
            _opened[key] = _open(path, level)
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


def guess_axes(shape: tuple[int, ...]) -> str:
    """Letters for an array that comes without names: colours last, then x, y, z, c, t backwards."""
    colours = len(shape) > 2 and shape[-1] in _COLOURS and min(shape[-3:-1]) > max(_COLOURS)
    if colours:
        return "tzyx"[-(len(shape) - 1) :] + "c" if len(shape) <= 5 else ""
    return {2: "yx", 3: "zyx", 4: "tzyx", 5: "tczyx"}.get(len(shape), "")


def _open(path: Path, level: int | None) -> tuple[LazyImage, ExitStack]:
    """Readers raise what they like at a damaged file: all of it means the same to a user."""
    closing = ExitStack()
    try:
        if path.is_dir():
            return _open_zarr(path, level), closing
        if path.suffix.lower() in _TIFF:
            return _open_tiff(path, level, closing), closing
        if path.suffix.lower() == ".npy":
            array = np.lib.format.open_memmap(path, mode="r")
            _only_level(path, level)
            return _plain(array, guess_axes(array.shape)), closing
    except (ImageError, MemoryError):
        closing.close()
        raise
    except Exception as error:
        closing.close()
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"{path} cannot be read as an image: {reason}") from error
    raise ImageError(
        f"{path} has the ending {path.suffix or 'none'!r}; volumes are read from OME-Zarr and zarr"
        f" folders, .npy, {', '.join(_TIFF[:3])}. For a single picture use `napari-sam auto`."
    )


def _plain(array: Any, axes: str, zarr_format: int | None = None) -> LazyImage:
    count = len(array.shape)
    return LazyImage(array, axes, 0, (1.0,) * count, (0.0,) * count, (None,) * count, zarr_format)


def _only_level(path: Path, level: int | None) -> None:
    if level:
        raise ImageError(f"level {level} was asked for; {path} has one level, 0.")


def _open_zarr(path: Path, level: int | None) -> LazyImage:
    import zarr

    opened = zarr.open(path, mode="r")
    if isinstance(opened, zarr.Array):
        _only_level(path, level)
        names: Any = getattr(opened.metadata, "dimension_names", None)
        known = names and all(name and name.lower() in "tczyx" for name in names)
        axes = "".join(names).lower() if known else guess_axes(opened.shape)
        return _plain(opened, axes)
    attributes: Any = opened.attrs.asdict()
    scales = _multiscale(path, attributes)
    there = [i for i, data in enumerate(scales.datasets) if data.path in opened]
    if not there:
        raise ImageError(f"{path} names {len(scales.datasets)} levels; none of them is there.")
    chosen = there[0] if level is None else level
    if chosen not in there:
        raise ImageError(f"{path} has no level {level}; there are {', '.join(map(str, there))}.")
    data = scales.datasets[chosen]
    array: Any = opened[data.path]
    axes = "".join(_letter(path, axis.name) for axis in scales.axes)
    units = tuple(getattr(axis, "unit", None) for axis in scales.axes)
    scale, translation = _transform(data, scales, len(axes))
    return LazyImage(array, axes, chosen, scale, translation, units, opened.metadata.zarr_format)


def _multiscale(path: Path, attributes: dict[str, Any]) -> Any:
    from yaozarrs import v04, v05

    new, old = attributes.get("ome"), attributes
    if not (new or old).get("multiscales"):
        raise ImageError(f"{path} is a zarr group without an OME-Zarr image in it.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is odd but can be read
            image: Any = v05.Image.model_validate(new) if new else v04.Image.model_validate(old)
    except ValueError as error:  # pydantic's: where, then what
        _, where, what = [*str(error).splitlines(), "", ""][:3]
        reason = f"{where}: {what.partition(' [type=')[0].strip()}"
        raise ImageError(f"{path} is not OME-Zarr 0.4 or 0.5: {reason}.") from error
    return image.multiscales[0]


def _letter(path: Path, name: str) -> str:
    letter = name.lower()
    if letter not in ("t", "c", "z", "y", "x"):
        raise ImageError(f"{path} has an axis {name!r}; known are t, c, z, y, x.")
    return letter


def _transform(data: Any, scales: Any, count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and translation of a level: its own, then those of all levels."""
    scale, shift = np.ones(count), np.zeros(count)
    for step in [*data.coordinateTransformations, *(scales.coordinateTransformations or [])]:
        if step.type == "scale":
            scale, shift = scale * step.scale, shift * step.scale
        else:
            shift = shift + step.translation
    return tuple(scale.tolist()), tuple(shift.tolist())


def _open_tiff(path: Path, level: int | None, closing: ExitStack) -> LazyImage:
    import zarr

    tiff = closing.enter_context(tifffile.TiffFile(path))
    if not tiff.series:
        raise ImageError(f"{path} holds no image.")
    series = tiff.series[0]
    chosen = level or 0
    if not 0 <= chosen < len(series.levels):
        raise ImageError(f"{path} has no level {level}; there are 0 to {len(series.levels) - 1}.")
    store = closing.enter_context(series.aszarr(level=chosen))
    array: Any = zarr.open_array(store, mode="r")
    axes = _tiff_axes(path, series.axes)
    steps = _tiff_scale(tiff)
    finest = dict(zip(axes, series.levels[0].shape, strict=True))
    factors = [finest[a] / n if a in "yx" else 1.0 for a, n in zip(axes, array.shape, strict=True)]
    scale = tuple(steps.get(a, (1.0, None))[0] * f for a, f in zip(axes, factors, strict=True))
    units = tuple(steps.get(a, (1.0, None))[1] for a in axes)
    return LazyImage(array, axes, chosen, scale, (0.0,) * len(axes), units)


def _tiff_axes(path: Path, names: str) -> str:
    """The letters of tifffile as ours: samples are channels; a sequence without a name is z."""
    axes = names.replace("S", "C") if "C" not in names else names
    for unnamed in "QIR":
        if axes.count(unnamed) == 1 and "Z" not in axes:
            axes = axes.replace(unnamed, "Z")
    if set(axes) - set("TCZYX") or len(set(axes)) != len(axes):
        raise ImageError(f"{path} has the axes {names}; known are T, C or S, Z, Y, X, each once.")
    return axes.lower()


def _tiff_scale(tiff: tifffile.TiffFile) -> dict[str, tuple[float, str | None]]:
    """Step and unit by axis, where the file tells."""
    if tiff.is_ome and tiff.ome_metadata:
        image: Any = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
        return {
            axis: (float(pixels[f"PhysicalSize{axis.upper()}"]),
                   _unit(pixels.get(f"PhysicalSize{axis.upper()}Unit", "µm")))
            for axis in "zyx"
            if pixels.get(f"PhysicalSize{axis.upper()}")
        }  # fmt: skip
    told: dict[str, Any] = tiff.imagej_metadata or {}
    unit = _unit(told.get("unit"))
    steps = {}
    if told.get("spacing"):
        steps["z"] = (float(told["spacing"]), unit)
    tags: Any = tiff.pages[0]
    for axis, name in (("y", "YResolution"), ("x", "XResolution")):
        tag = tags.tags.get(name)
        if unit and tag is not None and tag.value[0]:
            steps[axis] = (tag.value[1] / tag.value[0], unit)
    return steps


def _unit(name: str | None) -> str | None:
    return _MICROMETERS.get(name, name) if name else None
