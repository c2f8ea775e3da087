"""A COCO data set as a :class:`~napari_sam.evaluation.sources.Source`. Knows COCO's JSON."""

import json
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import ImageError
from napari_sam.evaluation.datasets import read_array
from napari_sam.evaluation.sources import Item, Source
from napari_sam.volume.image import ImageRef


def open_coco(path: Path) -> Source:
    """Open a COCO file of instances: polygons or run lengths.

    Images lie beside the file or in its folder ``images``. A label image holds one object a pixel:
    where annotations overlap, the smaller one lies on top. An image with a crowd region counts as
    annotated in part.

    Raises
    ------
    ImageError
        The file is not COCO.
    MissingExtraError
        ``pycocotools`` is not installed.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images, annotations = content["images"], content["annotations"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageError(
            f"{path} is no COCO file of instances with images and annotations: {error!r}"
        ) from error
    by_image: dict[object, list[dict[str, Any]]] = defaultdict(list)
    for annotation in annotations:
        by_image[annotation["image_id"]].append(annotation)

    def read(item: Item) -> tuple[ImageRef, ImageRef]:
        picture = read_array(_find(path.parent, item["image"]))
        labels = paint(by_image[item["coco_id"]], (picture.shape[0], picture.shape[1]))
        axes = "yx" if picture.ndim == 2 else "yxc"
        return ImageRef.open(picture, axes=axes), ImageRef.open(labels, axes="yx")

    items = [
        {
            "id": f"{path.stem}/{image['file_name']}",
            "coco_id": image["id"],
            "image": image["file_name"],
            "modality": path.stem,
            "dataset": path.stem,
            "label_kind": "instance",
            "gt_origin": "as given",
            "sparse_annotation": any(a.get("iscrowd") for a in by_image[image["id"]]),
        }
        for image in images
        if by_image.get(image["id"])
    ]
    return Source(path.stem, None, tuple(items), read, path.parent)


def paint(annotations: list[dict[str, Any]], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Label image (H, W) of an image's annotations, larger ones first; crowds are left out."""
    from napari_sam.extras.coco import require

    coding: Any = require()
    masks = []
    for annotation in annotations:
        outline = annotation["segmentation"]
        if annotation.get("iscrowd") or not outline:
            continue
        if isinstance(outline, list):
            code = coding.merge(coding.frPyObjects(outline, *shape))
        elif isinstance(outline["counts"], list):
            code = coding.frPyObjects(outline, *shape)
        else:
            code = outline
        with warnings.catch_warnings():  # pycocotools does not know numpy 2's copy keyword
            warnings.simplefilter("ignore", DeprecationWarning)
            masks.append(coding.decode(code).astype(bool))
    labels = np.zeros(shape, np.int32)
    for number, mask in enumerate(sorted(masks, key=np.count_nonzero, reverse=True), 1):
        labels[mask] = number
    return labels


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / "images" / name):
        if path.exists():
            return path
    raise ImageError(f"{name} lies neither in {folder} nor in {folder / 'images'}.")
