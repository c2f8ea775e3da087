"""Mask records as a COCO data set of one image. Needs the extra ``[coco]`` (pycocotools)."""

from collections.abc import Mapping, Sequence
from typing import Any

from napari_sam.core.masks import MaskRecord
from napari_sam.errors import MissingExtraError

__all__ = ["require", "to_coco"]

CATEGORY = {"id": 1, "name": "object"}


def require() -> Any:
    """``pycocotools.mask``.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise MissingExtraError(
            'COCO needs pycocotools: pip install "napari-sam[coco]", from this repository.'
        ) from error
    return mask


def to_coco(
    records: Sequence[MaskRecord],
    shape: tuple[int, int],
    *,
    file_name: str,
    info: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One image with an annotation for each record, as JSON values.

    Parameters
    ----------
    records
        Annotation i + 1 is record i.
    shape
        (H, W) of the image.
    file_name
        Of the image.
    info
        What goes into COCO's ``info``.

    Returns
    -------
    dict
        Compressed run lengths, boxes ``[x, y, width, height]`` in pixels, and what COCO has no
        word for under the names of the official generator: ``predicted_iou``, ``stability_score``,
        ``point_coords`` [[x, y]], ``crop_box`` [x, y, width, height].

    Raises
    ------
    MissingExtraError
        pycocotools is not installed.
    """
    coco = require()
    height, width = shape
    return {
        "info": dict(info or {}),
        "images": [{"id": 1, "file_name": file_name, "height": height, "width": width}],
        "categories": [CATEGORY],
        "annotations": [
            _annotation(number, record, coco) for number, record in enumerate(records, start=1)
        ],
    }


def _annotation(number: int, record: MaskRecord, coco: Any) -> dict[str, Any]:
    runs = record.rle()
    packed = coco.frPyObjects(runs, *runs["size"])
    y0, x0, y1, x1 = record.crop
    return {
        "id": number,
        "image_id": 1,
        "category_id": CATEGORY["id"],
        "segmentation": {"size": runs["size"], "counts": packed["counts"].decode("ascii")},
        "area": record.area,
        "bbox": coco.toBbox(packed).tolist(),
        "iscrowd": 0,
        "predicted_iou": record.score,
        "stability_score": record.stability,
        "point_coords": [[record.point[1], record.point[0]]],
        "crop_box": [x0, y0, x1 - x0, y1 - y0],
    }
