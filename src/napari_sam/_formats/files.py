"""The one door to files of labels and objects: which endings there are, write and read.

A file is written whole or not at all; what cannot be read is told in one sentence and nothing
changes. The command line, the dock and napari's own Save dialog go through here.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam._formats import ome_zarr, pictures
from napari_sam._formats.object_set import ObjectSet, axes_of, paint
from napari_sam._result_files import Write, json_writer, write_together
from napari_sam.errors import ImageError, NapariSamError

__all__ = ["FORMATS", "FileFormat", "format_of", "read", "write"]


@dataclass(frozen=True)
class FileFormat:
    """A kind of file.

    Attributes
    ----------
    title
        For the user.
    endings
        Of its names; the first is the usual one.
    """

    title: str
    endings: tuple[str, ...]


TIFF = FileFormat("TIFF labels", (".tif", ".tiff"))
ZARR = FileFormat("OME-Zarr labels", (".zarr",))
PNG = FileFormat("PNG labels, 16 bit", (".png",))
COCO = FileFormat("COCO", (".coco.json", ".json"))
GEOJSON = FileFormat("GeoJSON (QuPath)", (".geojson",))
ROIS = FileFormat("ImageJ ROIs", (".zip", ".roi"))
FORMATS = (TIFF, ZARR, PNG, COCO, GEOJSON, ROIS)


def format_of(path: Path) -> FileFormat:
    """The format that a name means.

    Raises
    ------
    ImageError
        The ending is none of ours.
    """
    if ome_zarr.parent_image(path) is not None:
        return ZARR
    name = path.name.lower()
    for one in FORMATS:
        if name.endswith(one.endings):
            return one
    known = ", ".join(one.endings[0] for one in FORMATS)
    raise ImageError(f"{path.name!r} has no ending that is known: take one of {known}.")


def write(path: str | Path, objects: ObjectSet) -> None:
    """Write objects in the format that the ending says; an earlier file is replaced.

    Raises
    ------
    ImageError
        The format cannot hold them.
    MissingExtraError
        It needs a package that is not installed.
    StoreError
        Labels of this name cannot be.
    OSError
        The disk is full or may not be written.
    """
    path = Path(path)
    kind = format_of(path)
    if not path.parent.is_dir() and ome_zarr.parent_image(path) is None:
        raise FileNotFoundError(f"There is no folder {path.parent} for {path.name}.")
    if path.is_dir() != (kind is ZARR) and path.exists():
        raise FileExistsError(f"{path} is there and is something else: take another name.")
    if kind is ZARR:
        ome_zarr.write(path, objects)
    else:
        write_together([(path, _writer(path, kind, objects))])


def read(path: str | Path, shape: tuple[int, ...], *, image: str = "") -> ObjectSet:
    """Read objects for an image.

    Parameters
    ----------
    path
        Of the file or folder.
    shape
        Of the image, y and x last.
    image
        File name of the image, for files that speak of several.

    Raises
    ------
    ImageError
        The file cannot be read, or it is of an image with other pixels.
    MissingExtraError
        It needs a package that is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(f"There is no file {path}.")
    kind = format_of(path)
    try:
        found = _READERS[kind](path, shape, image)
        return _checked(path, found, shape)
    except (NapariSamError, MemoryError) as error:
        if isinstance(error, ImageError) and str(path) not in str(error):
            raise ImageError(f"{path}: {error}") from error
        raise
    except Exception as error:  # readers raise what they like at a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"{path} cannot be read as {kind.title}: {reason}") from error


def _writer(path: Path, kind: FileFormat, objects: ObjectSet) -> Write:
    if kind in (TIFF, PNG):
        return pictures.writer(path, objects)
    outlines, shape = list(objects.outlines()), objects.labels.shape
    info = {**objects.provenance, "image": objects.image}
    if kind is COCO:
        from napari_sam.extras.coco import outlines_to_coco

        return json_writer(
            outlines_to_coco(
                outlines, shape, file_name=objects.image, kinds=objects.kinds,
                info={"description": "napari-sam", "napari-sam": info},
            )
        )  # fmt: skip
    if kind is GEOJSON:
        from napari_sam.extras.geojson import outlines_to_geojson

        return json_writer(outlines_to_geojson(outlines, objects.axes, provenance=info))
    from napari_sam.extras.imagej import require, write_rois

    require()
    return lambda part: write_rois(part, outlines, shape, objects.axes, kinds=objects.kinds)


def _read_coco(path: Path, shape: tuple[int, ...], image: str) -> ObjectSet:
    from napari_sam.extras.coco import from_coco

    outlines, kinds = from_coco(_json(path), shape, file_name=image)
    return paint(outlines, shape, kinds=kinds)


def _read_geojson(path: Path, shape: tuple[int, ...], image: str) -> ObjectSet:
    from napari_sam.extras.geojson import from_geojson

    outlines, kinds, left_out = from_geojson(_json(path), shape, axes_of(len(shape)))
    return paint(outlines, shape, kinds=kinds, notes=_left_out(left_out))


def _read_rois(path: Path, shape: tuple[int, ...], image: str) -> ObjectSet:
    from napari_sam.extras.imagej import read_rois

    outlines, kinds, left_out = read_rois(path, shape, axes_of(len(shape)))
    return paint(outlines, shape, kinds=kinds, notes=_left_out(left_out))


_READERS: dict[FileFormat, Callable[[Path, tuple[int, ...], str], ObjectSet]] = {
    TIFF: lambda path, shape, image: pictures.read_tiff(path),
    PNG: lambda path, shape, image: pictures.read_png(path),
    ZARR: lambda path, shape, image: ome_zarr.read(path),
    COCO: _read_coco,
    GEOJSON: _read_geojson,
    ROIS: _read_rois,
}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _left_out(count: int) -> str:
    return f"{count} without a pixel in this image left out." if count else ""


def _checked(path: Path, found: ObjectSet, shape: tuple[int, ...]) -> ObjectSet:
    """Labels as we have them, or a sentence why not."""
    labels = found.labels
    if labels.dtype.kind not in "uib":
        raise ImageError(f"{path} has values of type {labels.dtype}; labels are whole numbers.")
    if labels.shape != shape:
        raise ImageError(
            f"{path} has {' x '.join(map(str, labels.shape))} pixels, the image"
            f" {' x '.join(map(str, shape))}: it belongs to another image."
        )
    if labels.dtype.kind == "i" and labels.min(initial=0) < 0:
        raise ImageError(f"{path} has negative values; labels start at 0.")
    if int(labels.max(initial=0)) > np.iinfo(np.uint32).max:
        raise ImageError(f"{path} has labels above {np.iinfo(np.uint32).max}.")
    return replace(found, labels=labels.astype(np.uint32))
