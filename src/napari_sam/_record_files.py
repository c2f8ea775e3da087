"""Mask records on disk, in the formats of the command ``auto``: whole or not at all.

Knows which ending means what and what is in the files. A result is made completely before the first
of them is written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.errors import ImageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_sam._result_files import Write
    from napari_sam.core.masks import MaskRecord

__all__ = ["Format", "Overlap", "Result", "Target", "format_of", "suffixes_of", "write_all"]

MOST_LABELS_IN_PNG = 65535


class Format(StrEnum):
    """What a file holds."""

    LABELS = "labels"
    JSON = "json"
    COCO = "coco"
    GEOJSON = "geojson"


class Overlap(StrEnum):
    """What a label image shows where objects overlap."""

    SMALLER = "smaller_on_top"
    SCORE = "score_on_top"
    LAYERS = "layers"  # both: as many label images as it takes


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

    records: "Sequence[MaskRecord]"
    shape: tuple[int, int]
    file_name: str
    overlap: Overlap
    provenance: Mapping[str, Any]


def format_of(path: Path) -> Format | None:
    """What the ending of a name means; None for an unknown one. COCO is ``.coco.json``."""
    if path.name.lower().endswith(".coco.json"):
        return Format.COCO
    return next((kind for kind in Format if path.suffix.lower() in suffixes_of(kind)), None)


def suffixes_of(kind: Format, overlap: Overlap = Overlap.SMALLER) -> tuple[str, ...]:
    """Endings that a file of a format may have; layers do not fit into every image file."""
    from napari_sam._result_files import LABEL_SUFFIXES, LAYER_SUFFIXES

    if kind is Format.LABELS:
        return LAYER_SUFFIXES if overlap is Overlap.LAYERS else LABEL_SUFFIXES
    return (".geojson", ".json") if kind is Format.GEOJSON else (".json",)


def labels_of(result: Result) -> "NDArray[np.uint32]":
    """The label image (H, W), or (L, H, W) where layers are wanted."""
    from napari_sam.core.masks import records_to_labels, records_to_layers

    if result.overlap is Overlap.LAYERS:
        return records_to_layers(result.records, result.shape)
    if result.overlap is Overlap.SCORE:
        return records_to_labels(result.records, result.shape, overlap="score_on_top")
    return records_to_labels(result.records, result.shape)


def write_all(
    targets: Sequence[Target],
    result: Result,
    *,
    overlay: Path | None = None,
    picture: "NDArray[np.uint8] | None" = None,
) -> None:
    """Make all results, then write them: all, or none if one cannot be written.

    Parameters
    ----------
    targets, result
        Where what is written.
    overlay
        Also draw the objects over ``picture`` (H, W, 3), in this PNG.

    Raises
    ------
    MissingExtraError
        pycocotools is not installed.
    ImageError
        More objects than a PNG can hold.
    OSError
        The disk is full or may not be written.
    """
    from napari_sam._result_files import write_together

    files = [(target.path, _writer(target, result)) for target in targets]
    if overlay is not None and picture is not None:
        files.append((overlay, _overlay_writer(result, picture)))
    write_together(files)


def _overlay_writer(result: Result, picture: "NDArray[np.uint8]") -> "Write":
    from napari_sam._result_files import draw_overlay, picture_writer
    from napari_sam.core.masks import records_to_labels

    return picture_writer(draw_overlay(picture, records_to_labels(result.records, result.shape)))


def _writer(target: Target, result: Result) -> "Write":
    from napari_sam._result_files import json_writer, labels_writer

    path = target.path
    if target.format is Format.LABELS:
        if path.suffix.lower() == ".png" and len(result.records) > MOST_LABELS_IN_PNG:
            raise ImageError("A PNG holds 65535 objects at most: write .tif or .zarr instead.")
        return labels_writer(path, labels_of(result), provenance=result.provenance)
    makers: dict[Format, Callable[[Result], dict[str, Any]]] = {
        Format.JSON: _as_json,
        Format.COCO: _as_coco,
        Format.GEOJSON: _as_geojson,
    }
    return json_writer(makers[target.format](result))


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
