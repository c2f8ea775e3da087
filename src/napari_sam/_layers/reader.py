"""Opens an OME-Zarr image in napari: all its resolutions, lazily, with its labels.

Knows napari's layer tuples and OME-Zarr; reads no pixels but those in view. A layer remembers its
file, so that jobs read there what the window shows.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from napari_sam._layers.lazy_pixels import LazyPixels
from napari_sam.errors import ImageError
from napari_sam.volume.image import ImageRef
from napari_sam.volume.sources import open_source

FILE = "napari-sam file"  # key in a layer's metadata: FileOrigin as plain values
MOST_LEVELS = 16
PREFIXES = ("", "centi", "deci", "femto", "kilo", "mega", "micro", "milli", "nano", "pico")
UNITS = {prefix + unit for prefix in PREFIXES for unit in ("meter", "second")}
UNITS |= {"angstrom", "inch", "foot", "minute", "hour", "day"}
LayerTuple = tuple[Any, dict[str, Any], str]


def get_reader(path: str | Sequence[str]) -> Callable[[str], list[LayerTuple]] | None:
    """What napari asks of a reader: a function, or None for what is not ours."""
    if not isinstance(path, str) or not is_ome_zarr(Path(path)):
        return None
    return read_layers


def is_ome_zarr(path: Path) -> bool:
    """Whether a folder holds an OME-Zarr image, 0.4 or 0.5."""
    if not path.is_dir():
        return False
    try:
        return open_source(path, None).zarr_format is not None
    except ImageError:
        return False


def read_layers(path: str) -> list[LayerTuple]:
    """The image, a layer a channel, and its labels."""
    refs = levels_of(path)
    finest = refs[0]
    space = _space(finest)
    layers: list[LayerTuple] = []
    axis = finest.axes.find("c")
    for channel in [None] if axis < 0 else range(finest.channels or 0):
        data = [LazyPixels(_array(path, ref), axis=axis, channel=channel) for ref in refs]
        name = Path(path).stem if channel is None else f"{Path(path).stem} {channel}"
        origin = {
            "path": str(Path(path).resolve()),
            "levels": [ref.level for ref in refs],
            "axes": finest.axes.replace("c", ""),
            "channel": channel,
        }
        options = {"name": name, "metadata": {FILE: origin}, **space}
        if channel is not None and (finest.channels or 0) > 1:
            options |= {"blending": "additive", "visible": channel == 0}
        layers.append((data if len(data) > 1 else data[0], options, "image"))
    return layers + _labels(Path(path), finest)


def levels_of(path: str) -> list[ImageRef]:
    """All resolutions that are there, the finest first."""
    refs = [ImageRef.open(path)]
    for level in range(refs[0].level + 1, MOST_LEVELS):
        try:
            refs.append(ImageRef.open(path, level=level))
        except ImageError:
            break
    return refs


def _labels(path: Path, image: ImageRef) -> list[LayerTuple]:
    layers: list[LayerTuple] = []
    for folder in sorted((path / "labels").glob("*/")):
        if is_ome_zarr(folder):
            layers.append(label_tuple(folder, image))
    return layers


def label_tuple(folder: Path, image: ImageRef) -> LayerTuple:
    """A label image as napari's add_labels takes it: lazy, and always as it is on disk."""
    refs = levels_of(str(folder))
    arrays = [_array(str(folder), ref) for ref in refs]
    dtype = None if arrays[0].dtype.kind in "iu" else np.uint32
    data: list[Any] = [LazyPixels(array, dtype=dtype) for array in arrays]
    if len(data) == 1:  # napari lets the brush draw on these, in memory, which dask takes
        from_zarr: Callable[..., Any] = da.from_zarr
        data = [from_zarr(arrays[0]).astype(data[0].dtype)]
    # A level 0 that upstream has left out is left out of the labels' pixels, too.
    options = {
        "name": folder.name,
        "metadata": {FILE: {"path": str(folder.resolve()), "labels": True}},
        **_space(refs[0]),
    }
    return (data if len(data) > 1 else data[0], options, "labels")


def _array(path: str, ref: ImageRef) -> Any:
    return open_source(Path(path), ref.level).array


def _space(ref: ImageRef) -> dict[str, Any]:
    kept = [i for i, axis in enumerate(ref.axes) if axis != "c"]
    units = [ref.units[i] or "pixel" for i in kept]
    return {
        "scale": [ref.scale[i] for i in kept],
        "translate": [ref.translation[i] for i in kept],
        "units": units if _known(units) else None,
        "axis_labels": [ref.axes[i] for i in kept],
    }


def _known(units: Sequence[str]) -> bool:
    """Whether napari knows all of these: a word of a microscope may be none."""
    return all(unit == "pixel" or unit in UNITS for unit in units)
