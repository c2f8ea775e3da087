"""Masks as a COCO data set, written and read. Needs the extra ``[coco]`` (pycocotools)."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from napari_sam.core.masks import MaskRecord
from napari_sam.core.outlines import Outline
from napari_sam.core.regions import Mask, tight_region
from napari_sam.core.rle import encode_patch
from napari_sam.errors import ImageError, MissingExtraError

__all__ = ["from_coco", "outlines_to_coco", "require", "to_coco"]

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


def outlines_to_coco(
    outlines: Sequence[Outline],
    shape: tuple[int, ...],
    *,
    file_name: str,
    kinds: Mapping[str, str],
    info: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """An image for each plane with its outlines, as JSON values.

    Parameters
    ----------
    outlines
        An annotation each; ``object_id`` says which belong to one object.
    shape
        Of the whole image, y and x last.
    file_name
        Of the image.
    kinds
        Class -> colour. Objects of no class are in the category ``object``.
    info
        What goes into COCO's ``info``.

    Raises
    ------
    MissingExtraError
        pycocotools is not installed.
    """
    coco = require()
    *planes, height, width = shape
    images = [
        {"id": number, "file_name": file_name, "height": height, "width": width}
        | ({"plane": list(plane)} if plane else {})
        for number, plane in enumerate(product(*map(range, planes)), start=1)
    ]
    categories = [CATEGORY, *_categories(kinds)]
    ids = {name: number for number, name in enumerate(["", *kinds], start=1)}
    return {
        "info": dict(info or {}),
        "images": images,
        "categories": categories,
        "annotations": [
            {
                "id": number,
                "image_id": 1 + int(np.ravel_multi_index(one.plane, planes)) if planes else 1,
                "category_id": ids[one.kind],
                **_shape(encode_patch(one.mask, one.region, (height, width)), coco),
                "object_id": one.number,
                "reviewed": one.reviewed,
            }
            | ({} if one.score is None else {"score": one.score})
            for number, one in enumerate(outlines, start=1)
        ],
    }


def from_coco(
    value: Mapping[str, Any], shape: tuple[int, ...], *, file_name: str = ""
) -> tuple[list[Outline], dict[str, str]]:
    """The outlines of an image, and its classes with their colours.

    Parameters
    ----------
    value
        What the JSON file says; run lengths or polygons.
    shape
        Of the image, y and x last.
    file_name
        Of the image: which one is meant where a data set has several.

    Raises
    ------
    ImageError
        It is no COCO data set, this image is not in it, or its pixels are others.
    MissingExtraError
        pycocotools is not installed.
    """
    coco = require()
    try:
        images = _planes(value["images"], shape, file_name)
        ours = any(one == CATEGORY for one in value["categories"])
        names = {one["id"]: str(one["name"]) for one in value["categories"]}
        colours = {str(one["name"]): str(one.get("color", "")) for one in value["categories"]}
        if ours:
            names[CATEGORY["id"]] = ""
        found = list(_outlines(value["annotations"], images, names, shape, coco))
    except (LookupError, TypeError, AttributeError) as error:
        raise ImageError(f"this is no COCO data set: {type(error).__name__} {error}.") from error
    used = [names[one["id"]] for one in value["categories"]]
    return found, {name: colours[name] for name in used if name}


def _categories(kinds: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for number, (name, colour) in enumerate(kinds.items(), start=2):
        yield {"id": number, "name": name} | ({"color": colour} if colour else {})


def _planes(
    images: Sequence[Mapping[str, Any]], shape: tuple[int, ...], file_name: str
) -> dict[int, tuple[int, ...]]:
    """Id of an image -> its plane."""
    if len(images) > 1 and not all("plane" in one for one in images):
        images = [one for one in images if one["file_name"].split("/")[-1] == file_name]
        if len(images) != 1:
            raise ImageError(f"of its several images, {len(images)} are called {file_name!r}.")
    planes = {int(one["id"]): tuple(map(int, one.get("plane", ()))) for one in images}
    sizes = {(int(one["height"]), int(one["width"])) for one in images}
    leading = shape[:-2]
    fits = all(
        len(plane) == len(leading) and all(i < n for i, n in zip(plane, leading, strict=True))
        for plane in planes.values()
    )
    if sizes != {shape[-2:]} or not fits:
        raise ImageError(f"its images are {sorted(sizes)} (height, width), yours is {shape}.")
    return planes


def _outlines(
    annotations: Sequence[Mapping[str, Any]],
    images: Mapping[int, tuple[int, ...]],
    names: Mapping[int, str],
    shape: tuple[int, ...],
    coco: Any,
) -> Iterator[Outline]:
    height, width = shape[-2:]
    for one in annotations:
        if one["image_id"] not in images:
            continue
        mask = _mask(one["segmentation"], (height, width), coco)
        region = tight_region(mask)
        if mask.any():
            score = one.get("score", one.get("predicted_iou"))
            yield Outline(
                np.ascontiguousarray(mask[region]),
                (region[0].start, region[1].start),
                int(one.get("object_id", 0)),
                images[one["image_id"]],
                names[one["category_id"]],
                score=None if score is None else float(score),
                reviewed=bool(one.get("reviewed", False)),
            )


def _mask(segmentation: Any, size: tuple[int, int], coco: Any) -> Mask:
    """(H, W) of run lengths, compressed or not, or of polygons."""
    if isinstance(segmentation, Mapping) and tuple(segmentation["size"]) != size:
        raise ImageError(f"a mask in it has {segmentation['size']} pixels, the image {list(size)}.")
    if isinstance(segmentation, Mapping) and isinstance(segmentation["counts"], str):
        runs: Any = {**segmentation, "counts": segmentation["counts"].encode("ascii")}
    else:
        runs = coco.frPyObjects(segmentation, *size)
    merged = coco.merge(runs) if isinstance(runs, list) else runs
    return np.asarray(coco.decode(merged)).astype(bool)


def _annotation(number: int, record: MaskRecord, coco: Any) -> dict[str, Any]:
    y0, x0, y1, x1 = record.crop
    return {
        "id": number,
        "image_id": 1,
        "category_id": CATEGORY["id"],
        **_shape(record.rle(), coco),
        "predicted_iou": record.score,
        "stability_score": record.stability,
        "point_coords": [[record.point[1], record.point[0]]],
        "crop_box": [x0, y0, x1 - x0, y1 - y0],
    }


def _shape(runs: dict[str, Any], coco: Any) -> dict[str, Any]:
    """What COCO says of a mask."""
    packed = coco.frPyObjects(runs, *runs["size"])
    return {
        "segmentation": {"size": runs["size"], "counts": packed["counts"].decode("ascii")},
        "area": sum(runs["counts"][1::2]),
        "bbox": coco.toBbox(packed).tolist(),
        "iscrowd": 0,
    }
