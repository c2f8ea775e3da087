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
PLANES, STACKS = ("YX", "YXC"), ("ZYX",)


@dataclass(frozen=True)
class Sample:
    """One labelled plane, or volume.

    Attributes
    ----------
    name
        Identifier within its pack, with the plane's number for a stack.
    modality, dataset
        As the manifest says.
    picture
        (H, W, 3) uint8, what the model sees under the default intensity; (Z, H, W, 3) of a volume.
    labels
        (H, W) int32, 0 background; (Z, H, W) of a volume.
    item
        The manifest's entry.
    root
        Folder that paths in the entry begin at, where there are any.
    """

    name: str
    modality: str
    dataset: str
    picture: NDArray[np.uint8]
    labels: NDArray[np.int32]
    item: Mapping[str, Any] = field(repr=False)
    root: Path | None = None


def read_manifest(pack: Path) -> dict[str, Any]:
    """Read a pack's manifest: ``items``, and ``pack`` and ``version`` where it has a name.

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
    manifest = content if isinstance(content, dict) else {"items": content}
    if not isinstance(manifest.get("items"), list):
        raise ImageError(f"{path} has no list of items.")
    return manifest


def select_items(
    pack: Path, *, datasets: tuple[str, ...] = (), axes: tuple[str, ...] = PLANES + STACKS
) -> list[dict[str, Any]]:
    """Labelled items of a pack in readable formats.

    Parameters
    ----------
    pack
        Folder with ``manifest.json``.
    datasets
        Only items whose id or dataset begins with one of these, in any case; all when empty.
    axes
        Only items with these axes.
    """
    wanted = tuple(name.casefold() for name in datasets)
    return [
        item
        for item in read_manifest(pack)["items"]
        if item.get("label")
        and item["axes"] in axes
        and not item["image"].endswith(".nii.gz")
        and not (pack / item["image"]).is_dir()  # a store, or a series of files
        and (
            not wanted
            or item["id"].casefold().startswith(wanted)
            or item["dataset"].casefold().startswith(wanted)
        )
    ]


def read_pack(
    pack: Path,
    *,
    datasets: tuple[str, ...] = (),
    axes: tuple[str, ...] = PLANES + STACKS,
    every_plane: int = 1,
) -> Iterator[Sample]:
    """Labelled planes of a pack, item by item.

    Parameters
    ----------
    pack, datasets, axes
        As for :func:`select_items`.
    every_plane
        Of stacks, take each so-many-th plane.
    """
    for item in select_items(pack, datasets=datasets, axes=axes):
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
    offset = 0 if (labels == 0).any() else 1
    return np.asarray(compact.reshape(labels.shape) + offset, np.int32)
