"""Nikon ND2 through nd2 (extra ``nd2``)."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from napari_sam.errors import ImageError, missing_extra
from napari_sam.volume.lazy_image import LazyImage, known_levels

__all__ = ["open_nd2"]


def open_nd2(path: Path, level: int | None, closing: ExitStack) -> LazyImage:
    """Open it.

    Raises
    ------
    MissingExtraError
        nd2 is not installed.
    ImageError
        It has several positions, or other axes than t, c, z, y, x.
    """
    try:
        import nd2
    except ImportError as error:
        raise missing_extra("ND2", "nd2", "nd2") from error

    file: Any = closing.enter_context(nd2.ND2File(path))
    sizes = dict(file.sizes)
    array: Any = file.to_dask(wrapper=False)
    if sizes.get("P", 1) > 1:
        raise ImageError(f"{path} has {sizes['P']} positions of the stage; export one of them.")
    dropped = tuple(0 if axis == "P" else slice(None) for axis in sizes)
    array = array[dropped]
    axes = "".join(axis for axis in sizes if axis != "P").replace("S", "c").lower()
    if set(axes) - set("tczyx") or len(set(axes)) != len(axes):
        raise ImageError(f"{path} has the axes {', '.join(sizes)}; known are T, C or S, Z, Y, X.")
    steps = file.voxel_size()
    scale = tuple(float(getattr(steps, a)) if a in "zyx" else 1.0 for a in axes)
    units = tuple("micrometer" if a in "zyx" else None for a in axes)
    return LazyImage(array, axes, known_levels(path, level), scale, (0.0,) * len(axes), units)
