"""Label images and overlays on disk, whole or not at all.

Knows file formats. A result appears under its name only when it is complete: it is written beside
its place and moved there. Faults are :class:`OSError` with a message for people.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from napari_sam.errors import ImageError
from napari_sam.volume.aside import move_there, remove

__all__ = [
    "LABEL_SUFFIXES",
    "Write",
    "check_output",
    "draw_overlay",
    "json_writer",
    "labels_writer",
    "move_there",
    "picture_writer",
    "write_labels",
    "write_picture",
    "write_together",
]

Labels = NDArray[np.unsignedinteger[Any]]
Provenance = Mapping[str, Any]
Write = Callable[[Path], None]  # makes a whole file, or folder, at a path

LABEL_SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".zarr")
LAYER_SUFFIXES = (".tif", ".tiff", ".npy")
PICTURE_SUFFIXES = (".png",)
PROVENANCE_KEY = "napari-sam"
MOST_LABELS_16_BIT = np.iinfo(np.uint16).max
OVERLAY_ALPHA = 0.35
GOLDEN_RATIO = 0.618034


def check_output(path: Path, *, force: bool, source: Path | None = None) -> None:
    """Refuse a place for a result before any work is done.

    Parameters
    ----------
    path
        Where the result is to go.
    force
        Whether an earlier result may be replaced.
    source
        The image that is read: never replaced.

    Raises
    ------
    OSError
        There is no such folder, something is there and ``force`` is off, or it is something that
        napari-sam does not replace (the image itself, a folder that is no label store).
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} for {path.name}.")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"You may not write to the folder {path.parent}.")
    if not path.exists():
        return
    if source is not None and source.exists() and path.samefile(source):
        raise FileExistsError(f"{path} is the image itself; choose another name for the result.")
    if not force:
        raise FileExistsError(f"{path} exists already; use --force to replace it.")
    if path.is_dir() and not _is_label_store(path):
        raise FileExistsError(f"{path} is a folder that napari-sam did not write: not replaced.")


def write_labels(path: Path, labels: NDArray[np.uint32], *, provenance: Provenance) -> None:
    """Write a label image, atomically; an earlier one is replaced.

    Parameters
    ----------
    path
        ``.tif``, ``.png`` (16 bit), ``.npy`` or ``.zarr`` (OME-Zarr 0.5 label image).
    labels
        (H, W), 0 background; for a ``.tif`` or ``.npy`` also (L, H, W). Stored as uint16, or as
        uint32 beyond 65535 objects.
    provenance
        How it was made, as JSON values; kept in the file (a ``.npy`` has no room for it).

    Raises
    ------
    ImageError
        More objects than a PNG can hold.
    OSError
        The disk is full or may not be written.
    """
    write_together([(path, labels_writer(path, labels, provenance=provenance))])


def labels_writer(
    path: Path, labels: NDArray[np.uint32], *, provenance: Provenance, axes: str = ""
) -> Write:
    """What makes the file of :func:`write_labels`, for :func:`write_together`.

    ``axes``: a letter for each axis, kept in a TIFF; empty: layers before y and x.

    Raises
    ------
    ImageError
        More objects than a PNG can hold.
    """
    large = labels.max(initial=0) > MOST_LABELS_16_BIT
    compact: Labels = labels if large else labels.astype(np.uint16)
    suffix = path.suffix.lower()
    if suffix == ".png" and large:
        raise ImageError("A PNG holds 65535 objects at most: write .tif or .zarr instead.")
    writers: dict[str, Write] = {
        ".png": lambda part: _write_png(part, compact, provenance),
        ".npy": lambda part: np.save(part, compact),
        ".zarr": lambda part: _write_zarr(part, compact, provenance),
    }
    return writers.get(suffix, lambda part: _write_tiff(part, compact, provenance, axes))


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) as a PNG, atomically."""
    write_together([(path, picture_writer(picture))])


def picture_writer(picture: NDArray[np.uint8]) -> Write:
    """What makes a PNG of (H, W, 3), for :func:`write_together`."""
    return lambda part: Image.fromarray(picture).save(part, format="png")


def json_writer(value: Mapping[str, Any]) -> Write:
    """What makes a file of JSON values as UTF-8, for :func:`write_together`."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)

    def write(part: Path) -> None:
        part.write_text(text, encoding="utf-8")

    return write


def write_together(files: Sequence[tuple[Path, Write]]) -> None:
    """Write several results: all are complete before the first appears under its name.

    Raises
    ------
    OSError
        One of them cannot be written: then nothing is there, and earlier results are as before.
    """
    parts = [path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}") for path, _ in files]
    try:
        for (_, write), part in zip(files, parts, strict=True):
            write(part)
        for (path, _), part in zip(files, parts, strict=True):
            move_there(part, path)
    finally:
        for part in parts:
            remove(part)


def draw_overlay(picture: NDArray[np.uint8], labels: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Objects in translucent colours with full outlines over a picture, both (H, W, ...)."""
    from skimage.color import hsv2rgb
    from skimage.segmentation import find_boundaries

    ids = np.arange(int(labels.max(initial=0)) + 1)
    hues = ids * GOLDEN_RATIO % 1  # neighbouring numbers get hues far apart
    colours = 255 * hsv2rgb(np.stack([hues, np.full(hues.shape, 0.8), np.ones(hues.shape)], -1))
    weight = np.where(find_boundaries(labels, mode="inner"), 1, OVERLAY_ALPHA) * (labels > 0)
    drawn = picture * (1 - weight[..., None]) + colours[labels] * weight[..., None]
    return np.asarray(np.rint(drawn), np.uint8)


def _write_png(part: Path, labels: Labels, provenance: Provenance) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text(PROVENANCE_KEY, json.dumps(provenance))
    Image.fromarray(labels).save(part, format="png", pnginfo=text)


def _write_tiff(part: Path, labels: Labels, provenance: Provenance, axes: str) -> None:
    letters = axes.upper() or ("YX" if labels.ndim == 2 else "QYX")
    tifffile.imwrite(
        part, labels, compression="zlib", photometric="minisblack",
        metadata={"axes": letters, PROVENANCE_KEY: provenance},
    )  # fmt: skip


def _write_zarr(part: Path, labels: Labels, provenance: Provenance) -> None:
    from yaozarrs import v05
    from yaozarrs.write.v05 import write_image

    axes = [v05.SpaceAxis(name="y"), v05.SpaceAxis(name="x")]
    unit_scale = v05.ScaleTransformation(scale=[1.0, 1.0])
    dataset = v05.Dataset(path="0", coordinateTransformations=[unit_scale])
    multiscale = v05.Multiscale(name="labels", axes=[*axes], datasets=[dataset])
    metadata = v05.LabelImage.model_validate({"multiscales": [multiscale], "image-label": {}})
    write_image(part, metadata, labels, extra_attributes={PROVENANCE_KEY: dict(provenance)})


def _is_label_store(path: Path) -> bool:
    try:
        metadata = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
        return PROVENANCE_KEY in metadata["attributes"]
    except (OSError, ValueError, LookupError, TypeError):
        return False
