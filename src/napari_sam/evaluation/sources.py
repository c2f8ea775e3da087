"""Labelled images of any kind as one value: what there is, and its planes and volumes.

Knows axes and labels; files are known by ``image_folders.py`` and ``coco_images.py``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.intensity import to_picture
from napari_sam.errors import ImageError
from napari_sam.evaluation.datasets import MANIFEST, Sample, as_instances
from napari_sam.volume.image import ImageRef, Plane

Item = Mapping[str, Any]
"""What is known of an image: as an entry of a pack's manifest, and with the same names."""


@dataclass(frozen=True)
class Source:
    """Labelled images.

    Attributes
    ----------
    name, version
        For the report.
    items
        Each with ``id``, ``modality``, ``dataset``, ``label_kind``, ``gt_origin``.
    read
        Image and labels of an item; axes that both have are of one length.
    root
        Folder that paths in the items begin at; None where there are none.
    """

    name: str
    version: object
    items: tuple[Item, ...]
    read: Callable[[Item], tuple[ImageRef, ImageRef]]
    root: Path | None = None

    def only(self, datasets: tuple[str, ...]) -> "Source":
        """Only items whose id or data set begins with one of these, in any case; all for none."""
        wanted = tuple(name.casefold() for name in datasets)
        kept = [
            item
            for item in self.items
            if not wanted
            or str(item["id"]).casefold().startswith(wanted)
            or str(item["dataset"]).casefold().startswith(wanted)
        ]
        return replace(self, items=tuple(kept))

    def planes(self, item: Item, most: int) -> Iterator[Sample]:
        """Labelled planes of an item, at most ``most``, evenly spread; stacks count them by t, z.

        Raises
        ------
        ImageError
            Image and labels do not fit together, or cannot be read.
        """
        image, labels = self.read(item)
        _check_fit(item, image, labels)
        labelled = [plane for plane in labels.planes if labels.read(plane).any()]
        for plane in _spread(labelled, most):
            yield Sample(
                name=_name(item, labels, plane),
                modality=str(item["modality"]),
                dataset=str(item["dataset"]),
                picture=to_picture(image.read(_plane_of(image, plane))),
                labels=as_instances(_flat(labels.read(plane)), item["label_kind"]),
                item=item,
                root=self.root,
            )

    def volume(self, item: Item) -> Sample:
        """A stack with all its planes: picture (Z, H, W, 3), labels (Z, H, W).

        One intensity range for all planes, as the plugin takes it.

        Raises
        ------
        ImageError
            As for :meth:`planes`.
        """
        image, labels = self.read(item)
        _check_fit(item, image, labels)
        stack = np.stack([image.read((0, z)) for z in range(image.depth)])
        depth, height = stack.shape[:2]
        tall = to_picture(stack.reshape(depth * height, *stack.shape[2:]))
        truth = np.stack([_flat(labels.read((0, z))) for z in range(labels.depth)])
        return Sample(
            name=str(item["id"]),
            modality=str(item["modality"]),
            dataset=str(item["dataset"]),
            picture=tall.reshape(depth, height, *tall.shape[1:]),
            labels=as_instances(truth, item["label_kind"]),
            item=item,
            root=self.root,
        )


def open_images(path: Path) -> Source:
    """Open labelled images.

    Parameters
    ----------
    path
        A pack (a folder with ``manifest.json``), a COCO ``.json``, an OME-Zarr image with labels,
        or a folder of images with label images: see ``image_folders.py``.

    Raises
    ------
    ImageError
        It is none of these, or nothing in it is labelled.
    MissingExtraError
        COCO needs ``pycocotools``.
    """
    from napari_sam.evaluation.coco_images import open_coco
    from napari_sam.evaluation.image_folders import open_folder, open_pack, open_zarr

    if (path / MANIFEST).exists():
        source = open_pack(path)
    elif path.suffix.lower() == ".json":
        source = open_coco(path)
    elif (path / "labels" / "zarr.json").exists() or (path / "labels" / ".zattrs").exists():
        source = open_zarr(path)
    elif path.is_dir():
        source = open_folder(path)
    else:
        raise ImageError(
            f"{path} is no folder with images, no OME-Zarr image with labels and no COCO .json."
        )
    if not source.items:
        raise ImageError(f"{path} has no labelled images.")
    return source


def _spread(planes: list[Plane], most: int) -> list[Plane]:
    """At most so many, evenly spread, the middle of each part."""
    count = min(most, len(planes))
    return [planes[(2 * k + 1) * len(planes) // (2 * count)] for k in range(count)]


def _plane_of(image: ImageRef, plane: Plane) -> Plane:
    """The image's plane under a plane of labels: 0 along an axis that the image does not have."""
    t, z = plane
    return (t if image.times > 1 else 0, z if image.depth > 1 else 0)


def _name(item: Item, labels: ImageRef, plane: Plane) -> str:
    numbers = [plane[i] for i, count in enumerate((labels.times, labels.depth)) if count > 1]
    return "#".join([str(item["id"]), *(str(number) for number in numbers)])


def _flat(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels (H, W), whatever a file made of them: colours of one mask are all alike."""
    return labels if labels.ndim == 2 else labels.max(2)


def _check_fit(item: Item, image: ImageRef, labels: ImageRef) -> None:
    alike = image.size == labels.size and all(
        theirs in (1, own)
        for own, theirs in ((image.times, labels.times), (image.depth, labels.depth))
    )
    if not alike:
        raise ImageError(
            f"{item['id']}: the labels ({labels.describe()}) do not fit the image"
            f" ({image.describe()})."
        )
