"""Tracked labels as one file: .tif, .npy or .zarr, written frame by frame."""

import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_sam.errors import TrackingError
from napari_sam.progress import Progress
from napari_sam.tracking.relabel import Relabelled
from napari_sam.volume.aside import remove, written_aside
from napari_sam.volume.image import ImageRef
from napari_sam.volume.ome import LabelImage

__all__ = ["SUFFIXES", "write_tracked"]

PROVENANCE = "napari-sam"
SUFFIXES = (".tif", ".tiff", ".npy", ".zarr")
Provenance = Mapping[str, Any]
_BIG = 2**32 - 2**25
_TILE = (1024, 1024)


def write_tracked(
    labels: Relabelled, path: Path, *, provenance: Provenance
) -> Generator[Progress, None, None]:
    """Write labels by track; the file appears when it is complete.

    Parameters
    ----------
    labels
        (t, [z,] y, x); one frame at a time is in memory.
    path
        ``.tif`` (OME-TIFF with time, compressed), ``.npy`` or ``.zarr`` (OME-Zarr 0.5 labels).
        Replaced if it is there.
    provenance
        How they were made, as JSON values; kept in the file (a ``.npy`` has no room for it).

    Yields
    ------
    Progress
        After each frame.

    Raises
    ------
    TrackingError
        Another ending, or the labels have changed since they were tracked.
    OSError
        The disk is full or may not be written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise TrackingError(f"{path.name}: labels are written as {', '.join(SUFFIXES)}.")
    writer = {".npy": _write_npy, ".zarr": _write_zarr}.get(suffix, _write_tiff)
    with written_aside(path) as part:
        for time in writer(labels, part, provenance):
            yield Progress(time + 1, labels.shape[0], f"writing {path.name}")


def _write_npy(labels: Relabelled, part: Path, _: Provenance) -> Iterator[int]:
    array = np.lib.format.open_memmap(part, "w+", labels.dtype, labels.shape)
    for time in range(labels.shape[0]):
        array[time] = labels.frame(time)
        yield time
    array.flush()


def _write_tiff(labels: Relabelled, part: Path, provenance: Provenance) -> Iterator[int]:
    """Page by page, so that not all of it is in memory; the first tells the axes, as OME-XML."""
    size = int(np.prod(labels.shape)) * labels.dtype.itemsize
    with tifffile.TiffWriter(part, bigtiff=size > _BIG) as tiff:
        described = _ome_xml(labels, provenance)
        for time in range(labels.shape[0]):
            frame = labels.frame(time)
            for page in frame.reshape(-1, *frame.shape[-2:]):
                tiff.write(
                    page, compression="zlib", photometric="minisblack", metadata=None,
                    description=described, contiguous=False,
                )  # fmt: skip
                described = b""
            yield time


def _ome_xml(labels: Relabelled, provenance: Provenance) -> bytes:
    series = labels.series
    units = dict(zip(series.image.axes, series.image.units, strict=True))
    told: dict[str, Any] = {"Description": json.dumps(provenance)}
    for axis, step in zip("ZYX"[-len(series.spacing) :], series.spacing, strict=True):
        if unit := _SYMBOLS.get(units.get(axis.lower()) or ""):
            told |= {f"PhysicalSize{axis}": step, f"PhysicalSize{axis}Unit": unit}
    xml = tifffile.OmeXml()
    height, width = labels.shape[-2:]
    stored = (int(np.prod(labels.shape[:-2])), 1, 1, height, width, 1)
    xml.addimage(labels.dtype, labels.shape, stored, axes=series.axes.upper(), **told)
    return xml.tostring().encode("ascii", "xmlcharrefreplace")


_SYMBOLS = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm"}


def _write_zarr(labels: Relabelled, part: Path, provenance: Provenance) -> Iterator[int]:
    """An OME-Zarr label image of its own, with a pyramid."""
    given = labels.series.image
    lengths = dict(zip(given.axes, zip(given.scale, given.units, strict=True), strict=True))
    axes = labels.series.axes
    steps = ((lengths["t"][0]), *labels.series.spacing)
    image = replace(
        ImageRef.open(labels, axes=axes), scale=steps, units=tuple(lengths[a][1] for a in axes)
    )
    root = part.with_suffix(".root")
    made_from = {"by": "napari-sam track"}
    try:
        label = LabelImage.create(
            root, "labels", image, dtype=labels.dtype.name, tile=_TILE, made_from=made_from
        )
        for time in range(labels.shape[0]):
            region = (slice(time, time + 1), *(slice(0, n) for n in labels.shape[1:]))
            label.write_block(region, labels.frame(time)[None])
            yield time
        label.describe({}, {PROVENANCE: dict(provenance)})
        label.finish(len(labels.lineage.tracks))
        (root / "labels" / "labels").rename(part)
    finally:
        remove(root)
