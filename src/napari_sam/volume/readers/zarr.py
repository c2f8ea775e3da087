"""OME-Zarr 0.4 and 0.5 and plain zarr arrays, in a folder or at an address."""

import warnings
from typing import Any

import numpy as np

from napari_sam.errors import ImageError
from napari_sam.volume.lazy_image import LazyImage, Where, guess_axes, known_levels, plain

__all__ = ["open_zarr"]


def open_zarr(path: Where, level: int | None, store: Any = None) -> LazyImage:
    """Open an array or the image of a group; ``store`` is what is at an address.

    Raises
    ------
    ImageError
        There is none, its metadata are wrong, or it has no such level.
    """
    import zarr

    try:
        opened = zarr.open(store or path, mode="r")
    except FileNotFoundError as error:
        raise ImageError(f"There is no zarr at {path}.") from error
    if isinstance(opened, zarr.Array):
        known_levels(path, level)
        names: Any = getattr(opened.metadata, "dimension_names", None)
        known = names and all(name and name.lower() in "tczyx" for name in names)
        axes = "".join(names).lower() if known else guess_axes(opened.shape)
        return plain(opened, axes)
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
    written_to = opened.metadata.zarr_format if store is None else None
    return LazyImage(array, axes, chosen, scale, translation, units, written_to)


def _multiscale(path: Where, attributes: dict[str, Any]) -> Any:
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


def _letter(path: Where, name: str) -> str:
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
