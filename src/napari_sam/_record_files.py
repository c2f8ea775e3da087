"""Mask records on disk, in the formats of the command ``auto``: whole or not at all.

Knows which ending means what and what is in the files. A result is made completely before the first
of them is written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from napari_sam._result_files import LABEL_SUFFIXES, write_json, write_labels
from napari_sam.core.masks import MaskRecord, Overlap, records_to_labels
from napari_sam.errors import ImageError

__all__ = ["Format", "Result", "Target", "format_of", "write_all"]


class Format(StrEnum):
    """What a file holds."""

    LABELS = "labels"
    JSON = "json"
    COCO = "coco"
    GEOJSON = "geojson"


SUFFIXES = {
    Format.LABELS: LABEL_SUFFIXES,
    Format.JSON: (".json",),
    Format.COCO: (".json",),
    Format.GEOJSON: (".geojson", ".json"),
}


@dataclass(frozen=True)
class Target:
    """A file to write, and what goes into it."""

    path: Path
    format: Format


@dataclass(frozen=True, eq=False)
class Result:
    """What is written.

    Attributes
    ----------
    records
        Object i + 1 of every file is record i.
    shape
        (H, W) of the image.
    file_name
        Of the image.
    overlap
        What a label image shows where records overlap.
    provenance
        How they were made, as JSON values.
    """

    records: Sequence[MaskRecord]
    shape: tuple[int, int]
    file_name: str
    overlap: Overlap
    provenance: Mapping[str, Any]


def format_of(path: Path) -> Format | None:
    """What the ending of a name means; None for an unknown one. COCO is ``.coco.json``."""
    name = path.name.lower()
    if name.endswith(".coco.json"):
        return Format.COCO
    found = (kind for kind, suffixes in SUFFIXES.items() if path.suffix.lower() in suffixes)
    return next(found, None)


def write_all(targets: Sequence[Target], result: Result) -> None:
    """Make all results, then write them, each atomically.

    Raises
    ------
    MissingExtraError
        pycocotools is not installed.
    ImageError
        More objects than a PNG can hold.
    OSError
        The disk is full or may not be written.
    """
    for write in [_prepare(target, result) for target in targets]:
        write()


def _prepare(target: Target, result: Result) -> Callable[[], None]:
    path = target.path
    if target.format is Format.LABELS:
        if path.suffix.lower() == ".png" and len(result.records) > 65535:
            raise ImageError("A PNG holds 65535 objects at most: write .tif or .zarr instead.")
        labels = records_to_labels(result.records, result.shape, overlap=result.overlap)
        return lambda: write_labels(path, labels, provenance=result.provenance)
    makers: dict[Format, Callable[[Result], dict[str, Any]]] = {
        Format.JSON: _as_json,
        Format.COCO: _as_coco,
        Format.GEOJSON: _as_geojson,
    }
    value = makers[target.format](result)
    return lambda: write_json(path, value)


def _as_json(result: Result) -> dict[str, Any]:
    """Ours: positions are pixels (y, x), boxes y0, x0, y1, x1 of the outermost pixels."""
    return {
        "format": "napari-sam records 1",
        "shape": list(result.shape),
        "provenance": dict(result.provenance),
        "records": [
            {
                "id": number,
                "score": record.score,
                "stability": record.stability,
                "area": record.area,
                "box": list(record.box),
                "point": list(record.point),
                "crop": list(record.crop),
                "rle": record.rle(),
            }
            for number, record in enumerate(result.records, start=1)
        ],
    }


def _as_coco(result: Result) -> dict[str, Any]:
    from napari_sam.extras.coco import to_coco

    info = {"description": "napari-sam auto", "napari-sam": dict(result.provenance)}
    return to_coco(result.records, result.shape, file_name=result.file_name, info=info)


def _as_geojson(result: Result) -> dict[str, Any]:
    from napari_sam.extras.geojson import to_geojson

    return to_geojson(result.records, provenance=result.provenance)
