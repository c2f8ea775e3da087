"""TIFF, OME-TIFF, BigTIFF and ImageJ's, through tifffile's zarr view."""

from contextlib import ExitStack
from typing import Any

import tifffile

from napari_sam.errors import ImageError
from napari_sam.volume.lazy_image import LazyImage, Where, known_levels, unit_of

__all__ = ["open_tiff"]


def open_tiff(path: Where, file: Any, level: int | None, closing: ExitStack) -> LazyImage:
    """Open the first series of a file (a path, or what can be read and sought).

    Raises
    ------
    ImageError
        There is none, or it has no such level or unknown axes.
    """
    import zarr

    tiff = closing.enter_context(tifffile.TiffFile(file))
    if not tiff.series:
        raise ImageError(f"{path} holds no image.")
    series = tiff.series[0]
    chosen = known_levels(path, level, len(series.levels))
    store = closing.enter_context(series.aszarr(level=chosen))
    array: Any = zarr.open_array(store, mode="r")
    axes = _tiff_axes(path, series.axes)
    steps = _tiff_scale(tiff)
    finest = dict(zip(axes, series.levels[0].shape, strict=True))
    factors = [finest[a] / n if a in "yx" else 1.0 for a, n in zip(axes, array.shape, strict=True)]
    scale = tuple(steps.get(a, (1.0, None))[0] * f for a, f in zip(axes, factors, strict=True))
    units = tuple(steps.get(a, (1.0, None))[1] for a in axes)
    return LazyImage(array, axes, chosen, scale, (0.0,) * len(axes), units)


def _tiff_axes(path: Where, names: str) -> str:
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
                   unit_of(pixels.get(f"PhysicalSize{axis.upper()}Unit", "µm")))
            for axis in "zyx"
            if pixels.get(f"PhysicalSize{axis.upper()}")
        }  # fmt: skip
    told: dict[str, Any] = tiff.imagej_metadata or {}
    unit = unit_of(told.get("unit"))
    steps = {}
    if told.get("spacing"):
        steps["z"] = (float(told["spacing"]), unit)
    tags: Any = tiff.pages[0]
    for axis, name in (("y", "YResolution"), ("x", "XResolution")):
        tag = tags.tags.get(name)
        if unit and tag is not None and tag.value[0]:
            steps[axis] = (tag.value[1] / tag.value[0], unit)
    return steps
