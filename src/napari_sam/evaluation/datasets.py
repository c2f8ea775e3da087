"""Labelled images for evaluation and training: packs with a ``manifest.json``.

Knows file formats and label kinds; gives every plane as the 8-bit picture that a model sees, with
a label image. Knows nothing of models.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import label as connected_components

from napari_sam.core.intensity import to_picture
from napari_sam.errors import ImageError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Sample:
    """One labelled plane.

    Attributes
    ----------
    name
        Identifier within its pack, with the plane's number for a stack.
    modality, dataset
        As the manifest says.
    picture
        (H, W, 3) uint8, what the model sees under the default intensity.
    labels
        (H, W) int32, 0 background.
    item
        The manifest's entry.
    """

    name: str
    modality: str
    dataset: str
    picture: NDArray[np.uint8]
    labels: NDArray[np.int32]
    item: Mapping[str, Any] = field(repr=False)


def read_items(pack: Path) -> list[dict[str, Any]]:
    """Entries of a pack's manifest.

    Raises
    ------
    ImageError
        If the folder has no readable manifest.
    """
    path = pack / MANIFEST
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} is not a readable manifest: {error}") from error
    items: list[dict[str, Any]] = content["items"] if isinstance(content, dict) else content
    return items


def read_pack(
    pack: Path, *, datasets: tuple[str, ...] = (), every_plane: int = 1
) -> Iterator[Sample]:
    """Labelled planes of a pack, item by item.

    Parameters
    ----------
    pack
        Folder with ``manifest.json``.
    datasets
        Only datasets whose name begins with one of these; all when empty.
    every_plane
        Of stacks, take each so-many-th plane.
    """
    for item in read_items(pack):
        usable = item.get("label") and item["axes"] in ("YX", "YXC", "ZYX")
        wanted = not datasets or item["dataset"].startswith(datasets)
        if usable and wanted and not item["image"].endswith((".zarr", ".nii.gz")):
            yield from read_item(pack, item, every_plane=every_plane)


def read_item(pack: Path, item: Mapping[str, Any], *, every_plane: int = 1) -> Iterator[Sample]:
    """Planes of one item that have any label."""
    image = read_array(pack / item["image"])
    labels = read_array(pack / item["label"])
    if item["axes"] == "ZYX":
        planes = [(f"{item['id']}#{z}", image[z], labels[z]) for z in range(0, len(image))]
        planes = planes[::every_plane]
    else:
        planes = [(item["id"], image, labels)]
    for name, plane, plane_labels in planes:
        if plane_labels.any():
            yield Sample(
                name=name,
                modality=item["modality"],
                dataset=item["dataset"],
                picture=to_picture(plane),
                labels=as_instances(plane_labels, item["label_kind"]),
                item=item,
            )


def read_array(path: Path) -> NDArray[Any]:
    """Pixels of a PNG, JPEG or TIFF file."""
    if path.suffix.lower() in (".tif", ".tiff"):
        return np.asarray(tifffile.imread(path))
    with Image.open(path) as opened:
        return np.asarray(opened)


def as_instances(labels: NDArray[Any], kind: str) -> NDArray[np.int32]:
    """Label image with one label an object; semantic and binary maps by connected component."""
    if kind in ("binary", "semantic"):
        return np.asarray(connected_components(labels.astype(np.int32)), np.int32)
    _, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape).astype(np.int32)
    return compact if (labels == 0).any() else compact + 1
