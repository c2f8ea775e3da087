"""Files with labels as a :class:`~napari_sam.evaluation.sources.Source`: packs, folders, OME-Zarr.

Knows names and formats of files; knows nothing of what is done with the images.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from napari_sam.errors import ImageError
from napari_sam.evaluation.datasets import read_array, read_manifest
from napari_sam.evaluation.sources import Item, Source
from napari_sam.volume.image import ImageRef

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
MARKS = ("_label", "_labels", "_mask", "_masks")  # what a label image's name has more
LABEL_FOLDERS = ("labels", "masks")
UNKNOWN = "as given"  # how the labels of an own folder came about
PACKED = (*IMAGES, ".zarr", ".nii", ".nii.gz")  # a pack may also have folders: DICOM, frames
READABLE_AXES = frozenset("TCZYX")


def open_pack(pack: Path) -> Source:
    """Open a pack: a folder with ``manifest.json``, each entry with an image and its labels.

    Raises
    ------
    ImageError
        The manifest cannot be read.
    """
    manifest = read_manifest(pack)

    def read(item: Item) -> tuple[ImageRef, ImageRef]:
        paths = pack / item["image"], pack / item["label"]
        if item.get("n_frames"):
            return _read_frames(*paths)
        image = _open(paths[0], item["axes"])
        return image, _open(paths[1], item.get("label_axes") or item["axes"].replace("C", ""))

    items = [item for item in manifest["items"] if _is_readable(item)]
    return Source(
        manifest.get("pack", pack.name), manifest.get("version"), tuple(items), read, pack
    )


def open_folder(folder: Path) -> Source:
    """Open a folder of images with label images, each object one number, 0 background.

    Either ``images/a.tif`` with ``labels/a.png`` (or ``masks/``), or ``a.tif`` beside
    ``a_label.png`` (or ``_labels``, ``_mask``, ``_masks``). The folder's name is the row of the
    report.
    """
    pairs = dict(_pairs(folder))
    items = tuple(
        {
            "id": f"{folder.name}/{name}",
            "image": image.relative_to(folder).as_posix(),
            "label": labels.relative_to(folder).as_posix(),
            **_unknown(folder.name),
        }
        for name, (image, labels) in sorted(pairs.items())
    )

    def read(item: Item) -> tuple[ImageRef, ImageRef]:
        return _open(folder / item["image"]), _open(folder / item["label"])

    return Source(folder.name, None, items, read, folder)


def open_zarr(path: Path) -> Source:
    """Open an OME-Zarr image with labels: an item for each label image."""
    names = sorted(p.name for p in (path / "labels").iterdir() if p.is_dir())
    items = tuple(
        {"id": f"{path.name}/{name}", "label": f"labels/{name}", **_unknown(path.stem)}
        for name in names
    )

    def read(item: Item) -> tuple[ImageRef, ImageRef]:
        return ImageRef.open(path), ImageRef.open(path / item["label"])

    return Source(path.name, None, items, read, path)


def _unknown(name: str) -> dict[str, str]:
    return {"modality": name, "dataset": name, "label_kind": "instance", "gt_origin": UNKNOWN}


def _is_readable(item: Item) -> bool:
    """Whether an entry has labels and its file is of a kind that is read."""
    path = PurePosixPath(item["image"])
    known = not path.suffix or path.name.endswith(PACKED)
    return bool(item.get("label")) and known and set(item["axes"]) <= READABLE_AXES


def _pairs(folder: Path) -> Iterator[tuple[str, tuple[Path, Path]]]:
    """Name, and paths of image and labels."""
    files = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGES]
    by_stem = {p.stem: p for p in files}
    for stem, path in by_stem.items():
        for mark in MARKS:
            if f"{stem}{mark}" in by_stem:
                yield stem, (path, by_stem[f"{stem}{mark}"])
    for name in LABEL_FOLDERS:
        if (folder / "images").is_dir() and (folder / name).is_dir():
            labels = {p.stem: p for p in (folder / name).iterdir() if p.suffix.lower() in IMAGES}
            for path in sorted((folder / "images").iterdir()):
                for stem in (path.stem, *(f"{path.stem}{mark}" for mark in MARKS)):
                    if path.suffix.lower() in IMAGES and stem in labels:
                        yield path.stem, (path, labels[stem])


def _open(path: Path, axes: str | None = None) -> ImageRef:
    """An image file with its axes; pictures are read whole."""
    letters = axes.lower() if axes else None
    if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
        array = read_array(path)
        return ImageRef.open(array, axes="yxc" if array.ndim == 3 else "yx")
    if path.suffix.lower() in (".tif", ".tiff"):
        return ImageRef.open(read_array(path), axes=letters)
    return ImageRef.open(path, axes=letters)


def _read_frames(images: Path, labels: Path) -> tuple[ImageRef, ImageRef]:
    """A film as a folder of frames; only those that have a label image of their name and size.

    Raises
    ------
    ImageError
        None has.
    """
    names = {path.stem: path for path in images.iterdir()}
    frames, truths = [], []
    for path in sorted(labels.iterdir()):
        if path.stem in names:
            frame, truth = read_array(names[path.stem]), read_array(path)
            if frame.shape[:2] == truth.shape[:2]:
                frames.append(frame)
                truths.append(truth)
    if not frames:
        raise ImageError(f"no frame in {images} has a label image of its name and size: {labels}.")
    return (
        ImageRef.open(np.stack(frames), axes="tyxc"),
        ImageRef.open(np.stack(truths), axes="tyx"),
    )
